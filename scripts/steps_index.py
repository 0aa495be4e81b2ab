"""Builds the search index that the vector DB serves; where it fits already, that takes under a second.

Importing torch compiles some three thousand modules. With the bytecode kept, every later start of the
service is about nine seconds shorter (17.5 s without, 8.3 s with, on two cores), so this first import
keeps it even where the environment says PYTHONDONTWRITEBYTECODE.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from console import say

#: How the manifest names the corpus that set-up indexes, whatever Python's version.
OWN = "standard library"


def foreign_corpus(index: Path) -> str | None:
    """The corpus of an index that somebody made of their own documents; None where there is none."""
    try:
        corpus = json.loads((index / "manifest.json").read_text(encoding="utf-8"))["corpus"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return corpus if isinstance(corpus, str) and not corpus.endswith(OWN) else None


def provide(root: Path) -> None:
    if corpus := foreign_corpus(root / ".ragquake" / "index"):
        say("index", f"left alone: it holds {corpus} (remove .ragquake/index to have the standard library's)")
        return
    say("index", "looking after the search index (the first time: about a minute on two cores)")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [root / ".venv" / "bin" / "python", "-m", "rag_service.ingest", "--out", ".ragquake/index"],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=True,
    )
