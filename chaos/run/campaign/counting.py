"""What a run counts as among those that it belongs to.

A negative control counts the other way round: that it failed, and for the reason it was to fail for, is what
shows that the experiment can fail at all. One that passed says that the experiment would not have noticed,
so nothing was shown; so does one that failed of something else, before anything was done to the service, or
under faults none of which bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chaos.experiment import NegativeControl
from slo.verdict import Verdict, Verdicts

PRECEDENCE: tuple[Verdicts, ...] = ("error", "fail", "inconclusive", "warn", "pass")
"""The first that one of the runs counts as is the verdict of all."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What one run contributes, and why, in a sentence."""

    verdict: Verdicts
    sentence: str


def verdict_of_all(verdicts: Iterable[Verdicts]) -> Verdicts:
    """By precedence; of no run at all, nothing is known."""
    found = set(verdicts)
    return next((one for one in PRECEDENCE if one in found), "inconclusive")


def count(verdict: Verdict, control: NegativeControl | None) -> Counted:
    """What a run that ended with this verdict counts as."""
    headline = verdict.sentences[0] if verdict.sentences else f"the verdict is {verdict.verdict}"
    return (
        Counted(verdict.verdict, headline) if control is None else _count_control(verdict, headline, control)
    )


def failed_names(verdict: Verdict, but: str | None = None) -> tuple[str, ...]:
    """The objectives and assertions that failed, each once; but not in that phase."""
    objectives = [one.name for one in verdict.objectives if one.verdict == "fail" and one.phase != but]
    assertions = [one.name for one in verdict.assertions if one.verdict == "fail"]
    return tuple(dict.fromkeys([*objectives, *assertions]))


def _healthy_phase(verdict: Verdict) -> str | None:
    """The baseline, where something else than it is judged; a mechanism is not shown by what failed there."""
    judged = [phase for phase in verdict.phases if phase.judged]
    healthy = [phase.name for phase in judged if not phase.faults]
    if len(judged) == 1 or not healthy:
        return None
    return "baseline" if "baseline" in healthy else healthy[0]


def _count_control(verdict: Verdict, headline: str, control: NegativeControl) -> Counted:
    off = f"with {control.mechanism} switched off"
    if verdict.verdict == "error":
        return Counted("error", headline)
    if verdict.verdict == "inconclusive":
        return Counted("inconclusive", f"the control proved nothing: {headline}")
    if verdict.verdict != "fail":
        return Counted(
            "inconclusive",
            f"the experiment cannot fail: it passed {off}, so that it passes says nothing of that mechanism",
        )
    if verdict.faults and not any(fault.bite.verdict == "pass" for fault in verdict.faults):
        unfelt = ", ".join(fault.name for fault in verdict.faults)
        return Counted("inconclusive", f"the control failed {off}, but not of a fault: {unfelt} did not bite")
    failed = failed_names(verdict, but=_healthy_phase(verdict))
    if not failed and failed_names(verdict) and verdict.run.status != "stopped":
        early = f"{', '.join(failed_names(verdict))} failed before anything was done to the service"
        return Counted("inconclusive", f"the control proved nothing {off}: {early}")
    told = ", ".join(failed) or "a stop condition"
    if not control.because or set(failed) & set(control.because):
        met = [name for name in failed if name in control.because] or [told]
        return Counted("pass", f"failed as it should {off}: {', '.join(met)}")
    wanted = " or ".join(control.because)
    return Counted(
        "inconclusive",
        f"the control failed {off}, but not because of {wanted}: what failed is {told}, so nothing shows "
        f"that the experiment notices the loss of that mechanism",
    )
