"""Long texts in parts that fit a prompt and an embedding, cut where an author paused.

MiniLM reads 256 word pieces at most and the service puts about five documents into a prompt; a part of at
most 1,600 characters (some 400 tokens) leaves room for all five.
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 1600

PARAGRAPH = re.compile(r"\n\s*\n")


def cut(text: str, max_characters: int = MAX_CHARACTERS) -> tuple[str, ...]:
    """The text in parts of at most `max_characters`: whole paragraphs, then whole lines, then hard cuts."""
    return tuple(part for part in _packed(PARAGRAPH.split(text.strip()), "\n\n", max_characters) if part)


def _packed(pieces: list[str], joint: str, limit: int) -> list[str]:
    parts: list[str] = []
    current = ""
    for piece in pieces:
        piece = piece.rstrip() if joint == "\n\n" else piece
        joined = current + joint + piece if current else piece
        if len(joined) <= limit:
            current = joined
            continue
        if current:
            parts.append(current)
        current = piece
        if len(piece) > limit:
            finer = _packed(piece.split("\n"), "\n", limit) if joint == "\n\n" else _sliced(piece, limit)
            parts.extend(finer[:-1])
            current = finer[-1]
    if current:
        parts.append(current)
    return parts


def _sliced(line: str, limit: int) -> list[str]:
    return [line[start : start + limit] for start in range(0, len(line), limit)]
