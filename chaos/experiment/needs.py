"""What the faults of an experiment need of its stack, asked before anything starts.

A run that finds out in its fault phase that nobody can commit the fault has cost minutes and proved nothing.
And a stack has a further proxy in its way only where a fault acts on requests: what is not needed is not
measured along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chaos.experiment import LoadedExperiment
from chaos.faults import Fault
from chaos.stack.target import AttachedTarget
from slo.documents import DocumentError
from slo.segments import JOURNEY


def used_faults(loaded: LoadedExperiment) -> Mapping[str, Fault]:
    """The faults that a phase names; others are declared and never go in."""
    used = {name for phase in loaded.experiment.phases for name in phase.faults}
    return {name: fault for name, fault in loaded.faults.items() if name in used}


def act_on_requests(loaded: LoadedExperiment, llm: str) -> bool:
    """Whether the built-in proxy must read the requests: the simulator commits faults on answers itself."""
    on_requests = ("requests",) if llm == "simulator" else ("requests", "answers")
    return any(fault.needs in on_requests for fault in used_faults(loaded).values())


def require_possible(
    loaded: LoadedExperiment, stack: str, llm: str, target: AttachedTarget | None = None
) -> None:
    """Raise DocumentError, a line for each fault that nobody can commit there and each blind stop condition.

    Of a `target` that runs already, the settings of its service cannot be changed: what somebody asks for
    with --set, or a control or another version by its settings, is refused. Those in the file are for stacks
    that a run starts itself; they are left out, and told.
    """
    if target is not None:
        _require_possible_on(target, loaded)
        return
    problems = [
        loaded.document.problem(("faults", name, "kind"), f"{fault.kind} {why}")
        for name, fault in used_faults(loaded).items()
        if (why := _impossible(fault, stack, llm))
    ]
    if stack != "local":
        problems += _blind(loaded, (JOURNEY,), f"the spans of --stack {stack} come when the run is over")
    if problems:
        raise DocumentError(problems)


def seen_through(loaded: LoadedExperiment, target: AttachedTarget) -> LoadedExperiment:
    """The experiment with its objectives over the spans of that target's service."""
    if target.table is None:
        return loaded
    return replace(loaded, objectives=loaded.objectives.over(target.table))


def _require_possible_on(target: AttachedTarget, loaded: LoadedExperiment) -> None:
    problems = [
        loaded.document.problem(("faults", name, "kind"), f"{fault.kind} {why}")
        for name, fault in used_faults(loaded).items()
        if (why := _impossible_on(target, fault))
    ]
    if asked := [one for one in loaded.overrides if one.startswith(("service.", "service="))]:
        problems.append(
            f"{', '.join(asked)}: the service of {target.path} runs already, so a run cannot change its "
            f"settings; start it with them and leave them out here, or use --stack local"
        )
    if target.table is not None:
        why = f"the segment table of {target.path} has no such segment"
        problems += _blind(loaded, target.table.names, why)
    if problems:
        raise DocumentError(problems)


def _blind(loaded: LoadedExperiment, seen: Sequence[str], why: str) -> list[str]:
    """The stop conditions that nobody can watch."""
    return [
        loaded.document.problem(
            ("stop_when", index, "segment"),
            f"a stop condition on {one.segment} would see nothing: {why}; allowed: {', '.join(seen)}",
        )
        for index, one in enumerate(loaded.experiment.stop_when)
        if one.segment not in seen
    ]


def _impossible_on(target: AttachedTarget, fault: Fault) -> str:
    """Why nobody can commit it on a target that runs already; empty when somebody can."""
    if fault.needs == "processes":
        return f"acts on a process, and those of {target.path} are not ragquake's own; use --stack local"
    if fault.needs == "simulator":
        return (
            f"is committed by the simulated model server, which {target.path} has not within reach; use "
            f"--stack local, or take a fault on bytes or requests (`ragquake list faults`)"
        )
    proxy = target.proxies.get(fault.on)
    if proxy is None:
        return (
            f"acts on {fault.on}, and no proxy stands before it in {target.path}; name one there under "
            f"dependencies.{fault.on}: toxiproxy and proxy, or listen and upstream"
        )
    return ""


def _impossible(fault: Fault, stack: str, llm: str) -> str:
    """Why there is nobody to commit it, and what to do; empty when there is."""
    if fault.needs in ("requests", "answers") and stack != "local":
        return (
            f"acts on requests, and before the containers of --stack {stack} stands Toxiproxy, which cannot "
            f"read them; use --stack local, or take a fault on bytes (`ragquake list faults`)"
        )
    if fault.needs == "simulator" and (stack, llm) != ("local", "simulator"):
        where = f"--llm {llm}" if stack == "local" else f"--stack {stack}"
        return (
            f"is committed by the simulated model server, which {where} has not within reach; "
            f"leave that flag out, or take a fault on bytes (`ragquake list faults`)"
        )
    if fault.needs == "processes" and stack != "local":
        return f"acts on a process, and those of --stack {stack} are not ragquake's own; use --stack local"
    if fault.needs == "processes" and fault.on == "llm" and "://" in llm:
        return f"acts on a process, and that of --llm {llm} is not ragquake's own; leave that flag out"
    return ""
