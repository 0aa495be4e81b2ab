"""The user's own corpus: a folder of Markdown or text, or one JSONL or Parquet file of documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rag_service.corpus.cutting import cut
from rag_service.corpus.document import CorpusError, Document, checked

MAX_DOCUMENTS = 1_000_000
ALLOWED = "a folder of .md and .txt files, or a .jsonl or .parquet file with id, title and text"

_TEXT_SUFFIXES = (".md", ".txt")
_FIELDS = ("id", "title", "text")


def corpus_files(path: Path) -> tuple[Path, ...]:
    """The files that a corpus path stands for, sorted. Raises CorpusError for anything else."""
    if path.is_dir():
        found = tuple(
            item
            for item in sorted(path.rglob("*"))
            if item.suffix.lower() in _TEXT_SUFFIXES and item.is_file()
        )
        if not found:
            raise CorpusError(f"the folder {path} holds no .md or .txt file; allowed: {ALLOWED}")
        return found
    if not path.exists():
        raise CorpusError(f"the corpus {path} does not exist; allowed: {ALLOWED}")
    if path.suffix.lower() not in (".jsonl", ".parquet"):
        raise CorpusError(f"the corpus {path} is a {path.suffix or 'nameless'} file; allowed: {ALLOWED}")
    return (path,)


def file_documents(path: Path) -> tuple[Document, ...]:
    """The documents of a user's corpus, in the order of its files and lines."""
    files = corpus_files(path)
    if path.is_dir():
        found = [document for file in files for document in _text_documents(file, path)]
    elif path.suffix.lower() == ".jsonl":
        found = list(_jsonl_documents(path))
    else:
        found = list(_parquet_documents(path))
    if len(found) > MAX_DOCUMENTS:
        raise CorpusError(f"{path} holds {len(found)} documents; at most {MAX_DOCUMENTS} are allowed")
    return checked(found, str(path))


def _text_documents(file: Path, root: Path) -> Iterator[Document]:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    name = file.relative_to(root).as_posix()
    title = _heading(text) or name
    for number, part in enumerate(cut(text), start=1):
        yield Document(name if number == 1 else f"{name}/{number}", title, part)


def _heading(text: str) -> str:
    for line in text.splitlines():
        if line.startswith("#"):
            return line.lstrip("#").strip()
    return ""


def _jsonl_documents(path: Path) -> Iterator[Document]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
            except ValueError as error:
                raise CorpusError(f"{path}, line {number} is not JSON ({error})") from None
            if not isinstance(fields, dict):
                raise CorpusError(
                    f"{path}, line {number} is {type(fields).__name__}, not an object with {_list()}"
                )
            yield _document(fields, f"{path}, line {number}")


def _parquet_documents(path: Path) -> Iterator[Document]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{path} cannot be read as Parquet ({error})") from None
    missing = sorted({"id", "text"} - set(table.column_names))
    if missing:
        raise CorpusError(
            f"{path} lacks the column {missing[0]!r}; it has {table.column_names}; needed: {_list()}"
        )
    chosen = table.select([name for name in _FIELDS if name in table.column_names])
    for number, fields in enumerate(chosen.to_pylist(), start=1):
        yield _document(fields, f"{path}, row {number}")


def _document(fields: dict[str, Any], where: str) -> Document:
    for name in ("id", "text"):
        value = fields.get(name)
        if not isinstance(value, str) or not value.strip():
            raise CorpusError(f"{where}: {name!r} is {value!r}; it must be a string that is not empty")
    title = fields.get("title") or fields["id"]
    if not isinstance(title, str):
        raise CorpusError(f"{where}: 'title' is {title!r}; it must be a string")
    return Document(fields["id"], title, fields["text"])


def _list() -> str:
    return ", ".join(_FIELDS)
