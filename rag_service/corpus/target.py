"""The folder that an ingest makes or replaces: who may, what may be replaced, and how it happens at once.

What is replaced is removed, so a folder counts as an index only when it holds nothing else: `manifest.json`
is a name that web applications use, too, and `documents.parquet` may be what somebody wants to have ingested.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rag_service.corpus.document import CorpusError, Document
from rag_service.corpus.index import (
    DOCUMENTS_FILE,
    MANIFEST_FILE,
    VECTORS_FILE,
    Manifest,
    sync,
    write_documents,
    write_manifest,
)

Report = Callable[[str], None]

_FILES = frozenset({MANIFEST_FILE, DOCUMENTS_FILE, VECTORS_FILE})
_PARTS = frozenset(f".{name}.part" for name in _FILES)
_ENOUGH = 2
"""Of the three files: an index that lost one is still known as one, a file of the same name alone is not."""


def check_target(out: Path, corpus: Path | None) -> None:
    """Refuse to replace what is no index, and to write into what is read."""
    if out.exists() and not out.is_dir():
        raise CorpusError(f"{out} is a file; --out names the index folder")
    if corpus is not None:
        read, written = Path(os.path.realpath(corpus)), Path(os.path.realpath(out))
        if written in (read, *read.parents):
            raise CorpusError(
                f"the corpus {corpus} lies in the index folder {out}, which is replaced; name another --out"
            )
        if corpus.is_dir() and read in written.parents:
            raise CorpusError(
                f"the index {out} would lie in its own corpus {corpus}; name a folder outside it"
            )
    if out.is_dir() and not _is_replaceable(out):
        raise CorpusError(f"{out} holds other things than an index and would be replaced; name a new folder")


def _is_replaceable(folder: Path) -> bool:
    """Whether a folder is empty or an index, and nothing that anybody else put there goes with it."""
    names = {item.name for item in folder.iterdir()}
    return not names or (names <= _FILES | _PARTS and len(names & _FILES) >= _ENOUGH)


@contextlib.contextmanager
def alone(out: Path, report: Report) -> Iterator[None]:
    """One ingest at a time beside one target: the second waits, and finds its work done."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(out.parent, os.O_RDONLY)
    except OSError as error:
        raise CorpusError(f"the index folder {out} cannot be made ({error.strerror})") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"another ingest into {out.parent} is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: then whoever runs two at once has to know
            report(f"{out.parent} cannot be locked; let no other ingest write there now")
        yield
    finally:
        os.close(handle)


def replace_index(
    out: Path, documents: Sequence[Document], manifest: Manifest, write_vectors: Callable[[Path], None]
) -> None:
    """Write beside `out`, then rename: a reader sees the old index or the new one, never half of one.

    Where `out` is a link, the folder that it leads to is replaced.
    """
    out = Path(os.path.realpath(out))
    _tidy(out)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write_documents(building, documents)
        write_vectors(building / VECTORS_FILE)
        write_manifest(building, manifest)
        building.chmod(0o755)
        for written in (*building.iterdir(), building):
            sync(written)
        check_target(out, None)  # embedding may have taken an hour, and somebody may have put things there
        _swap(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _swap(building: Path, out: Path) -> None:
    """Give the new folder its name; where that fails the old one has it again."""
    old = building.with_name(building.name + "-old")
    if out.exists():
        out.rename(old)
    try:
        building.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise
    sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _tidy(out: Path) -> None:
    """Remove what an ingest left that was killed while it wrote, and nothing that is only named like it."""
    left = re.compile(rf"\.{re.escape(out.name)}-[a-z0-9_]{{8}}(-old)?")  # as mkdtemp names them
    for item in out.parent.iterdir():
        if not left.fullmatch(item.name) or not item.is_dir():
            continue
        with contextlib.suppress(OSError):
            if {file.name for file in item.iterdir()} <= _FILES | _PARTS:
                shutil.rmtree(item, ignore_errors=True)
