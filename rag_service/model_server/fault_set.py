"""The faults that are in at the moment, replaced as a whole, and the draw of those that one request meets.

Each request draws once, when it arrives, and keeps what it drew: a stalled answer stays stalled when the
faults are cleared, as a real one would. Draws come from one seeded source, so the same seed and order of
requests give the same faults.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from pydantic import ValidationError

from rag_service.model_server.faults import Fault, fault_kinds
from rag_service.model_server.openai_errors import ApiError

MAX_FAULTS = 32


@dataclass(slots=True)
class Armed:
    """A fault that is in, and on how many requests it has acted."""

    fault: Fault
    since_s: float
    hits: int = 0
    name: str | None = None

    def acts_at(self, now_s: float) -> bool:
        """Whether it is neither used up nor over."""
        count, for_s = self.fault.count, self.fault.for_s
        return (count is None or self.hits < count) and (for_s is None or now_s - self.since_s < for_s)


class FaultSet:
    """What is armed now; `clock` tells when a fault has been in for long enough."""

    def __init__(self, random: Random, clock: Callable[[], float] = time.monotonic) -> None:
        self._random = random
        self._clock = clock
        self._armed: tuple[Armed, ...] = ()

    @property
    def armed(self) -> tuple[Armed, ...]:
        return self._armed

    def replace(self, faults: Sequence[Fault]) -> None:
        """Put these in, and nothing else; every count starts anew."""
        now_s = self._clock()
        self._armed = tuple(Armed(fault, now_s) for fault in faults)

    def put(self, name: str, fault: Fault) -> Armed:
        """Put this one in beside the others, or in place of the one of that name, and count anew."""
        armed = Armed(fault, self._clock(), name=name)
        others = tuple(one for one in self._armed if one.name != name)
        if len(others) >= MAX_FAULTS:
            raise _bad(f"{len(others)} faults are in; at most {MAX_FAULTS} are allowed, so remove one first")
        self._armed = (*others, armed)
        return armed

    def get(self, name: str) -> Armed:
        """The fault of that name. Raises ApiError 404."""
        found = next((armed for armed in self._armed if armed.name == name), None)
        if found is None:
            named = ", ".join(armed.name for armed in self._armed if armed.name) or "none"
            raise ApiError(404, "NotFoundError", f"no fault is called {name!r}; there are: {named}")
        return found

    def take(self, name: str) -> Armed:
        """Remove one; what it counted goes with it. Raises ApiError 404."""
        found = self.get(name)
        self._armed = tuple(armed for armed in self._armed if armed is not found)
        return found

    def draw(self) -> tuple[Fault, ...]:
        """The faults that act on the next request, in the order in which they were given.

        One that refuses the request acts alone, the first of them: what never gets to act is no hit.
        """
        if not self._armed:
            return ()
        now_s = self._clock()
        drawn = [
            armed
            for armed in self._armed
            if armed.acts_at(now_s)
            and (armed.fault.probability >= 1.0 or self._random.random() < armed.fault.probability)
        ]
        refusing = next((armed for armed in drawn if armed.fault.refusal() is not None), None)
        if refusing is not None:
            drawn = [refusing]
        for armed in drawn:
            armed.hits += 1
        return tuple(armed.fault for armed in drawn)

    def health(self) -> ApiError | None:
        """What to tell who asks whether the server is ready; None when it is."""
        for armed in self._armed:
            refusal = armed.fault.health()
            if refusal is not None and armed.acts_at(self._clock()):
                return refusal
        return None


def parse_faults(body: Any) -> tuple[Fault, ...]:
    """The faults of `{"faults": [...]}`. Raises ApiError 400: the key, its value, what is allowed."""
    if not isinstance(body, dict):
        raise _bad(f'the body is {_short(body)}; send {{"faults": [{{"kind": "stall", "after_tokens": 5}}]}}')
    unknown = sorted(str(key) for key in body.keys() - {"faults"})
    if unknown:
        raise _bad(f"{unknown[0]!r} is not a key; the one key is 'faults'", unknown[0])
    listed = body.get("faults")
    if not isinstance(listed, list) or len(listed) > MAX_FAULTS:
        what = f"a list of {len(listed)}" if isinstance(listed, list) else _short(listed)
        raise _bad(f"'faults' is {what}; it must be a list of at most {MAX_FAULTS} faults", "faults")
    return tuple(parse_fault(item, f"faults[{position}]") for position, item in enumerate(listed))


def parse_fault(item: Any, where: str = "the body") -> Fault:
    """One fault. Raises ApiError 400: the key, its value, what is allowed."""
    kinds = fault_kinds()
    if not isinstance(item, dict):
        raise _bad(f"{where} is {_short(item)}; it must be an object with a 'kind'", where)
    kind = item.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        given = _short(kind) if "kind" in item else "missing"
        raise _bad(f"{where}.kind is {given}; allowed are {', '.join(kinds)}", f"{where}.kind")
    try:
        return kinds[kind].model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            problem = f" is not a key of {kind!r}; its keys are {', '.join(kinds[kind].model_fields)}"
        elif first["type"] == "missing":
            problem = " is missing"
        else:
            problem = f" is {_short(first['input'])}: {first['msg']}"
        raise _bad(f"{where}.{name}{problem}", f"{where}.{name}") from None


def _bad(message: str, param: str | None = None) -> ApiError:
    return ApiError(400, "BadRequestError", message, param)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
