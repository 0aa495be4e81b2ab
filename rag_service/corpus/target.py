"""The folder that an ingest makes or replaces: who may, what may be replaced, and how it happens at once."""

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
    write_documents,
    write_manifest,
)

Report = Callable[[str], None]


def check_target(out: Path, corpus: Path | None) -> None:
    """Refuse to replace what is no index, and to write into what is read."""
    if out.exists() and not out.is_dir():
        raise CorpusError(f"{out} is a file; --out names the index folder")
    is_index = any((out / name).exists() for name in (MANIFEST_FILE, DOCUMENTS_FILE, VECTORS_FILE))
    if out.is_dir() and not is_index and any(out.iterdir()):
        raise CorpusError(f"{out} holds other things than an index and would be replaced; name a new folder")
    if corpus is not None and corpus.is_dir() and corpus.resolve() in out.resolve().parents:
        raise CorpusError(f"the index {out} would lie in its own corpus {corpus}; name a folder outside it")


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
    """Write beside `out`, then rename: a reader sees the old index or the new one, never half of one."""
    _tidy(out)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write_documents(building, documents)
        write_vectors(building / VECTORS_FILE)
        write_manifest(building, manifest)
        building.chmod(0o755)
        if out.exists():
            old = building.with_name(building.name + "-old")
            out.rename(old)
            building.rename(out)
            shutil.rmtree(old)
        else:
            building.rename(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _tidy(out: Path) -> None:
    """Remove what an ingest left that was killed while it wrote."""
    left = re.compile(rf"\.{re.escape(out.name)}-[a-z0-9_]{{8}}(-old)?")  # as mkdtemp names them
    for item in out.parent.iterdir():
        if left.fullmatch(item.name):
            shutil.rmtree(item, ignore_errors=True)
