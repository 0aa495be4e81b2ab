"""Bytes in, server-sent events' data out: the one part of SSE that an OpenAI stream uses.

A parser of its own because it runs for every token: a decoder that goes through text, lines and an event
object took a third of a token's time. It follows the WHATWG rules for any chunking of the bytes: LF, CRLF and
CR end lines, a blank line ends an event, several `data` lines are joined by LF, comments (pings) and other
fields are nobody's data, an event without its blank line never happened. Tested against httpx_sse's decoder
as the reference.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"
#: A token's event has some hundred bytes; an event that goes on beyond this is an attack or a mistake.
MOST_BYTES = 1024 * 1024


class EventTooLong(ValueError):
    """An event has no end within `MOST_BYTES`."""


class EventStream:
    """Collects bytes and gives back the data of each event that they complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that end in `data`. Raises EventTooLong."""
        if self._after_cr or b"\r" in data:
            data = self._to_line_feeds(data)
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        if len(self._rest) > MOST_BYTES:
            raise EventTooLong(f"an event is longer than the {MOST_BYTES} bytes allowed")
        if blocks and not self._begun:
            self._begun = True
            blocks[0] = blocks[0].removeprefix(_BOM)
        found: list[bytes] = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:  # what nearly all of them look like
                found.append(block[6:])
            elif (collected := _data(block)) is not None:
                found.append(collected)
        return found

    def _to_line_feeds(self, data: bytes) -> bytes:
        """CR and CRLF as LF, also when the two bytes of a CRLF come apart."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        elif not data:
            return data
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(block: bytes) -> bytes | None:
    lines = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None
