"""attempts.jsonl: whole lines, known keys, nothing lost."""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeys.attempts import Attempt, AttemptLog

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "attempts.md"

DESIGN_KEYS = {
    *("trace_id", "span_id", "journey", "arrival", "step", "attempt", "phase", "intended_start_s"),
    *("start_s", "first_token_s", "end_s", "latency_s", "largest_gap_s", "tokens", "status", "outcome"),
    *("degraded", "citations", "question", "dropped"),
    *("relevant", "session_id", "stream", "service_outcome", "terminal_events"),
}


def attempt(**changes: object) -> Attempt:
    facts: dict[str, object] = {
        "journey": "ask",
        "arrival": 1,
        "step": 1,
        "phase": "baseline",
        "intended_start_s": 1_700_000_000.1234567,
        "question": "What is a context manager?",
        "relevant": ["contextlib"],
    }
    return Attempt(**(facts | changes))  # type: ignore[arg-type]


def test_a_line_has_exactly_the_keys_of_the_design() -> None:
    """Every line carries the keys of the bundle's contract, and no others."""
    assert set(json.loads(attempt().line())) == DESIGN_KEYS


def test_the_reference_page_describes_exactly_the_keys_of_a_line() -> None:
    """docs/reference/attempts.md lists each key once, in the order of the file."""
    section = REFERENCE.read_text(encoding="utf-8").split("## Keys")[1].split("\n## ")[0]
    described = re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
    assert described == list(json.loads(attempt().line()))


def test_what_is_missing_is_null_and_not_absent() -> None:
    """A dropped arrival has every key, with null where there was nothing."""
    line = json.loads(attempt(dropped=True).line())
    assert line["dropped"] is True
    assert line["trace_id"] is None and line["outcome"] is None and line["start_s"] is None


def test_times_keep_microseconds() -> None:
    """Times are rounded to the microsecond and no coarser."""
    assert json.loads(attempt().line())["intended_start_s"] == 1_700_000_000.123457


@given(text=st.text())
def test_any_question_stays_on_one_line_and_survives(text: str) -> None:
    """Line breaks and odd characters in a question neither split its line nor change it."""
    line = attempt(question=text).line()
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert json.loads(line)["question"] == text


def test_half_a_surrogate_pair_does_not_break_the_file() -> None:
    """A question that is not valid Unicode is still written as valid JSON."""
    assert json.loads(attempt(question="a\udc80b").line())["question"] == "a\udc80b"


def test_the_log_appends_to_what_is_there(tmp_path: Path) -> None:
    """Opening the log again keeps the earlier lines."""
    path = tmp_path / "deep" / "attempts.jsonl"
    for arrival in (1, 2):
        with AttemptLog(path) as log:
            log.write(attempt(arrival=arrival))
    assert [json.loads(line)["arrival"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_line_is_one_write_and_is_there_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt is handed to the kernel whole, so a killed process leaves no torn middle."""
    written: list[bytes] = []
    real = os.write
    monkeypatch.setattr("journeys.attempts.os.write", lambda fd, data: written.append(data) or real(fd, data))
    path = tmp_path / "attempts.jsonl"
    with AttemptLog(path) as log:
        log.write(attempt(question="x" * 100_000))
        assert path.read_bytes() == written[0]
    assert len(written) == 1


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short write is reported, not taken for a record."""
    monkeypatch.setattr("journeys.attempts.os.write", lambda _fd, data: len(data) - 1)
    with (
        AttemptLog(tmp_path / "attempts.jsonl") as log,
        pytest.raises(OSError, match=r"attempts\.jsonl: only"),
    ):
        log.write(attempt())
