"""The staircase: an experiment derived from another, in which one fault grows step by step.

Each step is a phase of its own, at the load of the phase that carries the fault, with a pause between
steps so that a breaker opened by one step does not shield the service from the next. The steps are
judged by the objectives of that phase. Sizes double, because what breaks mostly breaks early: a
staircase of equal steps would spend its time where nothing changes any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from chaos.experiment import LoadedExperiment, load_experiment
from slo.documents import DocumentError, did_you_mean
from slo.units import format_duration, parse_duration_s

PAUSE = "15s"
"""Longer than the longest time a breaker of the reference service stays open (10 s), and its probes."""


@dataclass(frozen=True, slots=True)
class Knob:
    """What is varied: one parameter of one fault, and the phase that carries that fault."""

    fault: str
    parameter: str
    phase: str

    def __str__(self) -> str:
        return f"{self.fault}.{self.parameter}"


def find_knob(loaded: LoadedExperiment, over: str) -> Knob:
    """The knob that `FAULT.PARAMETER` names. Raises DocumentError with what there is."""
    fault, dot, parameter = over.rpartition(".")
    faults = sorted(loaded.experiment.faults)
    if not dot or fault not in loaded.experiment.faults:
        raise DocumentError(
            [
                f"--over {over}: write FAULT.PARAMETER{did_you_mean(fault or over, faults)}; "
                f"{loaded.experiment.name} has the faults: {', '.join(faults) or 'none'}"
            ]
        )
    known = [key for key in loaded.experiment.faults[fault] if key not in ("on", "kind")]
    if parameter not in known:
        raise DocumentError(
            [
                f"--over {over}: {fault} sets {', '.join(known) or 'no parameter'}"
                f"{did_you_mean(parameter, known)}"
            ]
        )
    phase = next((phase.name for phase in loaded.experiment.phases if fault in phase.faults), None)
    if phase is None:
        raise DocumentError([f"--over {over}: no phase of {loaded.experiment.name} has the fault {fault}"])
    return Knob(fault, parameter, phase)


def parse_sizes(lowest: str, highest: str, steps: int) -> list[float]:
    """The sizes of the steps in seconds, doubling up to the highest. Raises DocumentError."""
    try:
        low_s, high_s = parse_duration_s(lowest), parse_duration_s(highest)
    except ValueError as error:
        raise DocumentError([f"--from/--to: {error}"]) from None
    if not 0 <= low_s < high_s:
        raise DocumentError([f"--from {lowest} --to {highest}: --from must be at least 0ms and below --to"])
    doubled = [high_s / 2**power for power in reversed(range(steps - 1))]
    return [low_s, *(size_s for size_s in doubled if size_s > low_s)]


def derive_staircase(
    loaded: LoadedExperiment, knob: Knob, sizes_s: Sequence[float], hold: str, folder: Path
) -> LoadedExperiment:
    """Write the derived experiment and its objectives into `folder`, and load it from there."""
    base: dict[str, Any] = deepcopy(loaded.document.data)
    carrying = next(p for p in base["phases"] if p["name"] == knob.phase)
    first = next((i for i, p in enumerate(base["phases"]) if p.get("faults")), len(base["phases"]))
    lead_in = [p for p in base["phases"][:first] if p.get("rate", "1x") == "1x"]
    phases, faults = list(lead_in), {}
    for number, size_s in enumerate(sizes_s, start=1):
        step: dict[str, Any] = {"name": step_name(number), "for": hold, "rate": carrying.get("rate", "1x")}
        if size_s > 0:
            fault = {**base["faults"][knob.fault], knob.parameter: f"{round(size_s * 1000)}ms"}
            fault.pop("jitter", None)
            faults[f"{knob.fault}-{number}"] = fault
            step["faults"] = [f"{knob.fault}-{number}"]
        phases += [step, {"name": f"pause-{number}", "for": PAUSE, "rate": "1x", "judged": False}]
    names = [step_name(number) for number in range(1, len(sizes_s) + 1)]
    span = f"{format_duration(sizes_s[0])} to {format_duration(sizes_s[-1])}"
    base |= {
        "name": f"{base['name']}-staircase"[:60],
        "title": f"Where it breaks: {knob} from {span}",
        "faults": faults,
        "phases": phases,
        "objectives": "objectives.yaml",
        "assertions": [],
    }
    base.pop("negative_control", None)
    folder.mkdir(parents=True, exist_ok=True)
    _dump(folder / "objectives.yaml", _for_steps(loaded.objectives.data(), knob.phase, names))
    _dump(folder / "staircase.yaml", base)
    return load_experiment(folder / "staircase.yaml")


def step_name(number: int) -> str:
    """The phase name of a step, counted from 1."""
    return f"step-{number}"


def _for_steps(objectives: Mapping[str, Any], phase: str, steps: Sequence[str]) -> dict[str, Any]:
    """The objectives, with what they say of the fault's phase said of each step."""
    result = deepcopy(dict(objectives))
    kept = []
    for objective in result["objectives"]:
        if objective.get("indicator") == "recovery_time":
            continue
        if isinstance(objective.get("phases"), list):
            if phase not in objective["phases"]:
                continue
            objective["phases"] = ["baseline", *steps] if "baseline" in objective["phases"] else list(steps)
        by_phase = dict(objective.pop("in", None) or {})
        if phase in by_phase:
            by_phase |= dict.fromkeys(steps, by_phase[phase])
        by_phase = {name: target for name, target in by_phase.items() if name in ("baseline", *steps)}
        if by_phase:
            objective["in"] = by_phase
        kept.append(objective)
    result["objectives"] = kept
    return result


def _dump(path: Path, data: Any) -> None:
    yaml = YAML()
    yaml.width = 100
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(data, file)
