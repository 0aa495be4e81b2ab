"""Evidence: numbered, bounded, counted, and written down without holding anybody up."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import IO, Any, cast

from chaos.proxy.evidence import FLUSH_S, Evidence, Strike

LATENCY = Strike("slow", "latency", delay_s=0.2, bytes=10)


def strike_n(evidence: Evidence, count: int, **more: Any) -> None:
    for _ in range(count):
        evidence.record(proxy="p", connection=1, at_s=5.0, faults=[LATENCY], **more)


def test_records_are_numbered_and_paged() -> None:
    """`after` gives what came after a number, oldest first, at most `limit`."""
    evidence = Evidence(now_s=lambda: 7.0)
    strike_n(evidence, 5)
    page = evidence.after(2, 2)
    assert [record.seq for record in page.records] == [3, 4]
    assert page.dropped == 0
    assert evidence.after(5, 10).records == ()
    assert evidence.after(99, 10).records == ()
    assert [record.seq for record in evidence.after(-3, 10).records] == [1, 2, 3, 4, 5]


def test_the_ring_is_bounded_and_says_what_it_dropped() -> None:
    """Of those asked for, the number that is no longer there is told."""
    evidence = Evidence(now_s=lambda: 7.0, room=3)
    strike_n(evidence, 10)
    page = evidence.after(0, 100)
    assert [record.seq for record in page.records] == [8, 9, 10]
    assert page.dropped == 7
    assert evidence.after(5, 100).dropped == 2
    assert evidence.after(8, 100).dropped == 0


def test_what_no_fault_touched_leaves_no_record() -> None:
    """A record means that something was done."""
    evidence = Evidence()
    evidence.record(proxy="p", connection=1, at_s=5.0, faults=[])
    assert evidence.after(0, 10).records == ()
    assert not evidence.struck


def test_a_record_shows_every_member_of_the_contract() -> None:
    """The JSON has the members that readers are told of, also those that do not apply."""
    evidence = Evidence(now_s=lambda: 7.0)
    strike_n(evidence, 1, request=2, method="POST", path="/a", status=503, trace_id="ab")
    shown = evidence.after(0, 1).records[0].as_json()
    assert json.loads(json.dumps(shown)) == {
        "seq": 1,
        "at_s": 5.0,
        "end_s": 7.0,
        "proxy": "p",
        "connection": 1,
        "request": 2,
        "method": "POST",
        "path": "/a",
        "status": 503,
        "trace_id": "ab",
        "faults": [
            {
                "name": "slow",
                "type": "latency",
                "delay_s": 0.2,
                "bytes": 10,
                "note": "",
                "first_s": None,
                "last_s": None,
            }
        ],
    }


def test_a_type_counts_once_for_each_record() -> None:
    """Two faults of a type on one request strike one request."""
    evidence = Evidence()
    evidence.record(proxy="p", connection=1, at_s=5.0, faults=[LATENCY, LATENCY, Strike("x", "noop")])
    assert evidence.struck == {("p", "latency"): 1, ("p", "noop"): 1}


def test_the_file_gets_every_record_within_a_second(tmp_path: Path) -> None:
    """Lines reach the disk while the server runs, and the rest when it closes."""

    async def run() -> tuple[int, int]:
        path = tmp_path / "evidence.jsonl"
        evidence = Evidence(path.open("ab"))
        strike_n(evidence, 3)
        await asyncio.sleep(FLUSH_S + 0.2)
        early = len(path.read_bytes().splitlines())
        strike_n(evidence, 2)
        await evidence.close()
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        return early, len(lines)

    assert asyncio.run(run()) == (3, 5)


def test_a_disk_that_refuses_costs_the_lines_alone(tmp_path: Path, caplog: Any) -> None:
    """The ring goes on, the loss is counted and said once."""

    async def run() -> Evidence:
        file = (tmp_path / "evidence.jsonl").open("ab")
        file.close()
        evidence = Evidence(file)
        strike_n(evidence, 3)
        await evidence.close()
        return evidence

    evidence = asyncio.run(run())
    assert evidence.lines_lost == 3
    assert len(evidence.after(0, 10).records) == 3
    assert sum("evidence is not written" in message for message in caplog.messages) == 1


class FillingDisk(io.RawIOBase):
    """Takes `room` bytes, then none."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = b""

    def write(self, data: Any) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.data += taken
        return len(taken)


def test_a_disk_that_fills_up_tears_one_line_and_no_other() -> None:
    """What a full disk cut short is counted as lost, and the next line begins as a line."""
    disk = FillingDisk(400)

    async def run() -> Evidence:
        evidence = Evidence(cast(IO[bytes], disk))
        strike_n(evidence, 3)
        await asyncio.sleep(FLUSH_S + 0.2)
        disk.room = 10_000
        strike_n(evidence, 2)
        await evidence.close()
        return evidence

    evidence = asyncio.run(run())
    lines = disk.data.splitlines()
    assert [json.loads(line)["seq"] for line in lines[:1] + lines[2:]] == [1, 4, 5]
    assert evidence.lines_lost == 2
