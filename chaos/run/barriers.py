"""A barrier at each phase's end: the service hands over the spans that it still holds.

Asked in a thread of its own: the next phase begins on time, whatever the service has to do, and the load
never waits. All that is asked of the service is to send earlier what it would send within its export delay
anyway. A barrier that is still under way when the next one is due makes that one fail, so they never pile up.
The last barrier, when the load is over, is waited for: after it a missing span is a lost span.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from chaos.errors import RagquakeError
from chaos.run.journal import Journal
from chaos.stack.barrier import Flushed

WAIT_S = 20.0
"""A little more than a flush may take."""


class Barriers:
    """A run's barriers. `flush` gives what the service says of its spans, `received` how many came."""

    def __init__(self, flush: Callable[[], Flushed], received: Callable[[], int], journal: Journal) -> None:
        self.lost = 0
        """Spans that the service had lost since its start when it was last asked."""
        self._flush = flush
        self._received = received
        self._journal = journal
        self._under_way: threading.Thread | None = None
        self._told = threading.Lock()
        self._over = False

    def begin(self, phase: str) -> None:
        """Ask for the spans of a phase that has ended, and do not wait."""
        if self._under_way is not None and self._under_way.is_alive():
            reason = "the barrier before it was still under way"
            self._journal.append("barrier.failed", phase=phase, reason=reason)
            return
        self._under_way = threading.Thread(target=self._pass, args=(phase,), name="barrier", daemon=True)
        self._under_way.start()

    def finish(self) -> None:
        """The last one, with no load any more: waits for the answer."""
        if self._under_way is not None:
            self._under_way.join(WAIT_S)
        self._pass(None)

    def _pass(self, phase: str | None) -> None:
        facts = {"phase": phase} if phase is not None else {}
        try:
            said, reason = self._flush(), ""
        except RagquakeError as error:
            said, reason = Flushed(), str(error)
        with self._told:
            if self._over:
                return
            if reason:
                self._journal.append("barrier.failed", **facts, reason=reason)
                return
            self.lost = said.lost or 0
            counts = {"spans": self._received(), "lost": said.lost}
            self._journal.append("barrier.passed", **facts, last_seq=said.last_seq, **counts)

    def close(self) -> None:
        """Nothing is told any more, whatever is still under way: the journal is about to be closed."""
        with self._told:
            self._over = True
