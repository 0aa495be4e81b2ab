"""Single mechanisms taken out of a service, where no setting does it: what a scenario's check must notice.

Each function patches the process that it runs in, before the service is made. They stand for the mistakes
that the mechanisms are there against.
"""

from __future__ import annotations

from typing import Any


def trust_done() -> None:
    """Any finish reason before `[DONE]` is a success."""
    from rag_service.resilience import stream

    stream.GOOD_ENDINGS = frozenset({"stop", "length", "abort"})  # type: ignore[misc]


def believe_any_end() -> None:
    """However a stream ends (cut, garbled, aborted, without a finish reason): what came is the answer."""
    from rag_service.errors import DependencyError
    from rag_service.resilience.stream import TokenGuard

    judged = TokenGuard._next_text

    async def believed(self: TokenGuard) -> str:
        try:
            return await judged(self)
        except DependencyError:
            self.finish_reason = "stop"
            raise StopAsyncIteration from None

    TokenGuard._next_text = believed  # type: ignore[method-assign]


def ignore_hang_ups() -> None:
    """A JSON answer is finished for a caller who is gone."""
    from rag_service.api import answers

    async def carry_on(_receive: Any, work: Any, *_: Any) -> Any:
        return await work

    answers.while_connected = carry_on  # type: ignore[assignment]


def forgive_cancellations() -> None:
    """A cancelled call never says anything about its dependency, however long it had waited."""
    from rag_service.resilience.breaker import Permit

    Permit.cancel = Permit.release  # type: ignore[method-assign]


def embed_with_another_model() -> None:
    """Not a mechanism but a fault of its own: vectors of 16 numbers, as another model would make them."""
    import sentence_transformers

    real = sentence_transformers.SentenceTransformer()

    class Other:
        def encode(self, *texts: Any, **options: Any) -> Any:
            return real.encode(*texts, **options)[:, :16]

    sentence_transformers.SentenceTransformer = lambda *_, **__: Other()


def forget_deadlines() -> None:
    """Each layer has its own limits, and none knows until when the caller waits."""
    from rag_service.resilience.deadline import Deadline

    Deadline.after = classmethod(lambda cls, *_, **clock: cls.never(**clock))  # type: ignore[assignment]
