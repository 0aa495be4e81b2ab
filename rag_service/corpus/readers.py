"""The user's own corpus: Markdown, text, JSONL and Parquet files become documents.

Whatever is wrong with a file is said with its name and line, never with a traceback, and all of it at once:
repairing a corpus one message at a time is no fun. Long texts are cut into parts (`id`, `id/2`, …), as an
embedding reads the beginning of a text only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rag_service.corpus.cutting import cut
from rag_service.corpus.document import CorpusError, Document, checked
from rag_service.corpus.files import TEXT_SUFFIXES, corpus_files

MAX_DOCUMENTS = 1_000_000
MAX_TEXT_BYTES = 64 * 2**20
MAX_LINE_BYTES = 16 * 2**20

_SHOWN_PROBLEMS = 10
_BATCH_ROWS = 1024
_REPORT_EVERY = 20_000

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Columns:
    """Where id, title and text stand in the records of JSONL and Parquet files. A title may be missing."""

    id: str = "id"
    title: str = "title"
    text: str = "text"

    def __str__(self) -> str:
        return ", ".join((self.id, self.title, self.text))


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file, or one record of it, cannot be used; `place` names the file and the line."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Found:
    """A document, and where it stands."""

    place: str
    document: Document


Item = Found | Problem


def file_documents(
    path: Path, columns: Columns | None = None, *, skip_bad: bool = False, report: Report | None = None
) -> tuple[Document, ...]:
    """The documents of a user's corpus, in the order of its files and lines.

    Raises CorpusError that lists what is wrong; with `skip_bad` this is reported and left out instead.
    """
    report = report or (lambda _: None)
    found_files = corpus_files(path)
    for note in found_files.notes:
        report(note)
    documents: list[Document] = []
    problems: list[Problem] = []
    places: dict[str, str] = {}
    said = 0
    for file in found_files.files:
        for item in _items(file, found_files.root, columns or Columns(), report):
            if isinstance(item, Found):
                first = places.setdefault(item.document.id, item.place)
                if first != item.place:
                    why = f"the id {item.document.id!r} was used already, by {first}; each needs its own"
                    item = Problem(item.place, why)
            if isinstance(item, Found):
                documents.extend(_parts(item.document))
            else:
                problems.append(item)
            if len(documents) >= said + _REPORT_EVERY:
                said = len(documents)
                report(f"read {said} documents so far")
            if len(documents) > MAX_DOCUMENTS:
                raise CorpusError(f"{path} holds more than {MAX_DOCUMENTS} documents; split it into several")
        if not skip_bad and len(problems) > _SHOWN_PROBLEMS:
            break
    _judge(problems, skip_bad=skip_bad, report=report)
    return checked(documents, str(path))


def _judge(problems: list[Problem], *, skip_bad: bool, report: Report) -> None:
    if not problems:
        return
    lines = [str(problem) for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append("… and more")
    if not skip_bad:
        lines.append("repair this, or leave out what cannot be read with --skip-bad")
        raise CorpusError("\n".join(lines))
    for line in lines:
        report(f"left out: {line}")
    report(f"{len(problems)} files or records are left out")


def _parts(document: Document) -> Iterator[Document]:
    for number, part in enumerate(cut(document.text), start=1):
        yield Document(
            document.id if number == 1 else f"{document.id}/{number}",
            document.title if number == 1 else f"{document.title}, part {number}",
            part,
        )


def _items(file: Path, root: Path, columns: Columns, report: Report) -> Iterator[Item]:
    try:
        if file.suffix.lower() in TEXT_SUFFIXES:
            yield from _text_items(file, root, report)
        elif file.suffix.lower() == ".jsonl":
            yield from _jsonl_items(file, columns)
        else:
            yield from _parquet_items(file, columns, report)
    except OSError as error:
        yield Problem(str(file), f"cannot be read ({error.strerror or error})")


def _text_items(file: Path, root: Path, report: Report) -> Iterator[Item]:
    size = file.stat().st_size
    if size > MAX_TEXT_BYTES:
        yield Problem(str(file), f"has {size} bytes; at most {MAX_TEXT_BYTES} are allowed, so split it")
        return
    text = _decoded(file.read_bytes(), str(file))
    if isinstance(text, Problem):
        yield text
    elif not text.strip():
        report(f"{file} is empty; it is left out")
    else:
        name = file.relative_to(root).as_posix()
        yield _found({"id": name, "title": _heading(text) or name, "text": text}, Columns(), str(file))


def _decoded(raw: bytes, place: str, first_line: int = 1) -> str | Problem:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Problem(place, "is UTF-16; save it as UTF-8")
    zero = raw.find(b"\0")
    if zero >= 0:
        return Problem(place, f"is binary, not text (a zero byte at byte {zero}); save it as UTF-8 text")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = first_line + raw.count(b"\n", 0, error.start)
        what = f"is not UTF-8 (line {line}, byte {error.start}: {raw[error.start]:#04x}); save it as UTF-8"
        return Problem(place, what)


def _heading(text: str) -> str:
    for line in text.splitlines():
        if line.startswith("#"):
            return line.lstrip("#").strip()
    return ""


def _jsonl_items(file: Path, columns: Columns) -> Iterator[Item]:
    with file.open("rb") as lines:
        number = 0
        while raw := lines.readline(MAX_LINE_BYTES + 1):
            number += 1
            place = f"{file}, line {number}"
            if len(raw) > MAX_LINE_BYTES:
                yield Problem(place, f"is longer than {MAX_LINE_BYTES} bytes; split the document")
                while raw and not raw.endswith(b"\n"):
                    raw = lines.readline(MAX_LINE_BYTES)
                continue
            line = _decoded(raw, place, number)
            if isinstance(line, Problem):
                yield line
                if "UTF-16" in line.message or "binary" in line.message:
                    return  # the rest of the file is no better
            elif line.strip():
                yield _record(line, columns, place)


def _record(line: str, columns: Columns, place: str) -> Item:
    try:
        fields = json.loads(line)
    except RecursionError:
        return Problem(place, "is nested too deeply")
    except ValueError as error:
        return Problem(place, f"is not JSON ({error})")
    if not isinstance(fields, dict):
        return Problem(place, f"is {type(fields).__name__}, not an object with {columns}")
    return _found(fields, columns, place)


def _parquet_items(file: Path, columns: Columns, report: Report) -> Iterator[Item]:
    number = 0
    try:
        with pq.ParquetFile(file) as table:
            names: list[str] = table.schema_arrow.names
            missing = [name for name in (columns.id, columns.text) if name not in names]
            if missing:
                flags = "--id-column, --title-column, --text-column name others"
                yield Problem(str(file), f"lacks the column {missing[0]!r}; it has {names}; {flags}")
                return
            wanted = [name for name in (columns.id, columns.title, columns.text) if name in names]
            unused = sorted(set(names) - set(wanted))
            if unused:
                report(f"{file}: the columns {', '.join(unused)} are left out")
            for batch in table.iter_batches(_BATCH_ROWS, columns=wanted):
                for fields in batch.to_pylist():
                    number += 1
                    yield _found(fields, columns, f"{file}, row {number}")
    except (pa.ArrowException, UnicodeDecodeError) as error:
        place = f"{file}, after row {number}" if number else str(file)
        yield Problem(place, f"cannot be read as Parquet ({str(error).splitlines()[0]})")


def _found(fields: Mapping[str, Any], columns: Columns, place: str) -> Item:
    for name in (columns.id, columns.text):
        value = fields.get(name)
        if not isinstance(value, str) or not value.strip():
            hint = "" if name in fields else f"; it has {', '.join(map(repr, fields)) or 'no fields'}"
            return Problem(place, f"{name!r} is {_short(value)}; it must be a string that is not empty{hint}")
    title = fields.get(columns.title) or fields[columns.id]
    if not isinstance(title, str):
        return Problem(place, f"{columns.title!r} is {_short(title)}; it must be a string")
    document = Document(fields[columns.id], title, fields[columns.text])
    for value in (document.id, document.title, document.text):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            lone = value[error.start]
            return Problem(place, f"{_short(value)} holds {lone!r}, which is no character; save it as UTF-8")
    return Found(place, document)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
