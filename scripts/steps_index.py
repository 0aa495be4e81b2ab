"""Builds the search index that the vector DB serves, once per corpus.

The corpus is the documentation of the running Python, so the index is made anew when Python, the packages
or the code that makes it change. The first import of torch compiles some nine thousand modules; with the
bytecode kept, every later start of the service saves about nine seconds, so it is kept here even where the
environment says PYTHONDONTWRITEBYTECODE.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from console import key_of, read_stamp, say, write_stamp


def provide(root: Path) -> None:
    index, stamp = root / ".ragquake" / "index", root / ".ragquake" / "index.made-from"
    python = root / ".venv" / "bin" / "python"
    key = key_of(sys.version, root / "requirements" / "run.lock", *sources(root))
    if (index / "manifest.json").is_file() and read_stamp(stamp).get("key") == key:
        say("index", f"ready in {index}")
        return
    say("index", "embedding the Python documentation (about 40 s on two cores)")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [python, "-m", "rag_service.ingest", "--out", index],
        env=environment,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    write_stamp(stamp, {"key": key})


def sources(root: Path) -> list[Path]:
    """The files that decide what an index holds."""
    patterns = ("ingest*.py", "ingest/**/*.py", "corpus/**/*.py")
    return sorted(path for pattern in patterns for path in (root / "rag_service").glob(pattern))
