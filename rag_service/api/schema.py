"""What a caller may send, and how a refusal of it reads.

Unknown fields are refused: a misspelt `top_k` that silently falls back to its default is a wrong answer. So
are duplicate keys, where two readers of the same JSON would see two different questions.
Each mistake names the field, the value and what is allowed; what is echoed is cut and always valid text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

DEADLINE_HEADER = "x-request-deadline-ms"
#: Of one mistake's value, and of its field's name.
_ECHO = 100
_MOST_MISTAKES = 20
#: Beyond that they are counted, not read: 64 KiB hold ten thousand, some 70 ms of work on the event loop.
_COUNTED_ABOVE = 200

Criticality = Literal["critical", "normal", "sheddable"]


def _integral(value: Any) -> Any:
    """5.0 is an integer in JSON Schema, which does not tell it from 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: Put it last into an `Annotated[int, …]`.
Integral = BeforeValidator(_integral)
QuestionText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=4000),
    Field(json_schema_extra={"pattern": r"\S"}),  # not only white space
]
SessionId = Annotated[str, StringConstraints(max_length=128)]
TopK = Annotated[int, Field(ge=1, le=20), Integral]


class AnswerRequest(BaseModel):
    """The body of `POST /v1/answers`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    question: QuestionText
    session_id: SessionId | None = None
    top_k: TopK = 5
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

    def __init__(
        self, status: int, message: str, mistakes: tuple[FieldMistake, ...] = (), *, code: str = "bad_request"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.mistakes = mistakes
        self.code = code


Model = TypeVar("Model", bound=BaseModel)


def parse_body(body: bytes) -> AnswerRequest:
    """The request in `body`. Raises BadRequest (422)."""
    return parse_as(AnswerRequest, body, status=422)


def parse_as(model: type[Model], body: bytes, *, status: int) -> Model:
    """`body` as a `model`. Raises BadRequest with `status`."""
    try:
        found = model.model_validate_json(body)
    except ValidationError as error:
        if (count := error.error_count()) > _COUNTED_ABOVE:
            mistake = FieldMistake("body", f"{count} mistakes", f"at most {_COUNTED_ABOVE} are looked at")
            raise BadRequest(status, f"body: {mistake.value}; {mistake.message}", (mistake,)) from None
        mistakes = tuple(_mistake(problem) for problem in error.errors(include_url=False)[:_MOST_MISTAKES])
        first = mistakes[0]
        message = f"{first.field}: {first.message} (it was {first.value})"
        raise BadRequest(status, message, mistakes) from None
    if (oddity := _oddity(body)) is not None:
        raise BadRequest(status, f"{oddity.field}: {oddity.message}", (oddity,))
    return found


def _mistake(problem: Any) -> FieldMistake:
    field = ".".join(str(part) for part in problem["loc"]) or "body"
    return FieldMistake(_echo(field), repr(problem["input"])[:_ECHO], _echo(problem["msg"], 300))


def _echo(text: str, longest: int = _ECHO) -> str:
    """`text` cut, and without the lone surrogates that no response could be encoded with."""
    return text[:longest].encode("utf-8", "backslashreplace").decode("utf-8")


class _Odd(Exception):
    """Found where pydantic's parser is lenient."""

    def __init__(self, mistake: FieldMistake) -> None:
        super().__init__(mistake.message)
        self.mistake = mistake


def _oddity(body: bytes) -> FieldMistake | None:
    """What is wrong with `body` although pydantic took it: a key twice in one object, NaN, Infinity."""
    try:
        json.loads(body, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_any_number)
    except _Odd as found:
        return found.mistake
    return None


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _Odd(FieldMistake(_echo(key), repr(key)[:_ECHO], "the key appears twice in one object"))
        seen.add(key)


def _no_constant(name: str) -> None:
    raise _Odd(FieldMistake("body", name, f"{name} is not a number in JSON"))


def _any_number(_: str) -> int:
    """Values do not matter here, and converting thousands of digits would be refused by Python itself."""
    return 0


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
