"""Golden questions: what users ask, and which documents answer it.

One JSON object a line: `{"question": "…", "relevant": ["document id", …]}`. The ids are what recall is
judged by, so a file with a broken line is refused whole rather than read around.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).with_name("golden_questions.jsonl")

_SHAPE = 'each line is {"question": "…", "relevant": ["document id", …]}'


class QuestionsError(ValueError):
    """The file of questions cannot be used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the ids of the documents that answer it."""

    text: str
    relevant: tuple[str, ...]


def load_questions(path: Path) -> tuple[Question, ...]:
    """Read all questions of a file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise QuestionsError(f"cannot read the questions {path}: {error.strerror}") from error
    questions = tuple(_question(path, n, line) for n, line in enumerate(lines, 1) if line.strip())
    if not questions:
        raise QuestionsError(f"{path} holds no question; {_SHAPE}")
    return questions


def _question(path: Path, number: int, line: str) -> Question:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise QuestionsError(f"{path}, line {number} is not JSON ({error}); {_SHAPE}") from error
    match found:
        case {"question": str(text), "relevant": list(ids)} if text.strip() and len(found) == 2:
            if all(isinstance(item, str) for item in ids):
                return Question(text=text, relevant=tuple(ids))
    raise QuestionsError(f"{path}, line {number}: {line[:120]!r} has another shape; {_SHAPE}")
