"""`python -m rag_service.vector_db`: open the index and its writes, or say why not, then serve."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rag_service.corpus.document import CorpusError
from rag_service.serving import serve

DEFAULT_SEARCH_THREADS = 2
_MOST_THREADS = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 stopped, 2 what it was given cannot be used, 4 the port is taken."""
    options = _parser().parse_args(arguments)
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(threads, "1")  # a search of thousands of vectors takes less than a wake-up
    from rag_service.vector_db.app import make_app
    from rag_service.vector_db.collection import Collection, open_collection
    from rag_service.vector_db.database import Database
    from rag_service.vector_db.kinds import Tuning

    state_dir = options.state or _state_beside(options.index)
    tuning = Tuning(options.index_kind, options.nlist, options.nprobe, options.m, options.ef_search)

    def open_it() -> Collection:
        return open_collection(options.index, state_dir=state_dir, tuning=tuning, report=_say)

    try:
        collection = open_it()
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    database = Database(
        collection, index_dir=options.index, reopen=open_it, search_threads=options.search_threads
    )
    try:
        return serve(make_app(database), options.host, options.port, name="vector DB")
    finally:
        database.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rag_service.vector_db", description="Serve an index over HTTP."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=6333, help="port to listen on (default: 6333)")
    parser.add_argument("--index", type=Path, default=Path(".ragquake/index"), help="the index folder")
    parser.add_argument(
        "--state", type=Path, help="folder for writes (default: the index folder's name + .state)"
    )
    parser.add_argument(
        "--index-kind",
        choices=("auto", "flat", "ivf", "hnsw"),
        default="auto",
        help="auto: flat up to 50,000 vectors, ivf beyond",
    )
    parser.add_argument("--nlist", type=_between(1, 65_536), help="IVF: cells")
    parser.add_argument("--nprobe", type=_between(1, 65_536), help="IVF: cells that a search reads")
    parser.add_argument("--m", type=_between(2, 128), help="HNSW: links of a node")
    parser.add_argument("--ef-search", type=_between(1, 4096), help="HNSW: candidates that a search keeps")
    parser.add_argument(
        "--search-threads",
        type=_between(1, _MOST_THREADS),
        default=DEFAULT_SEARCH_THREADS,
        help=f"searches at a time (default: {DEFAULT_SEARCH_THREADS})",
    )
    return parser


def _state_beside(index: Path) -> Path:
    """The folder for writes by the index folder's own name.

    Where that is a link, not by what it leads to: that may be another one after a reload.
    """
    folder = Path(os.path.abspath(index))  # noqa: PTH100 - resolve() follows links
    return folder.parent / f"{folder.name}.state"


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if text.isdigit() and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")

    return number


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
