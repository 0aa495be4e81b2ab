"""Where a run gets its stack from: one of its own, or one that runs of the same need have in turn.

A stack that is shared costs its start (half a minute) once. It has a folder, a journal and a warden of its
own, so that it is guarded between two runs, too; a run that has it describes it in its own bundle, gets the
telemetry and the fault proxy's evidence of its time there, and ends nothing of it. It is kept only after a
run that went to its end, and given to the next only when it is at rest; else a new one is started. What the
service has learned (its caches) stays: a run on a shared stack is not the first of its service's life.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chaos.clock import Clock
from chaos.errors import EnvironmentFailure, RagquakeError
from chaos.run.journal import FILE_NAME, Journal
from chaos.run.steady_state import look_at_steady_state
from chaos.safety.rollback import rollback
from chaos.safety.warden import Warden, start_warden
from chaos.stack import Stack, open_receiver, open_stack
from chaos.stack.barrier import answers_under_way
from chaos.stack.local import EVIDENCE_NAME, LocalStack
from chaos.stack.model_servers import LlmRequest
from chaos.stack.target import AttachedTarget
from slo.receiver import Receiver

SPOOL = "otlp"
IDLE_WITHIN_S = 10.0
"""After the journeys have ended: an answer that nobody waits for is cut off by its deadline."""
AT_REST_WITHIN_S = 15.0
"""A breaker tries again after 10 s at most, and the questions of the steady state are its probes."""
EVIDENCE_SETTLES_S = 1.0
"""The built-in proxy writes what it saw at least once a second."""
LOOK_EVERY_S = 0.2
ANSWERS_WITHIN_S = 10.0

Say = Callable[[str], None]
Tap = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class StackNeed:
    """What a run needs of its stack; runs whose needs are equal can have the same one."""

    kind: str
    state: Path
    llm: LlmRequest
    on_requests: bool
    settings: Mapping[str, str | int | float | bool]
    target: AttachedTarget | None = None

    @property
    def can_be_shared(self) -> bool:
        """Containers hand their telemetry to one folder; a service that runs already needs no start."""
        return self.kind == "local"

    def open(self, folder: Path, receiver: Receiver, say: Say) -> Stack:
        """Such a stack, not yet started. Raises StackError where there is none."""
        return open_stack(
            self.kind,
            target=self.target,
            folder=folder,
            state=self.state,
            llm=self.llm,
            on_requests=self.on_requests,
            otlp_endpoint=receiver.endpoint,
            service_settings=self.settings,
            on_progress=say,
        )


@dataclass(slots=True)
class RunStack:
    """The stack that a run has, and where its telemetry arrives."""

    stack: Stack
    receiver: Receiver
    reusable: bool = False
    """The run says at its end that nothing speaks against another one on this stack."""
    goes_on: bool = False
    """The stack was taken back from the run and is up."""


class Stacks(Protocol):
    """Who gives stacks to runs."""

    def for_run(
        self, need: StackNeed, bundle: Path, say: Say, tap: Tap = lambda _body: None
    ) -> AbstractContextManager[RunStack]:
        """A stack that is up, for as long as the block lasts; `tap` hears its spans."""
        ...

    def serves(self, need: StackNeed) -> bool:
        """Whether a run with that need would not have to wait for a start, as far as is known."""
        ...

    def close(self) -> None:
        """End what is up between runs. Raises EnvironmentFailure when something of it is left."""
        ...


class FreshStacks:
    """A stack for each run, which ends with it."""

    @contextmanager
    def for_run(
        self, need: StackNeed, bundle: Path, say: Say, tap: Tap = lambda _body: None
    ) -> Iterator[RunStack]:
        with (
            open_receiver(bundle / SPOOL, need.target, tap) as receiver,
            need.open(bundle, receiver, say) as stack,
        ):
            yield RunStack(stack, receiver)

    def serves(self, need: StackNeed) -> bool:
        del need
        return False

    def close(self) -> None:
        """Between runs there is none."""


class SharedStacks:
    """One stack at a time, for as many runs as need such a one in a row; `close` it after the last."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._held: HeldStack | None = None
        self._started = 0

    def serves(self, need: StackNeed) -> bool:
        """Whether a run with that need would not have to wait for a start, as far as is known."""
        return self._held is not None and self._held.need == need

    @contextmanager
    def for_run(
        self, need: StackNeed, bundle: Path, say: Say, tap: Tap = lambda _body: None
    ) -> Iterator[RunStack]:
        if not need.can_be_shared:
            with FreshStacks().for_run(need, bundle, say, tap) as own:
                yield own
            return
        on = None
        try:
            on = self._lend(need, bundle, say, tap)
            yield on
            if on.reusable and self._held is not None:
                on.goes_on = self._held.take_back(say)
        finally:
            if on is None or not on.goes_on:
                self.close()

    def close(self) -> None:
        """End the stack that is up, if one is. Raises EnvironmentFailure when something of it is left."""
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def _lend(self, need: StackNeed, bundle: Path, say: Say, tap: Tap) -> RunStack:
        if self._held is not None and (why := self._held.unfit(need)):
            say(f"a new stack: {why}")
            self.close()
        if self._held is not None:
            self._held.lend(bundle, tap)
        else:
            self._started += 1
            folder = self._folder / f"stack-{self._started}"
            self._held = HeldStack.start(need, folder, bundle, say, tap, self._clock)
        return self._held.on


class HeldStack:
    """A local stack with a folder, a warden and a receiver of its own, which is up; `start` makes one."""

    def __init__(
        self,
        need: StackNeed,
        folder: Path,
        stack: LocalStack,
        receiver: Receiver,
        warden: Warden,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self.need = need
        self._folder = folder
        self._stack = stack
        self._receiver = receiver
        self._warden = warden
        self._journal = journal
        self._clock = clock
        self._end = ExitStack()
        self._bundle: Path | None = None
        """Of the run that has it."""
        self._evidence_from = 0

    @property
    def on(self) -> RunStack:
        """As a run sees it."""
        return RunStack(self._stack, self._receiver)

    @classmethod
    def start(
        cls, need: StackNeed, folder: Path, bundle: Path, say: Say, tap: Tap, clock: Clock
    ) -> HeldStack:
        """Start it for its first run. Whatever goes wrong, nothing of it is left."""
        folder.mkdir(parents=True)
        with ExitStack() as undo:
            journal = undo.enter_context(Journal(folder / FILE_NAME, clock))
            warden = start_warden(folder)
            undo.callback(warden.done)
            undo.callback(_roll_back, folder)
            receiver = undo.enter_context(Receiver(bundle / SPOOL, tap=tap))
            stack = need.open(folder, receiver, say)
            if not isinstance(stack, LocalStack):
                raise TypeError(f"a {need.kind} stack cannot be shared")
            held = cls(need, folder, stack, receiver, warden, journal, clock)
            undo.callback(held._hand_over_evidence)
            stack.adopt("warden", warden.identity, warden.log)
            held._hand_to(bundle)
            undo.enter_context(stack)
            held._end = undo.pop_all()
        return held

    def lend(self, bundle: Path, tap: Tap) -> None:
        """Give it to another run."""
        self._stack.flush()  # so that nothing of the time between the runs comes to this one
        self._receiver.turn_to(bundle / SPOOL, tap)
        self._hand_to(bundle)

    def take_back(self, say: Say) -> bool:
        """Take it back from a run that went to its end; false when it has to end with that run."""
        try:
            self._require_alive()
            self._wait_idle()
            self._stack.flush()
        except RagquakeError as error:
            say(f"this stack ends here: {error}")
            return False
        self._receiver.turn_to(self._folder / SPOOL)
        self._hand_over_evidence()
        self._stack.take_back()
        self._journal.append("stack.taken_back")
        return True

    def unfit(self, need: StackNeed) -> str:
        """Why a run with that need cannot have it; empty when it can."""
        if need != self.need:
            return "the next run needs other settings or links"
        try:
            self._require_alive()
        except RagquakeError as error:
            return str(error)
        until_s = self._clock.monotonic_s() + AT_REST_WITHIN_S
        while why := _unrest(self._stack):
            if self._clock.monotonic_s() >= until_s:
                return why
            self._clock.sleep(LOOK_EVERY_S)
        return ""

    def close(self) -> None:
        """End everything. Raises EnvironmentFailure when something is left; again does nothing."""
        self._end.close()

    def _hand_to(self, bundle: Path) -> None:
        self._bundle, self._evidence_from = bundle, _size(self._stack.evidence)
        self._stack.lend(bundle)
        self._journal.append("stack.lent", to=bundle.name)

    def _require_alive(self) -> None:
        self._warden.require_alive()
        self._stack.require_alive()

    def _wait_idle(self) -> None:
        until_s = self._clock.monotonic_s() + IDLE_WITHIN_S
        while under_way := answers_under_way(self._stack.service_url):
            if self._clock.monotonic_s() >= until_s:
                raise EnvironmentFailure(
                    f"the service makes {under_way} answers {IDLE_WITHIN_S:.0f} s after the last user left"
                )
            self._clock.sleep(LOOK_EVERY_S)
        description = self._stack.description
        witnesses = (description.proxy, description.requests_proxy)
        witnessed = any(proxy is not None and proxy.kind == "builtin" for proxy in witnesses)
        self._clock.sleep(EVIDENCE_SETTLES_S if witnessed else LOOK_EVERY_S)

    def _hand_over_evidence(self) -> None:
        """What the built-in proxy told during the run stands in the run's bundle, too."""
        bundle, self._bundle = self._bundle, None
        if bundle is not None and self._stack.evidence.exists():
            with self._stack.evidence.open("rb") as file:
                file.seek(self._evidence_from)
                (bundle / EVIDENCE_NAME).write_bytes(file.read())


def _roll_back(folder: Path) -> None:
    report = rollback(folder, by="runner")
    if not report.clean:
        raise EnvironmentFailure(f"the stack of {folder} was not ended well: {report.sentence()}")


def _unrest(stack: Stack) -> str:
    """Why the stack is not as it was before its first run; empty when it is."""
    return "; ".join(look_at_steady_state(stack, ANSWERS_WITHIN_S).off)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
