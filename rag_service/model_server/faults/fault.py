"""What a fault of the model server is: validated data, and the moments at which it may act.

A fault proxy works on bytes and connections, so it cannot make a server say 429, abort an answer or fall
silent behind a living connection. These faults can. Each names the public behaviour that it copies. A kind
is one class in one file of this package: a `kind`, its parameters with their bounds, and one of the moments.
"""

from __future__ import annotations

from abc import abstractmethod
from enum import Enum
from typing import Annotated, Protocol, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from rag_service.model_server.openai_errors import ApiError

MAX_DELAY_S = 600.0
MAX_TOKENS = 100_000

Delay = Annotated[float, Field(gt=0.0, le=MAX_DELAY_S, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]


class Ending(Enum):
    """How a fault ends an answer that was under way."""

    ABORTED = "aborted"
    TRUNCATED = "truncated"
    CUT = "cut"


class EndAnswer(Exception):
    """Raised by a fault: write no more tokens and end the answer in this way."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.value)
        self.ending = ending


class Wire(Protocol):
    """The answer under way, as a fault may touch it."""

    async def write(self, event: bytes) -> None:
        """Put bytes between two token events of a stream; an answer that is no stream drops them."""
        ...


class Fault(BaseModel):
    """A fault with its parameters.

    It acts on a request with `probability`, on at most `count` of them, and for `for_s` seconds at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str
    probability: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    count: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    for_s: Delay | None = None

    def refusal(self) -> ApiError | None:
        """The error that answers the request before it takes a place, or nothing."""
        return None

    def health(self) -> ApiError | None:
        """The error that answers who asks whether the server is ready, or nothing. It is not a hit."""
        return None

    async def before_token(self, position: int, wire: Wire) -> None:
        """Called before the token at `position` (from 0) is due, and once more after the last one."""


class AfterTokens(Fault):
    """A fault that acts once, when `after_tokens` tokens have been sent."""

    after_tokens: Tokens

    async def before_token(self, position: int, wire: Wire) -> None:
        if position == self.after_tokens:
            await self.act(wire)

    @abstractmethod
    async def act(self, wire: Wire) -> None:
        """What happens then."""


F = TypeVar("F", bound=Fault)
_kinds: dict[str, type[Fault]] = {}


def register(kind: type[F]) -> type[F]:
    """Make a class known by the one value that its `kind` allows."""
    (name,) = get_args(kind.model_fields["kind"].annotation)
    _kinds[name] = kind
    return kind


def registered() -> dict[str, type[Fault]]:
    return dict(_kinds)
