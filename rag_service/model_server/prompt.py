"""What a prompt asks, and the numbered passages that it gives to answer from.

The service writes `Context:`, passages as `[1] title`, text, an empty line, and at the end `Question: …`.
A prompt of any other shape is a question without a context.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPENING = "Context:\n"
_QUESTION = re.compile(r"(?:^|\n)Question: ?")
_NUMBERED = re.compile(r"^\[(\d+)\] ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Passage:
    """One numbered source in a prompt."""

    number: int
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question and the passages to answer it from."""

    question: str
    passages: tuple[Passage, ...]


def parse_prompt(content: str) -> Prompt:
    """The question and passages of a user's message."""
    if not content.startswith(_OPENING):
        return Prompt(content.strip(), ())
    body = content[len(_OPENING) :]
    found = list(_QUESTION.finditer(body))
    if not found:
        return Prompt("", _passages(body))
    last = found[-1]  # a document may hold such a line; the asker's own is the last
    return Prompt(body[last.end() :].strip(), _passages(body[: last.start()]))


def _passages(text: str) -> tuple[Passage, ...]:
    """Passages count up from 1; a line of a document that looks like a later or earlier number is text."""
    starts: list[re.Match[str]] = []
    for match in _NUMBERED.finditer(text):
        if int(match[1]) == len(starts) + 1:
            starts.append(match)
    passages = []
    for position, match in enumerate(starts):
        end = starts[position + 1].start() if position + 1 < len(starts) else len(text)
        title, _, body = text[match.end() : end].partition("\n")
        passages.append(Passage(position + 1, title.strip(), body.strip()))
    return tuple(passages)
