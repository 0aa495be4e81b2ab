"""What a caller may send, and how a refusal of it reads.

Unknown fields are refused: a misspelt `top_k` that silently falls back to its default is a wrong answer.
Each mistake names the field, the value and what is allowed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

MAX_BODY_BYTES = 64 * 1024
DEADLINE_HEADER = "x-request-deadline-ms"

Criticality = Literal["critical", "normal", "sheddable"]


class AnswerRequest(BaseModel):
    """The body of `POST /v1/answers`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
    session_id: Annotated[str, StringConstraints(max_length=128)] | None = None
    top_k: Annotated[int, Field(ge=1, le=20)] = 5
    stream: bool = False
    criticality: Criticality = "normal"


@dataclass(frozen=True, slots=True)
class FieldMistake:
    """One wrong field."""

    field: str
    value: str
    message: str


class BadRequest(Exception):
    """The request cannot be served as it is; `status` is the HTTP status."""

    def __init__(self, status: int, message: str, mistakes: tuple[FieldMistake, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.mistakes = mistakes

    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "code": "bad_request",
                "message": str(self),
                "fields": [asdict(mistake) for mistake in self.mistakes],
            }
        }


def parse_body(body: bytes) -> AnswerRequest:
    """The request in `body`. Raises BadRequest (422)."""
    try:
        return AnswerRequest.model_validate_json(body)
    except ValidationError as error:
        mistakes = tuple(
            FieldMistake(
                field=".".join(str(part) for part in problem["loc"]) or "body",
                value=repr(problem["input"])[:100],
                message=problem["msg"],
            )
            for problem in error.errors(include_url=False)[:20]
        )
        first = mistakes[0]
        raise BadRequest(422, f"{first.field}: {first.message} (it was {first.value})", mistakes) from None


def parse_deadline_s(header: str | None, *, default_s: float, max_s: float) -> float:
    """The caller's patience. Raises BadRequest (400)."""
    if header is None:
        return default_s
    allowed = f"a whole number of milliseconds from 1 to {max_s * 1000:.0f}"
    text = header.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= max_s * 1000):
        message = f"X-Request-Deadline-Ms is {header[:40]!r}; allowed is {allowed}"
        raise BadRequest(400, message, (FieldMistake("X-Request-Deadline-Ms", repr(header[:40]), allowed),))
    return int(text) / 1000.0
