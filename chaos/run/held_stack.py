"""A local stack that serves one run after another: started for the first, lent, taken back, ended.

It is taken back only from a run that went to its end, with all parts alive and no answer under way, and lent
again only when it is at rest. In between its own warden guards it, and its own spool takes what it tells.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from chaos.clock import Clock
from chaos.errors import EnvironmentFailure, RagquakeError
from chaos.run.journal import FILE_NAME, Journal
from chaos.run.run_stack import SPOOL, RunStack, Say, StackNeed, Tap
from chaos.run.steady_state import look_at_steady_state
from chaos.safety.rollback import rollback
from chaos.safety.warden import Warden, start_warden
from chaos.stack.barrier import answers_under_way
from chaos.stack.local import EVIDENCE_NAME, LocalStack
from slo.receiver import Receiver

IDLE_WITHIN_S = 10.0
"""After the journeys have ended: an answer that nobody waits for is cut off by its deadline."""
AT_REST_WITHIN_S = 15.0
"""A breaker tries again after 10 s at most, and the questions of the steady state are its probes."""
EVIDENCE_SETTLES_S = 1.0
"""The built-in proxy writes what it saw at least once a second."""
LOOK_EVERY_S = 0.2
ANSWERS_WITHIN_S = 10.0


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


def _unrest(stack: LocalStack) -> str:
    """Why the stack is not as it was before its first run; empty when it is."""
    return "; ".join(look_at_steady_state(stack, ANSWERS_WITHIN_S, AT_REST_WITHIN_S).off)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
