"""What bench-proxy makes of its figures: the exit code says whether the built-in proxy keeps up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bench import proxy
from bench.http_load import Counted
from bench.proxied import BUILTIN, DIRECT, READING, TOXIPROXY, NothingMeasured, Seen, read_wrk
from bench.proxy import CASES, Case, Figure

COUNTED = Counted(1000, 0, 0, 1.0, 0.5, 0.001, 0.002)


def figures(rate_ratio: float = 1.0, added_ratio: float = 1.0, trustworthy: bool = True) -> list[Figure]:
    """Toxiproxy with 10,000 requests/s and 1 ms added, and the built-in proxy with multiples of both."""
    found = []
    for case in CASES:
        asked_s = 0.01 if case.slow else 0.0
        peer = Figure(case, TOXIPROXY, 1e4, 2e4, 800.0, 0.001, asked_s + 0.002, 0.9, 0.3, 0.3, 0, trustworthy)
        own = replace(
            peer, subject=BUILTIN, rate=1e4 * rate_ratio, p99_s=asked_s + 0.001 + 0.001 * added_ratio
        )
        direct = replace(peer, subject=DIRECT, p99_s=0.001, p50_s=0.0005)
        reading = replace(own, subject=READING, rate=own.rate / 4, per_core=own.per_core / 5)
        found += [peer, own, direct, reading]
    return found


@pytest.mark.parametrize(
    ("rate_ratio", "added_ratio", "code"),
    [(1.0, 1.0, 0), (0.51, 1.99, 0), (0.49, 1.0, 1), (1.0, 2.1, 1)],
    ids=["the same", "just within", "too slow", "too late"],
)
def test_the_exit_code_says_whether_the_aim_is_reached(
    rate_ratio: float, added_ratio: float, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of Toxiproxy's requests a second and twice its added p99 are the limits."""

    @contextlib.contextmanager
    def nothing(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(used="nothing", subjects=())

    monkeypatch.setattr(proxy, "field", nothing)
    monkeypatch.setattr(proxy, "measure", lambda *_, **__: figures(rate_ratio, added_ratio))
    assert proxy.main(["--quick"]) == code


def test_a_request_that_failed_misses_the_aim() -> None:
    """What is refused quickly looks fast: no ratio makes up for it."""
    good = figures()
    assert all(verdict.reached is not False for verdict in proxy.verdicts(good))
    told = proxy.verdicts([replace(good[1], failed=3), *(good[:1] + good[2:])])
    missed = [verdict.text for verdict in told if verdict.reached is False]
    assert missed == ["no toxic, 1 connection: 3 requests failed at the built-in proxy"]


def test_a_proxy_that_answers_nothing_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer the p99 is 0, which would add less than any proxy."""
    silent = Seen(replace(COUNTED, requests=0, p99_s=0.0), 0.0, 0.0, 1)
    monkeypatch.setattr(proxy, "paced", lambda *_, **__: silent)
    subject: Any = SimpleNamespace(name=BUILTIN)
    with pytest.raises(NothingMeasured, match="answered nothing"):
        proxy.look(SimpleNamespace(), subject, Case("added", False, 64), 1.0)  # type: ignore[arg-type]


def test_where_the_client_was_the_limit_cpu_time_decides() -> None:
    """A rate that the client set says nothing about the proxies, so requests per core are compared."""
    told = [
        verdict for verdict in proxy.verdicts(figures(0.1, trustworthy=False)) if "per core" in verdict.text
    ]
    found = [verdict for verdict in told if verdict.reached is not None]
    assert len(found) == 6
    assert all(verdict.reached and verdict.ratio == 1.0 for verdict in found)


def test_what_reading_requests_costs_is_told_beside_both() -> None:
    """A ratio to the same proxy without it and one to Toxiproxy, without a toxic; nothing is aimed at."""
    told = [verdict for verdict in proxy.verdicts(figures(0.8)) if "reads requests" in verdict.text]
    assert [(verdict.ratio, verdict.reached) for verdict in told] == [(0.25, None)] * 3
    assert all("0.20 to toxiproxy" in verdict.text and "no toxic" in verdict.text for verdict in told)


@pytest.mark.parametrize(
    ("proxy_cpu_s", "client_cpu_s", "upstream_cpu_s", "trustworthy"),
    [(0.5, 0.4, 0.4, True), (0.5, 0.5, 0.45, False), (0.9, 0.5, 0.5, True), (0.1, 0.95, 0.0, False)],
)
def test_who_was_the_limit(
    proxy_cpu_s: float, client_cpu_s: float, upstream_cpu_s: float, trustworthy: bool
) -> None:
    """Client and upstream share a core; used up, they were the limit, unless the proxy was at its own."""
    seen = Seen(replace(COUNTED, cpu_s=client_cpu_s), proxy_cpu_s, upstream_cpu_s, 1)
    assert seen.trustworthy == trustworthy


def test_wrk_is_read() -> None:
    """What wrk prints becomes numbers: requests, its own clock, percentiles, errors of all kinds."""
    said = """Running 2s test @ http://127.0.0.1:1/
  Latency Distribution
     50%  880.00us
     75%    1.00ms
     99%    1.62s
  101010 requests in 2.02s, 12.00MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  50000.00
"""
    read = read_wrk(said, 1.5)
    assert (read.requests, read.wall_s, read.cpu_s, read.failed) == (101010, 2.02, 1.5, 15)
    assert (read.p50_s, read.p99_s) == (pytest.approx(0.00088), 1.62)
    with pytest.raises(NothingMeasured, match="unable to connect"):
        read_wrk("unable to connect to 127.0.0.1:1", 0.0)


def test_each_case_is_asked_of_both() -> None:
    """Three numbers of connections, bulk and what is added, each without and with a latency."""
    assert len(CASES) == 10
    assert Case("requests", True, 512) in CASES
