"""Everything that can go wrong while answering, as one tree: each caller catches exactly what it handles.

RagError
├── DeadlineExceeded            the caller's patience is used up
├── Rejected                    we chose not to try; says when to come back
│   ├── CircuitOpen             the dependency's breaker is open
│   ├── BulkheadFull            too many calls to one dependency are in flight
│   ├── QueueTimeout            the embedder's queue was too long
│   └── Overloaded              the service admits no more answers, or is not ready yet
└── DependencyError             we tried, and the dependency did not deliver
    ├── DependencyTimeout       no result within the attempt's limit
    ├── DependencyUnreachable   the connection could not be made; always safe to try again
    ├── ConnectionBroken        the connection ended before the result did
    ├── BadStatus               an HTTP status other than success
    │   └── Pushback            429, or a 503 of admission control: it works, and asks for less
    ├── BadResponse             a body that breaks the dependency's contract
    └── StreamFailed            a token stream that stalled, was cut or was aborted

`reason` is the short word that spans (`error.type`), degradations and error bodies carry.
"""

from __future__ import annotations

__all__ = [
    "BadResponse",
    "BadStatus",
    "BulkheadFull",
    "CircuitOpen",
    "ConnectionBroken",
    "DeadlineExceeded",
    "DependencyError",
    "DependencyTimeout",
    "DependencyUnreachable",
    "Overloaded",
    "Pushback",
    "QueueTimeout",
    "RagError",
    "Rejected",
    "StreamFailed",
]


class RagError(Exception):
    """Base of the tree; `reason` is a machine-readable word, the message is for people."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class DeadlineExceeded(RagError):
    """The time the caller gave is over, or too little is left to start something."""

    def __init__(self, doing: str) -> None:
        super().__init__(f"the request's deadline passed during {doing}", reason="deadline_exceeded")


class Rejected(RagError):
    """Refused before any work; `retry_after_s` says when trying again makes sense."""

    def __init__(self, message: str, *, reason: str, retry_after_s: float) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class CircuitOpen(Rejected):
    """The breaker in front of a dependency does not let this call through."""

    def __init__(self, name: str, *, retry_after_s: float) -> None:
        message = f"{name}: the circuit is open, next probe in {retry_after_s:.1f} s"
        super().__init__(message, reason="circuit_open", retry_after_s=retry_after_s)
        self.name = name


class BulkheadFull(Rejected):
    """All of a dependency's places are taken."""

    def __init__(self, name: str, limit: int) -> None:
        message = f"{name}: all {limit} places are taken"
        super().__init__(message, reason="bulkhead_full", retry_after_s=1.0)


class QueueTimeout(Rejected):
    """Work waited in a queue for longer than its result would be worth."""

    def __init__(self, name: str, waited_s: float) -> None:
        message = f"{name}: waited {waited_s * 1000:.0f} ms in the queue"
        super().__init__(message, reason="queue_timeout", retry_after_s=1.0)


class Overloaded(Rejected):
    """The service itself takes no more work now."""

    def __init__(self, message: str, *, reason: str = "overloaded", retry_after_s: float = 1.0) -> None:
        super().__init__(message, reason=reason, retry_after_s=retry_after_s)


class DependencyError(RagError):
    """A dependency was asked and failed; `dependency` names it as the fault proxy does."""

    #: Trying once more on a fresh connection is safe and may help.
    retryable = False

    def __init__(self, dependency: str, message: str, *, reason: str) -> None:
        super().__init__(f"{dependency}: {message}", reason=reason)
        self.dependency = dependency


class DependencyTimeout(DependencyError):
    """The attempt's limit passed. Never retried: the dependency is slow already."""

    def __init__(self, dependency: str, limit_s: float, *, by_deadline: bool = False) -> None:
        super().__init__(dependency, f"no result within {limit_s:.3f} s", reason="timeout")
        #: The caller's deadline cut the attempt short, which says little about the dependency.
        self.by_deadline = by_deadline


class DependencyUnreachable(DependencyError):
    """No connection: nothing was sent."""

    retryable = True

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(dependency, f"cannot connect ({detail})", reason="connect_error")


class ConnectionBroken(DependencyError):
    """The connection was reset or closed before a result; searches and unstarted answers may be repeated."""

    retryable = True

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(dependency, f"the connection broke ({detail})", reason="read_error")


class BadStatus(DependencyError):
    """An HTTP status that is not success."""

    def __init__(self, dependency: str, status: int, detail: str = "", *, reason: str | None = None) -> None:
        by_status = "http_429" if status == 429 else f"http_{status // 100}xx"
        super().__init__(dependency, f"HTTP {status} {detail[:200]}".rstrip(), reason=reason or by_status)
        self.status = status

    @property
    def blames_dependency(self) -> bool:
        """5xx is its failure; 4xx is ours."""
        return self.status >= 500


class Pushback(BadStatus):
    """The dependency works and asks for less; a breaker must not punish it, and a limiter must obey."""

    def __init__(
        self, dependency: str, status: int, detail: str = "", *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(dependency, status, detail)
        self.reason = "http_429" if status == 429 else "pushback"
        #: How long it asks to be left alone; None when it does not say.
        self.retry_after_s = retry_after_s

    @property
    def blames_dependency(self) -> bool:
        return False


class BadResponse(DependencyError):
    """The dependency answered something that its contract does not allow."""

    def __init__(self, dependency: str, detail: str, *, reason: str = "bad_response") -> None:
        super().__init__(dependency, detail, reason=reason)


class StreamFailed(DependencyError):
    """A token stream that did not end well; `reason` is the `code` of the SSE `error` event."""

    def __init__(self, dependency: str, detail: str, *, reason: str) -> None:
        super().__init__(dependency, detail, reason=reason)
