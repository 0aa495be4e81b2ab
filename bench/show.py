"""Figures as tables, and what follows from them in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.status import Status
from rich.table import Table

from bench.cost import LONG_TOKENS, PLAIN_TOKENS, Cost
from bench.generator import MOST_CPU_RATIO, MOST_LAG_S
from bench.goodput import Level, Limits, Shares

Say = Callable[[str], None]
#: Two parts of one sum: what an answer costs, and what each token adds.
AIM_ANSWER_MS = 4.0
AIM_TOKEN_US = 60.0
AIM_KEPT_RATIO = 0.8


def console() -> Console:
    """The terminal, or wide enough for every table where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=160)


def progress(console: Console, status: Status) -> Say:
    """A spinner on a terminal, a line for each step elsewhere."""

    def say(text: str) -> None:
        status.update(text)
        if not console.is_terminal:
            console.print(text)

    return say


def costs(console: Console, measured: Sequence[Cost]) -> None:
    table = Table(title="CPU per answer outside the embedder", title_justify="left")
    table.add_column("service")
    for column in (
        f"plain answer, {PLAIN_TOKENS} tokens (ms)",
        "of it other threads (ms)",
        "1 token (ms)",
        f"streamed, {PLAIN_TOKENS} tokens (ms)",
        "streamed token (µs)",
        "embedder (ms)",
    ):
        table.add_column(column, justify="right")
    for cost in measured:
        table.add_row(
            cost.name,
            f"{cost.plain_ms:.2f}",
            f"{cost.off_loop_ms:.2f}",
            f"{cost.one_token_ms:.2f}",
            f"{cost.stream_ms:.2f}",
            f"{cost.token_us:.0f}",
            f"{cost.embedder_ms:.1f}",
        )
    console.print(table)
    console.print(
        "CPU time of the process less the embedding thread's own clock; a token is the slope from "
        f"{PLAIN_TOKENS} to {LONG_TOKENS} tokens, each sent by itself; medians of rounds in turn. "
        "The embedder's own share is for comparison."
    )
    first = measured[0]
    console.print(
        f"{first.name}: {first.one_token_ms:.2f} ms for an answer of one token (aim ≤ {AIM_ANSWER_MS:g}), "
        f"{first.token_us:.0f} µs for each streamed token (aim ≤ {AIM_TOKEN_US:g}); "
        f"{first.plain_ms:.2f} ms for an answer of {PLAIN_TOKENS} tokens in one piece"
    )


def levels(console: Console, measured: Sequence[Level], capacity: float, limits: Limits) -> None:
    table = Table(title=f"goodput; capacity is {capacity:.1f} answers/s", title_justify="left")
    table.add_column("service")
    for column in (
        "offered",
        "per s",
        "goodput per s",
        "from the model per s",
        "brief / lexical / extract / cached",
        "refused",
        "late or failed",
        "first token p95 (s)",
        "loop lag p99 / max (ms)",
        "generator CPU / lag p99 (ms)",
    ):
        table.add_column(column, justify="right")
    for level in measured:
        distrust = "" if level.trustworthy else " [red]untrustworthy[/]"
        table.add_row(
            level.service,
            f"{level.multiple:g}×",
            f"{level.offered_per_s:.0f}",
            f"{level.goodput_per_s:.1f}",
            f"{level.from_model_per_s:.1f}",
            _split(level.shares),
            f"{level.refused_ratio:.0%}",
            f"{level.late_or_failed_ratio:.0%}",
            "-" if level.first_token_p95_s is None else f"{level.first_token_p95_s:.2f}",
            "-"
            if level.loop_lag_p99_s is None or level.loop_lag_max_s is None
            else f"{level.loop_lag_p99_s * 1000:.0f} / {level.loop_lag_max_s * 1000:.0f}",
            f"{level.generator_cpu_ratio:.0%} / {level.generator_lag_p99_s * 1000:.0f}{distrust}",
        )
    console.print(table)
    console.print(
        f"good: whole, first token within {limits.first_token_s:g} s and all of it within "
        f"{limits.total_s:g} s of when the question was due, full or degraded and saying so; users leave "
        f"after {limits.total_s:g} s. From the model: those of them that are no extract and from no cache; "
        f"capacity counts only these. A level is untrustworthy when the generator took over "
        f"{MOST_CPU_RATIO:.0%} of a core or sent over {MOST_LAG_S * 1000:.0f} ms late at p99."
    )
    for name in dict.fromkeys(level.service for level in measured):
        own = [level for level in measured if level.service == name]
        last = max(own, key=lambda level: level.multiple)
        kept = _of_peak(last.goodput_per_s, [level.goodput_per_s for level in own])
        aim = f" (aim ≥ {AIM_KEPT_RATIO:.0%})" if name == "resilience on" else ""
        made = _of_peak(last.from_model_per_s, [level.from_model_per_s for level in own])
        console.print(f"goodput, {name}, at {last.multiple:g}×: {kept}{aim}; from the model: {made}")


def _split(shares: Shares) -> str:
    parts = (shares.brief, shares.lexical, shares.extract, shares.cached)
    return " / ".join(f"{share:.0%}" for share in parts)


def _of_peak(now: float, all_levels: Sequence[float]) -> str:
    peak = max(all_levels)
    return f"{now:.1f} answers/s, {now / peak if peak else 0.0:.0%} of its peak of {peak:.1f}"
