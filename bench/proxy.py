"""`python -m bench.proxy` (`make bench-proxy`): is the built-in proxy as fast as Toxiproxy?

Both stand before the same upstream and are asked the same in turn, round after round, with no toxic and with
a latency of 10 ms: requests a second over 1, 64 and 512 keep-alive connections, megabytes a second, and what
they add to a request's time where nobody is near a limit. What reading the requests costs (`"http": true`) is
seen without a toxic. Figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.table import Table

from bench import show
from bench.processes import DidNotStart, processes
from bench.proxied import (
    BUILTIN,
    DIRECT,
    LATENCY_MS,
    READING,
    TOXIPROXY,
    Field,
    NothingMeasured,
    Seen,
    Subject,
    bulk,
    field,
    paced,
    requests,
)
from chaos.control.fault_proxy import FaultProxyError
from chaos.stack.errors import ProxyUnavailable

AIM_RATE_RATIO = 0.5
AIM_P99_RATIO = 2.0
#: What a proxy adds below this is noise of the machine; both are taken to add at least that.
NOISE_S = 0.0001
CONNECTIONS = (1, 64, 512)
PACE = 1000.0


@dataclass(frozen=True, slots=True)
class Case:
    """One question: how many requests, how many bytes, or what is added; with a latency or without."""

    what: str
    slow: bool
    connections: int

    @property
    def toxic(self) -> str:
        return f"latency {LATENCY_MS} ms" if self.slow else "no toxic"

    def is_for(self, subject: str) -> bool:
        """Direct has no toxics; what reading requests costs is asked where most requests pass."""
        if subject == READING:
            return self.what == "requests" and not self.slow
        return not (subject == DIRECT and self.slow)


@dataclass(frozen=True, slots=True)
class Figure:
    """One subject's answer to a case: medians over rounds, CPU as shares of a core."""

    case: Case
    subject: str
    rate: float
    per_core: float
    megabytes_s: float
    p50_s: float
    p99_s: float
    proxy_cpu: float
    client_cpu: float
    upstream_cpu: float
    failed: int
    trustworthy: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """A ratio of the built-in proxy to its peer, and whether it is within the aim, where there is one."""

    text: str
    ratio: float
    reached: bool | None


CASES = tuple(
    Case(what, slow, connections)
    for what, all_connections in (("requests", CONNECTIONS), ("bulk", (1,)), ("added", (64,)))
    for slow in (False, True)
    for connections in all_connections
)


def look(found: Field, subject: Subject, case: Case, seconds: float) -> Seen:
    if case.what == "requests":
        return requests(found, subject, slow=case.slow, connections=case.connections, seconds=seconds)
    if case.what == "bulk":
        return bulk(found, subject, slow=case.slow, seconds=seconds)
    seen = paced(found, subject, slow=case.slow, rate=PACE, seconds=seconds)
    if not seen.counted.requests:
        raise NothingMeasured(f"{subject.name} answered nothing at {PACE:.0f} requests/s, {case.toxic}")
    return seen


def measure(found: Field, *, rounds: int, seconds: float, say: show.Say) -> list[Figure]:
    """Every case of every subject once a round, in another order each time, after a look to warm up."""
    seen: dict[tuple[Case, str], list[Seen]] = {}
    say("warming up")
    for subject in found.subjects:
        look(found, subject, Case("added", False, 64), 0.5)
    for number in range(rounds):
        turn = number % len(found.subjects)
        order = found.subjects[turn:] + found.subjects[:turn]
        for case in CASES:
            say(f"round {number + 1} of {rounds}: {case.what}, {case.toxic}, {case.connections} connections")
            for subject in order:
                if case.is_for(subject.name):
                    seen.setdefault((case, subject.name), []).append(look(found, subject, case, seconds))
    return [figure_of(case, name, all_seen) for (case, name), all_seen in seen.items()]


def figure_of(case: Case, subject: str, seen: Sequence[Seen]) -> Figure:
    def median(of: Callable[[Seen], float]) -> float:
        return statistics.median(of(each) for each in seen)

    return Figure(
        case,
        subject,
        rate=median(lambda each: each.rate),
        per_core=median(lambda each: each.per_core),
        megabytes_s=median(lambda each: each.megabytes_s),
        p50_s=median(lambda each: each.counted.p50_s),
        p99_s=median(lambda each: each.counted.p99_s),
        proxy_cpu=median(lambda each: each.proxy_cpu),
        client_cpu=median(lambda each: each.client_cpu),
        upstream_cpu=median(lambda each: each.upstream_cpu),
        failed=sum(each.counted.failed for each in seen),
        trustworthy=2 * sum(each.trustworthy for each in seen) > len(seen),
    )


def verdicts(figures: Sequence[Figure]) -> list[Verdict]:
    """The built-in proxy beside Toxiproxy, case by case."""
    by = {(figure.case, figure.subject): figure for figure in figures}
    found = []
    for case in CASES:
        own, peer = by[case, BUILTIN], by[case, TOXIPROXY]
        where = f"{case.toxic}, {case.connections} connection{'s' if case.connections > 1 else ''}"
        if case.what == "requests":
            (rate, of_peer), unit = rates(own, peer)
            ratio = ratio_of(rate, of_peer)
            found.append(
                Verdict(
                    f"{where}: built-in {rate:,.0f} {unit}, toxiproxy {of_peer:,.0f}, "
                    f"ratio {ratio:.2f} (aim ≥ {AIM_RATE_RATIO:g})",
                    ratio,
                    ratio >= AIM_RATE_RATIO,
                )
            )
            if case.is_for(READING):
                (rate, of_own, of_peer), unit = rates(by[case, READING], own, peer)
                ratio = ratio_of(rate, of_own)
                found.append(
                    Verdict(
                        f"{where}: built-in that reads requests {rate:,.0f} {unit}, ratio {ratio:.2f} to "
                        f"the same without http, {ratio_of(rate, of_peer):.2f} to toxiproxy",
                        ratio,
                        None,
                    )
                )
        elif case.what == "bulk":
            ratio = ratio_of(own.megabytes_s, peer.megabytes_s)
            text = (
                f"built-in {own.megabytes_s:,.0f} MB/s, toxiproxy {peer.megabytes_s:,.0f}, ratio {ratio:.2f}"
            )
            found.append(Verdict(f"{case.toxic}, bulk: {text}", ratio, None))
        else:
            base = by[Case("added", False, case.connections), DIRECT]
            asked_s = LATENCY_MS / 1000 if case.slow else 0.0
            p50 = [figure.p50_s - base.p50_s - asked_s for figure in (own, peer)]
            p99 = [figure.p99_s - base.p99_s - asked_s for figure in (own, peer)]
            ratio = max(p99[0], NOISE_S) / max(p99[1], NOISE_S)
            found.append(
                Verdict(
                    f"{case.toxic}, {PACE:.0f} requests/s: built-in adds p50 {p50[0] * 1e3:.2f} ms, "
                    f"p99 {p99[0] * 1e3:.2f} ms; toxiproxy {p50[1] * 1e3:.2f} and {p99[1] * 1e3:.2f}; "
                    f"ratio of p99 {ratio:.2f} (aim ≤ {AIM_P99_RATIO:g})",
                    ratio,
                    ratio <= AIM_P99_RATIO,
                )
            )
        if own.failed:  # what is refused quickly looks fast
            found.append(Verdict(f"{where}: {own.failed} requests failed at the built-in proxy", 0.0, False))
    return found


def rates(*figures: Figure) -> tuple[list[float], str]:
    """What can be compared, and its unit: requests/s, or those of a core where a proxy was not the limit."""
    if all(figure.trustworthy for figure in figures):
        return [figure.rate for figure in figures], "requests/s"
    return [figure.per_core for figure in figures], "requests/s per core (client or upstream was the limit)"


def ratio_of(value: float, to: float) -> float:
    return value / to if to else 0.0


def print_figures(console: Console, figures: Sequence[Figure], used: str) -> None:
    table = Table(title="the way to an upstream", title_justify="left")
    for column in ("what", "toxic", "subject"):
        table.add_column(column)
    for column in (
        *("connections", "requests/s", "per proxy core", "MB/s", "p50 (ms)", "p99 (ms)"),
        *("CPU proxy / client / upstream", "failed"),
    ):
        table.add_column(column, justify="right")
    for figure in figures:
        distrust = "" if figure.trustworthy or figure.subject == DIRECT else " [red]untrustworthy[/]"
        table.add_row(
            figure.case.what,
            figure.case.toxic,
            figure.subject,
            str(figure.case.connections),
            f"{figure.rate:,.0f}",
            f"{figure.per_core:,.0f}" if figure.per_core else "-",
            f"{figure.megabytes_s:,.0f}" if figure.case.what == "bulk" else "-",
            f"{figure.p50_s * 1e3:.2f}",
            f"{figure.p99_s * 1e3:.2f}",
            f"{figure.proxy_cpu:.0%} / {figure.client_cpu:.0%} / {figure.upstream_cpu:.0%}{distrust}",
            str(figure.failed),
        )
    console.print(table)
    console.print(
        f"{used}; load average of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores. A proxy "
        "has one core. Untrustworthy: client or upstream used up what they may run on while the proxy did "
        "not; then requests for each second of the proxy's CPU time are compared. What is added is over "
        "direct and the toxic's own time."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 the aim is reached, 1 it is not, 4 there is no Toxiproxy or no answer."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.proxy",
        description="The built-in proxy beside Toxiproxy; exit 1 when it bears less than half of its "
        "requests/s, adds more than twice its p99, or when a request failed.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round of a second each: one minute, not four"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    console = show.console()
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, 2.0)
    try:
        with Status("starting", console=console) as status, processes() as started, field(started) as found:
            say = show.progress(console, status)
            figures = measure(found, rounds=rounds, seconds=seconds, say=say)
            used = found.used
    except (ProxyUnavailable, DidNotStart, NothingMeasured, FaultProxyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    print_figures(console, figures, used)
    found_verdicts = verdicts(figures)
    for verdict in found_verdicts:
        missed = " [red]missed[/]" if verdict.reached is False else ""
        console.print(f"{verdict.text}{missed}", soft_wrap=True)
    if options.json:
        rows = {
            "figures": [asdict(figure) for figure in figures],
            "verdicts": [asdict(verdict) for verdict in found_verdicts],
        }
        options.json.write_text(json.dumps(rows, indent=1), "utf-8")
    return 1 if any(verdict.reached is False for verdict in found_verdicts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
