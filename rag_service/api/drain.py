"""How the service ends: nothing new, what is under way may finish, what is left is told so.

A process that drops its streams on SIGTERM turns each deployment into errors. So from the first signal on
`/readyz` says `draining` and new answers are refused with `Connection: close` (a load balancer and a kept
connection both go elsewhere), while answers under way have `RAG_DRAIN_S`. What is still unfinished then ends
in exactly one `error` event, so that no caller has to guess whether the text was whole.
"""

from __future__ import annotations

import asyncio

from rag_service.api.patience import Interruption
from rag_service.errors import Overloaded

#: What `Retry-After` says: another process, or the next one of this deployment, is there by then.
_RETRY_AFTER_S = 1.0
#: How long interrupted answers may take to say their last word.
_LAST_WORDS_S = 1.0
_NO_NEW_QUESTIONS = "the service is about to stop and takes no new questions"


def _draining(message: str) -> Overloaded:
    return Overloaded(message, reason="draining", retry_after_s=_RETRY_AFTER_S)


class Drain:
    """The requests under way, and whether new ones may begin."""

    def __init__(self) -> None:
        self._under_way: set[Interruption] = set()
        self.draining = False

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def refuse_if_draining(self) -> None:
        """Raises Overloaded (`draining`)."""
        if self.draining:
            raise _draining(_NO_NEW_QUESTIONS)

    def enter(self) -> Interruption:
        """Begin to read a question; give it back with `leave`. Raises Overloaded (`draining`)."""
        self.refuse_if_draining()
        visit = Interruption()
        self._under_way.add(visit)
        return visit

    def leave(self, visit: Interruption) -> None:
        self._under_way.discard(visit)

    async def run(self, limit_s: float) -> None:
        """Refuse from now on; return when nothing is under way, after `limit_s` by interrupting it.

        Who has not asked yet (the body is still coming) is refused at once like those who come later.
        """
        self.draining = True
        for visit in tuple(self._under_way):
            if not visit.asked:
                visit.interrupt(_draining(_NO_NEW_QUESTIONS))
        if not await self._empty_within(limit_s):
            for visit in tuple(self._under_way):
                visit.interrupt(_draining("the service is stopping; the answer is not finished"))
            await self._empty_within(_LAST_WORDS_S)

    async def _empty_within(self, limit_s: float) -> bool:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + limit_s
        while self._under_way:
            if loop.time() >= ends_at:
                return False
            await asyncio.sleep(min(0.02, max(0.0, ends_at - loop.time())))
        return True
