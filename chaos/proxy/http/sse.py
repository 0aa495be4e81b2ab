"""Server-sent events in a stream of bytes, cut apart without changing a byte.

What passes must reach the client exactly as the server wrote it, so an event is kept as its bytes, up to and
with the blank line that ends it; `SseEvent` only looks into them. Lines end with CR LF, LF or CR, as the
WHATWG's grammar has it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MAX_EVENT_BYTES = 1024 * 1024
"""A longer event passes in pieces: it is no event of a model server, and memory has a bound."""

_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_SAID = ("content", "text", "reasoning_content", "reasoning", "tool_calls")
_LINE_END = re.compile(rb"\r\n|\r|\n")


class SseSplitter:
    """Takes bytes in any pieces and gives back whole events; together they are the bytes it took."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._seen = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete by now."""
        held = self._held
        held += data
        events = []
        start = 0
        search_from = max(0, self._seen - 3)  # the longest unfinished blank line
        while found := _BLANK_LINE.search(held, search_from):
            end = found.end()
            if end == len(held) and held[-1] == 0x0D:
                break  # an LF may follow, and belongs to it
            events.append(bytes(held[start:end]))
            start = search_from = end
        del held[:start]
        if len(held) > MAX_EVENT_BYTES:
            events.append(self.rest())
        self._seen = len(held)
        return events

    def rest(self) -> bytes:
        """What is left when the stream is over: an event that was not finished, or nothing."""
        rest = bytes(self._held)
        self._held.clear()
        self._seen = 0
        return rest


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event of a model server's stream."""

    raw: bytes

    @property
    def data(self) -> bytes | None:
        """Its `data` lines, joined; None where it has none, as a comment."""
        lines = []
        for line in _LINE_END.split(self.raw):
            if line.startswith(b"data:"):
                lines.append(line[5:].removeprefix(b" "))
            elif line == b"data":
                lines.append(b"")
        return b"\n".join(lines) if lines else None

    def json(self) -> dict[str, Any] | None:
        """Its data as a JSON object, if it is one."""
        data = self.data
        if data is None or not data.startswith(b"{"):
            return None
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    @property
    def is_done(self) -> bool:
        """Whether it is OpenAI's `[DONE]`."""
        data = self.data
        return data is not None and data.strip() == b"[DONE]"

    @property
    def has_token(self) -> bool:
        """Whether it brings text (or reasoning, or a tool call) of the answer.

        A model server may put several tokens into one event; they count as one.
        """
        for choice in _choices(self.json()):
            delta = choice.get("delta")
            said = delta if isinstance(delta, dict) else choice
            if any(said.get(key) for key in _SAID):
                return True
        return False

    @property
    def is_end(self) -> bool:
        """Whether it belongs to the end of an answer: a finish reason, the usage, an error or `[DONE]`."""
        value = self.json()
        if value is None:
            return self.is_done
        if "error" in value or (value.get("usage") and not value.get("choices")):
            return True
        return any(choice.get("finish_reason") for choice in _choices(value))


def _choices(value: dict[str, Any] | None) -> list[dict[str, Any]]:
    found = value.get("choices") if value is not None else None
    return [choice for choice in found if isinstance(choice, dict)] if isinstance(found, list) else []
