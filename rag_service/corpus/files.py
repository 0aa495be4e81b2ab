"""Which files a corpus path stands for: one file, or all readable ones in a folder and below.

People point at the folder they have, so what cannot be read is left out with a note rather than refused:
other kinds of files, names that begin with a dot (`.git`, `.venv`), links that lead back into a folder that
is being read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rag_service.corpus.document import CorpusError

TEXT_SUFFIXES = (".md", ".markdown", ".txt")
RECORD_SUFFIXES = (".jsonl", ".parquet")
SUFFIXES = TEXT_SUFFIXES + RECORD_SUFFIXES
ALLOWED = "a .md, .markdown, .txt, .jsonl or .parquet file, or a folder of such files"

_NAMED_KINDS = 5


@dataclass(frozen=True, slots=True)
class CorpusFiles:
    """The files of a corpus, sorted; `notes` say what was left out, and why."""

    root: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def corpus_files(path: Path) -> CorpusFiles:
    """The files that a corpus path stands for. Raises CorpusError where there is none."""
    try:
        if path.is_dir():
            return _folder(path)
        if not path.exists():
            raise CorpusError(f"the corpus {path} does not exist; allowed: {ALLOWED}")
    except OSError as error:  # a link that leads to itself, a folder that may not be entered
        raise CorpusError(
            f"the corpus {path} cannot be read ({error.strerror}); allowed: {ALLOWED}"
        ) from None
    if not path.is_file():
        raise CorpusError(f"the corpus {path} is neither a file nor a folder; allowed: {ALLOWED}")
    if path.suffix.lower() not in SUFFIXES:
        raise CorpusError(f"the corpus {path} is a {path.suffix or 'nameless'} file; allowed: {ALLOWED}")
    return CorpusFiles(path.parent, (path,), ())


def _folder(root: Path) -> CorpusFiles:
    files: list[Path] = []
    notes: list[str] = []
    other_kinds: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    for folder, names, file_names in os.walk(root, followlinks=True, onerror=_note_into(notes)):
        status = os.stat(folder)  # noqa: PTH116 - os.walk speaks in strings
        if (status.st_dev, status.st_ino) in seen:
            notes.append(f"{folder} was read already (a link leads to it); it is left out here")
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in file_names:
            file = Path(folder, name)
            if name.startswith("."):
                continue
            if file.suffix.lower() not in SUFFIXES:
                other_kinds[file.suffix.lower() or "nameless"] += 1
            elif not file.is_file():
                notes.append(f"{file} is a broken link or no ordinary file; it is left out")
            else:
                files.append(file)
    if other_kinds:
        kinds = ", ".join(kind for kind, _ in other_kinds.most_common(_NAMED_KINDS))
        notes.append(f"files of other kinds are left out: {other_kinds.total()} ({kinds})")
    if not files:
        raise CorpusError(f"the folder {root} holds nothing that can be read; allowed: {ALLOWED}")
    return CorpusFiles(root, tuple(sorted(files)), tuple(notes))


def _note_into(notes: list[str]) -> Callable[[OSError], None]:
    def note(error: OSError) -> None:
        notes.append(f"{error.filename} cannot be read ({error.strerror}); it is left out")

    return note
