"""The arms of an experiment, and the order in which they run.

An arm is the experiment as it stands, with one mechanism switched off (a negative control), or with other
settings of the service (what it is compared to). Arms take turns, A B A B, so that a machine that grows
slower by the hour does so for all of them, and the runs of one turn share their seed: they get the same
arrivals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from chaos.experiment import LoadedExperiment, NegativeControl, load_experiment
from slo.documents import DocumentError

Role = Literal["experiment", "control", "compared"]
Setting = str | int | float | bool
WITHOUT_CONTROLS = "negative_control=[]"
"""An arm has none of its own: to switch off once more what is off would be refused as a mistake."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant of an experiment; `control` says how and why it must fail, where it must. `stack` is the
    target file of another version that runs already; empty where the arm has the stack of all."""

    role: Role
    name: str
    loaded: LoadedExperiment
    control: NegativeControl | None = None
    stack: str = ""


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """What an experiment is compared to: other settings of the service, or a target that runs already."""

    settings: Mapping[str, str] = field(default_factory=dict)
    target: str = ""

    @classmethod
    def parse(cls, text: str) -> OtherVersion:
        """`breaker.min_calls=5,resilience=off`, or the path of a target file. Raises DocumentError."""
        if "://" in text:
            raise DocumentError(
                [
                    f"--compare-to {text}: a URL says neither where the dependencies of that service are nor "
                    f"where its spans go; write both into a target file (docs/how-to/attach-your-service.md "
                    f"has one to copy) and give its path: --compare-to candidate.yaml"
                ]
            )
        if text.endswith((".yaml", ".yml")):
            return cls(target=text)
        settings = {}
        for one in text.split(","):
            name, equals, value = (word.strip() for word in one.partition("="))
            name = name.removeprefix("service.")
            if not (name and equals and value):
                raise DocumentError(
                    [
                        f"--compare-to {text}: write KEY=VALUE[,KEY=VALUE], such as breaker.min_calls=5, or "
                        f"the path of a target file (.yaml)"
                    ]
                )
            settings[name] = value
        return cls(settings)

    def arm_of(self, loaded: LoadedExperiment) -> Arm:
        """The experiment on that version."""
        if self.target:
            return Arm("compared", f"at {Path(self.target).stem}", loaded, stack=self.target)
        told = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        other = _with_settings(loaded, self.settings)
        if other.experiment.service == loaded.experiment.service:
            raise DocumentError([f"--compare-to {told}: the experiment itself has that; change something"])
        return Arm("compared", f"with {told}", other)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of an arm; `repeat` counts from 1 and has a seed of its own."""

    arm: Arm
    repeat: int
    repeats: int
    loaded: LoadedExperiment

    @property
    def name(self) -> str:
        """`spike`, `spike (control: resilience)`, `spike, 2 of 3`."""
        arm = "" if self.arm.role == "experiment" else f" ({self.arm.name})"
        turn = f", {self.repeat} of {self.repeats}" if self.repeats > 1 else ""
        return f"{self.loaded.experiment.name}{arm}{turn}"


def arms_of(
    loaded: LoadedExperiment, *, control: bool = False, compare_to: OtherVersion | None = None
) -> tuple[Arm, ...]:
    """The experiment first. Raises DocumentError where there is no control to run, or a setting is wrong."""
    arms = [Arm("experiment", "experiment", loaded)]
    if compare_to is not None:
        arms.append(compare_to.arm_of(loaded))
    if control:
        controls = loaded.experiment.negative_controls
        if not controls:
            raise DocumentError(
                [
                    f"{loaded.path}: a control was asked for, but the experiment has no negative_control; "
                    f"add one, such as negative_control: {{resilience: 'off', expect: fail}}, or leave it out"
                ]
            )
        arms += [
            Arm("control", f"control: {one.mechanism}", _with_settings(loaded, one.service), one)
            for one in controls
        ]
    return tuple(arms)


def plan_runs(arms: Sequence[Arm], repeats: int) -> tuple[PlannedRun, ...]:
    """Every arm once, then every arm again with the next seed, and so on."""
    return tuple(
        PlannedRun(arm, turn + 1, repeats, _seeded(arm.loaded, turn))
        for turn in range(repeats)
        for arm in arms
    )


def _with_settings(loaded: LoadedExperiment, settings: Mapping[str, Setting]) -> LoadedExperiment:
    """The experiment anew, with settings of the service on top, which stand among its overrides."""
    changed = (*loaded.overrides, *_as_overrides(settings.items()))
    return replace(load_experiment(loaded.path, (*changed, WITHOUT_CONTROLS)), overrides=changed)


def _as_overrides(settings: Iterable[tuple[str, Setting]]) -> Iterable[str]:
    for name, value in settings:
        yield f"service.{name}={str(value).lower() if isinstance(value, bool) else value}"


def _seeded(loaded: LoadedExperiment, turn: int) -> LoadedExperiment:
    """The experiment with a later seed, which is no override: repeats can be compared with each other."""
    if turn == 0:
        return loaded
    seed = loaded.experiment.load.seed + turn
    again = load_experiment(loaded.path, (*loaded.overrides, f"load.seed={seed}", WITHOUT_CONTROLS))
    return replace(again, overrides=loaded.overrides)
