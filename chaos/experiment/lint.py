"""What an experiment should have before others run it: a name to ask, a way out, something to compare with.

A file can be valid and still be no experiment: nobody answers for it, nothing stops it, its first fault comes
before anybody knows what is normal. The language cannot forbid that without forbidding first tries, so `run`
takes such a file and `validate`, which CI calls, does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from chaos.experiment.loading import LoadedExperiment
from slo.segments import JOURNEY
from slo.units import format_duration

ATTEMPTS_OF_A_TALK = 3
"""One more than the longest journey that comes with ragquake asks."""
LOOKED_BACK_S = 5.0
"""A condition with a shorter time and few samples is judged by as much (`chaos.run.stop_conditions`)."""
_PLACEHOLDER = re.compile(r"\b(todo|to do|tbd|fixme|xxx|changeme|replace me)\b|^\W*$", re.IGNORECASE)


def lint(loaded: LoadedExperiment) -> list[str]:
    """Every complaint, with its line; empty for an experiment that others may run."""
    return [*_words(loaded), *_ending(loaded), *_faults(loaded), *_baseline(loaded)]


def _words(loaded: LoadedExperiment) -> Iterator[str]:
    """Whom to ask, what is claimed: in words of one's own."""
    for key, wanted in (
        ("title", "say in a line what it does"),
        ("owner", "name the team or person who is asked about it"),
        ("hypothesis", "say what you claim will hold"),
    ):
        text = str(getattr(loaded.experiment, key))
        if _PLACEHOLDER.search(text):
            yield loaded.document.problem((key,), f"{text!r} is a placeholder; {wanted}")


def _ending(loaded: LoadedExperiment) -> Iterator[str]:
    """It must be able to end before its time, for the users' sake."""
    conditions = loaded.experiment.stop_when
    if not conditions:
        form = "{segment: journey, indicator: error_ratio, above: 50%, for: 10s}"
        yield loaded.document.problem(
            ("stop_when",), f"no stop condition: nothing ends the run when it hurts; add one, such as {form}"
        )
    length_s, at_most_per_s = loaded.experiment.duration_s, _most_attempts_per_s(loaded)
    for index, condition in enumerate(conditions):
        if condition.for_s >= length_s:
            message = (
                f"{format_duration(condition.for_s)} is as long as the whole run "
                f"({format_duration(length_s)}), so it can never hold; make it shorter"
            )
            yield loaded.document.problem(("stop_when", index, "for"), message)
        time_s = max(condition.for_s, LOOKED_BACK_S)
        if condition.segment == JOURNEY and at_most_per_s * time_s < condition.min_samples:
            message = (
                f"{condition.min_samples} samples never come within {format_duration(time_s)} at this load, "
                f"so it can never hold; lower min_samples, or make for longer"
            )
            yield loaded.document.problem(("stop_when", index), message)


def _most_attempts_per_s(loaded: LoadedExperiment) -> float:
    """At its highest rate, were every arrival a long talk."""
    peaks = [max([rate for _, rate in phase.curve], default=phase.rate_per_s) for phase in loaded.phases]
    return max(peaks) * ATTEMPTS_OF_A_TALK


def _faults(loaded: LoadedExperiment) -> Iterator[str]:
    """Each fault is used, can be undone, and is gone before the run ends."""
    phases = loaded.experiment.phases
    used = {name for phase in phases for name in phase.faults}
    for name, fault in loaded.faults.items():
        if name not in used:
            yield loaded.document.problem(("faults", name), "no phase has it; name it in one or drop it")
        if not fault.told("Undone"):
            message = f"{fault.kind} does not say how it is undone; take a kind that does"
            yield loaded.document.problem(("faults", name, "kind"), message)
    if phases[-1].faults:
        message = (
            f"the run ends with {', '.join(phases[-1].faults)} in, so nobody sees whether the service comes "
            f"back; add a phase without faults"
        )
        yield loaded.document.problem(("phases", len(phases) - 1, "faults"), message)


def _baseline(loaded: LoadedExperiment) -> Iterator[str]:
    """What is normal must be known before the first fault, and something must be judged at all."""
    phases = loaded.experiment.phases
    if not any(phase.judged for phase in phases):
        yield loaded.document.problem(("phases",), "no phase is judged, so nothing can pass; judge one")
        return
    first = next((index for index, phase in enumerate(phases) if phase.faults), None)
    if first is not None and not any(phase.judged for phase in phases[:first]):
        message = (
            f"{phases[first].name!r} has the first fault, and no judged phase comes before it to compare "
            f"with; add one without faults"
        )
        yield loaded.document.problem(("phases", first, "faults"), message)
