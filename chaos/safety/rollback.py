"""Undo what a journal says is outstanding, end what a stack.json says is running; as often as one likes.

One function for all who clean up: the runner at its own end, the warden when the runner was killed, and
a person with `ragquake rollback` when both are gone. Faults are undone before the stack is stopped, since
the fault proxy may belong to somebody else and live on, and a paused process would not hear that it should
end. A proxy that is gone took its faults with it; faults on processes are gone when their processes are.
A rollback that finds nothing to do writes nothing, so a finished bundle stays byte for byte as it is.

A stack that serves several runs has a folder of its own, and a rollback there begins with the run that has
it. From such a run's bundle the stack is stopped, too, unless the runner itself says that it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.control.fault_proxy import FaultProxyError
from chaos.errors import RunRefused
from chaos.processes import ProcessFaultError, undoing
from chaos.run.journal import FILE_NAME as JOURNAL_NAME
from chaos.run.journal import Journal, OutstandingUndo, outstanding_undos, read
from chaos.safety.undo import perform
from chaos.stack.borrowed import delete_borrowed
from chaos.stack.description import FILE_NAME, StackDescription, read_description
from chaos.stack.errors import StackError
from chaos.stack.teardown import stop_recorded

UNDO_TIMEOUT_S = 1.5
"""For each call to the proxy. A rollback has about 5 s; a proxy that takes longer is stopped instead."""
STOP_GRACE_S = 2.0
UNDONE_BY_ENDING = "the fault proxy that held it has ended, and the fault with it"
UNDONE_WITH_ITS_PROCESS = "the process that it was done to has ended, and the fault with it"


@dataclass(frozen=True, slots=True)
class Undone:
    """One fault and what became of it; `done` is false when the fault may still be in."""

    fault: str
    done: bool
    message: str


@dataclass(frozen=True, slots=True)
class RollbackReport:
    """What a rollback found and did."""

    bundle: Path
    faults: tuple[Undone, ...] = ()
    stopped: tuple[str, ...] = ()
    strays: int = 0
    problems: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether no fault and no process of the bundle is left, as far as can be known."""
        return not self.problems and all(fault.done for fault in self.faults)

    def sentence(self) -> str:
        """What was found and done, in words; what is left to do, when something is."""
        if self.nothing_to_do:
            return f"{self.bundle}: no fault is outstanding and no process is running"
        said = [f"{fault.fault}: {fault.message}" for fault in self.faults]
        if self.stopped:
            said.append(f"stopped {', '.join(self.stopped)}")
        if self.strays:
            said.append(f"stopped {self.strays} processes that no record named")
        if not self.clean:
            said.extend((*self.problems, "not everything could be undone; run it again, or end the proxy"))
        return "; ".join(said)

    @property
    def nothing_to_do(self) -> bool:
        return self.clean and not (self.faults or self.stopped or self.strays)

    def after(self, before: RollbackReport) -> RollbackReport:
        """The two as one, under the name of the later."""
        return RollbackReport(
            bundle=self.bundle,
            faults=before.faults + self.faults,
            stopped=before.stopped + self.stopped,
            strays=before.strays + self.strays,
            problems=before.problems + self.problems,
        )


def rollback(
    bundle: Path,
    *,
    by: str = "ragquake rollback",
    force: bool = False,
    stack_goes_on: bool = False,
    grace_s: float = STOP_GRACE_S,
) -> RollbackReport:
    """Undo the outstanding faults of a bundle and stop its processes; with `stack_goes_on` only those that
    the run itself has started, since the stack was lent to it and serves another run.

    Raises RunRefused when the bundle's runner is alive, unless forced or called by it or its warden;
    StackError when there is no such bundle or its stack.json cannot be read.
    """
    if not bundle.is_dir():
        raise StackError(f"{bundle} is not a bundle (no such folder); `ls runs` shows which there are")
    bundle = bundle.resolve()
    stack_file = bundle / FILE_NAME
    description, problems = _description(stack_file)
    if by not in ("runner", "warden") and not force:
        _refuse_living_runner(bundle, description)
    before = _of_borrower(description, by, grace_s)
    if stack_goes_on:
        description = _of_the_run_alone(description)
    report = _rollback(bundle, description, problems, by, grace_s)
    return report if before is None else report.after(before)


def _of_borrower(description: StackDescription | None, by: str, grace_s: float) -> RollbackReport | None:
    """Undo first what the run has done that has the stack now."""
    if description is None or description.lent_to is None or not Path(description.lent_to).is_dir():
        return None
    return rollback(Path(description.lent_to), by=by, force=True, grace_s=grace_s)


def _of_the_run_alone(description: StackDescription | None) -> StackDescription | None:
    """What the run itself has started; all else belongs to the stack that it was lent."""
    if description is None or description.lent_by is None:
        return description
    lender = read_description(Path(description.lent_by))
    shared = lender.parts if lender else {}
    own = {name: part for name, part in description.parts.items() if name not in shared}
    return description.model_copy(update={"parts": own, "dependencies": {}, "lent_by": None})


@contextmanager
def _notes(journal_file: Path) -> Iterator[Callable[..., None]]:
    """Writes facts where they can be written: a full disk must not keep anybody from undoing."""
    with ExitStack() as stack:
        journal: Journal | None = None
        with suppress(OSError):
            journal = stack.enter_context(Journal(journal_file))

        def note(event: str, **facts: Any) -> None:
            if journal is not None:
                with suppress(OSError):
                    journal.append(event, **facts)

        yield note


def _rollback(
    bundle: Path, description: StackDescription | None, problems: list[str], by: str, grace_s: float
) -> RollbackReport:
    journal_file, stack_file = bundle / JOURNAL_NAME, bundle / FILE_NAME
    undos = outstanding_undos(read(journal_file))
    spare = ("runner",) if by == "ragquake rollback" else ("runner", "warden")
    living = set(description.living()) - set(spare) if description else set()
    if not undos and not living:
        swept = stop_recorded(stack_file, description, grace_s=grace_s, spare=spare)
        problems += _delete_borrowed(description)
        return RollbackReport(bundle=bundle, strays=swept.strays, problems=tuple(problems))
    with _notes(journal_file) as note:
        note("rollback.started", by=by)
        tried = [_undo(outstanding, description) for outstanding in undos]
        problems += _delete_borrowed(description)
        down = stop_recorded(stack_file, description, grace_s=grace_s, spare=spare)
        faults = tuple(
            _after_stop(fault, outstanding, description)
            for fault, outstanding in zip(tried, undos, strict=True)
        )
        for fault in faults:
            if fault.done:
                note("fault.removed", fault=fault.fault)
                note("fault.verified_gone", fault=fault.fault)
        undone = [fault.fault for fault in faults if fault.done]
        note("rollback.finished", by=by, undone=undone, stopped=list(down.stopped))
    return RollbackReport(
        bundle=bundle, faults=faults, stopped=down.stopped, strays=down.strays, problems=tuple(problems)
    )


def _description(stack_file: Path) -> tuple[StackDescription | None, list[str]]:
    """A damaged stack.json must not keep the faults from being undone, so it is a problem, not an end."""
    try:
        return read_description(stack_file), []
    except StackError as error:
        return None, [str(error)]


def _refuse_living_runner(bundle: Path, description: StackDescription | None) -> None:
    runner = description.parts.get("runner") if description else None
    if runner is not None and runner.identity is not None and runner.identity.alive:
        raise RunRefused(
            f"the run of {bundle} is still under way (pid {runner.pid}); stop it with Ctrl-C in its "
            f"terminal or `kill -INT {runner.pid}`, it then rolls back itself; --force rolls back regardless"
        )


def _undo(outstanding: OutstandingUndo, description: StackDescription | None) -> Undone:
    if _held_by_ended_proxy(outstanding, description):
        return Undone(outstanding.fault, True, UNDONE_BY_ENDING)
    try:
        return Undone(outstanding.fault, True, perform(outstanding.undo, UNDO_TIMEOUT_S))
    except (FaultProxyError, ProcessFaultError) as error:
        return Undone(outstanding.fault, False, str(error))


def _delete_borrowed(description: StackDescription | None) -> list[str]:
    """Proxies made on a server of somebody else are deleted; a server that is gone needs no help."""
    if description is None:
        return []
    try:
        delete_borrowed(description)
    except FaultProxyError as error:
        return [f"could not delete this run's proxies: {error}"]
    return []


def _held_by_ended_proxy(outstanding: OutstandingUndo, description: StackDescription | None) -> bool:
    """Whether a proxy of the stack's own held the fault and has ended; its port may be a stranger's now."""
    if description is None:
        return False
    records = {"proxy": description.proxy, "requests_proxy": description.requests_proxy}
    held_by = {
        part
        for part, record in records.items()
        if record is not None and record.owned and record.api == outstanding.undo.get("api")
    }
    ended = set(description.identities()) - set(description.living())
    return bool(held_by & ended)


def _after_stop(fault: Undone, outstanding: OutstandingUndo, description: StackDescription | None) -> Undone:
    """An undo that failed is made good when the proxy or process that held the fault was stopped after it."""
    if fault.done:
        return fault
    if _held_by_ended_proxy(outstanding, description):
        return Undone(fault.fault, True, UNDONE_BY_ENDING)
    if undoing.all_gone(outstanding.undo):
        return Undone(fault.fault, True, UNDONE_WITH_ITS_PROCESS)
    return fault
