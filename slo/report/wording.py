"""How a verdict is put into words and numbers, the same in every report.

HTML, Markdown, JUnit and the terminal say the same thing only when one module decides how a value, a
target or a fact is written. It also is the border at which text from a bundle stops being dangerous to
look at: questions, span attributes and stack files may hold escape sequences, right-to-left overrides or
lone surrogates, and `legible` takes them out before any renderer sees them.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.filesize import decimal

from slo.units import format_duration, format_ratio
from slo.verdict import Fault, Objective, Phase, SegmentPhase, Verdict, Verdicts

NOTHING = "–"
SEVERITY: dict[Verdicts, int] = {"error": 0, "inconclusive": 1, "fail": 2, "warn": 3, "pass": 4}
PASSING: frozenset[Verdicts] = frozenset({"pass", "warn"})
SEGMENTS = ("journey", "request", "embed", "retrieve", "search", "context", "generate")
"""The order in which an answer passes them; a segment that is not listed stands after them."""
OUTCOMES = (
    "full",
    "cached",
    "degraded",
    "refused",
    "truncated",
    "abandoned",
    "timeout",
    "error",
    "dropped",
)
"""From what a user wants to what a user hates; charts stack them in this order."""

_HIDDEN = {"Cc", "Cs", "Co", "Zl", "Zp"}
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MAX_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a verdict is called: the word, the mark that carries it without colour, and what it means."""

    word: str
    mark: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and what it is, both as text."""

    name: str
    content: str


JUDGEMENTS: dict[Verdicts, Judgement] = {
    "pass": Judgement("Pass", "✓", "Every objective and assertion held, and the run can be believed."),
    "warn": Judgement("Pass with warnings", "!", "Everything held, but something came close to its limit."),
    "fail": Judgement("Fail", "✗", "An objective or an assertion did not hold."),
    "inconclusive": Judgement("Inconclusive", "?", "The run proved nothing: evidence is missing."),
    "error": Judgement("Error", "■", "The environment or the harness failed; the service was not judged."),
}


def clean(text: str) -> str:
    """One line of printable text: what would move the cursor, hide or reorder text is taken out."""
    kept = []
    for char in text[:_MAX_TEXT]:
        if char in "\n\r\t\u2028\u2029\x85":
            kept.append(" ")
        elif char in _BIDIRECTIONAL or unicodedata.category(char) in _HIDDEN or char in "\ufffe\uffff":
            kept.append("\ufffd")
        else:
            kept.append(char)
    return "".join(kept) + ("…" if len(text) > _MAX_TEXT else "")


def rate(mean_per_s: float, told: str) -> str:
    """A phase's arrivals: `4/s`; where they changed, how: `11/s on average (2 to 20)`."""
    mean = value(mean_per_s, "per_s")
    return f"{mean} on average ({clean(told)})" if told else mean


def drawn(text: str) -> str:
    """Text for a chart: cleaned, and with nothing in it that Bokeh would take for a formula."""
    return clean(text).replace("$$", "$ $").replace("\\(", "\\ (").replace("\\[", "\\ [")


def legible(verdict: Verdict) -> Verdict:
    """The same verdict with every text in it cleaned."""
    plain = _cleaned(verdict.model_dump(mode="python", by_alias=True))
    return Verdict.model_validate(plain)


def headline(verdict: Verdict) -> str:
    """The one sentence that stands beside the verdict's word."""
    return verdict.sentences[0] if verdict.sentences else JUDGEMENTS[verdict.verdict].meaning


def value(number: float | None, unit: str) -> str:
    """A value in its unit: `340 ms`, `99.2 %`, `4.1/s`; infinity is what failed requests count as."""
    if number is None or math.isnan(number):
        return NOTHING
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    if unit == "s":
        return format_duration(number)
    if unit == "ratio":
        return format_ratio(number)
    return f"{number:.3g}/s"


def interval(bounds: tuple[float | None, float | None], unit: str) -> str:
    """`130 ms … 170 ms`, or nothing when there is no interval."""
    low, high = bounds
    if low is None and high is None:
        return ""
    return f"{value(low, unit)} … {value(high, unit)}"


def duration(seconds: float | None) -> str:
    """A duration, or a dash."""
    return value(seconds, "s")


def at(offset_s: float | None) -> str:
    """A moment on the run's clock: `102.6 s`, always with the tenth, so that moments can be compared."""
    return NOTHING if offset_s is None else f"{offset_s:.1f} s"


def error_ratio(cell: SegmentPhase) -> str:
    """The error ratio of a segment in a phase; nothing where nothing failed."""
    return value(cell.error_ratio, "ratio") if cell.errors else ""


def bitten(fault: Fault) -> str:
    """What a fault's badge says: that it bit, or what is wrong."""
    return "bit" if fault.bite.verdict == "pass" else fault.bite.verdict


def declared(fault: Fault) -> str:
    """What a fault is and what it is done to: `latency on vector_db, jitter 200 ms, latency 2 s`."""
    return ", ".join([f"{fault.kind} on {fault.on}", *facts(fault.parameters)])


def when(fault: Fault, phases: Iterable[Phase]) -> str:
    """When a fault was in: `in fault, 70.1 s to 110.2 s`."""
    within = [phase.name for phase in phases if fault.name in phase.faults]
    planned = " and ".join(within) or "no phase"
    if fault.injected_s is None:
        return f"planned in {planned}"
    return f"in {planned}, {at(fault.injected_s)} to {at(fault.removed_s)}"


def recovery_time(value_s: float | None, censored: bool) -> str:
    """`12 s`, or `> 40 s` when the run ended before the signal came back."""
    if value_s is None:
        return "not seen" if censored else NOTHING
    return f"> {format_duration(value_s)}" if censored else format_duration(value_s)


def fact(key: str, content: Any) -> Fact:
    """`latency` and `2 s` for `latency_s: 2.0`: a number is written in the unit its key ends in."""
    name = key
    is_number = isinstance(content, int | float) and not isinstance(content, bool)
    for suffix, unit in (("_per_s", "per_s"), ("_s", "s"), ("_ratio", "ratio")):
        if key.endswith(suffix) and is_number:
            name, content = key.removesuffix(suffix), value(float(content), unit)
            break
    if key == "probability" and is_number:
        content = value(float(content), "ratio")
    if key.endswith("_bytes") and is_number:
        name, content = key.removesuffix("_bytes"), decimal(int(content))
    return Fact(name.replace("_", " "), plain(content))


def facts(mapping: Mapping[str, Any]) -> list[str]:
    """Every fact of a mapping in a stable order; empty ones are left out."""
    present = (key for key in sorted(mapping) if mapping[key] not in (None, "", [], (), {}))
    return [f"{one.name} {one.content}" for one in (fact(key, mapping[key]) for key in present)]


def plain(content: Any) -> str:
    """Any JSON value as short text."""
    if content is None:
        return NOTHING
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, float):
        return f"{content:.6g}"
    if isinstance(content, Mapping):
        named = (fact(key, content[key]) for key in sorted(content))
        return ", ".join(f"{one.name} {one.content}" for one in named)
    if isinstance(content, list | tuple):
        return ", ".join(plain(item) for item in content)
    return str(content)


def ordered(names: Iterable[str], order: tuple[str, ...]) -> list[str]:
    """Names in a known order; unknown ones follow, sorted."""
    known = {name: place for place, name in enumerate(order)}
    return sorted(names, key=lambda name: (known.get(name, len(order)), name))


def worst(verdicts: Iterable[Verdicts]) -> Verdicts | None:
    """The verdict that matters most among several, or None among none."""
    return min(verdicts, key=lambda one: SEVERITY[one], default=None)


def seen(objective: Objective) -> str:
    """What an objective saw, with its interval: `310 ms (290 ms … 340 ms)`."""
    around = interval(objective.interval, objective.unit)
    shown = value(objective.value, objective.unit)
    return f"{shown} ({around})" if around else shown


def _cleaned(content: Any) -> Any:
    if isinstance(content, str):
        return clean(content)
    if isinstance(content, dict):
        return {clean(str(key)): _cleaned(item) for key, item in content.items()}
    if isinstance(content, list | tuple):
        return [_cleaned(item) for item in content]
    return content
