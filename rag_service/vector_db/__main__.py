"""`python -m rag_service.vector_db`: open the index, or say why not, then serve it until told to stop."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rag_service.corpus.document import CorpusError
from rag_service.serving import serve

SEARCH_THREADS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 stopped, 2 the index cannot be used, 4 the port is taken."""
    parser = argparse.ArgumentParser(
        prog="python -m rag_service.vector_db", description="Serve an index over HTTP."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=6333, help="port to listen on (default: 6333)")
    parser.add_argument("--index", type=Path, default=Path(".ragquake/index"), help="the index folder")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from rag_service.vector_db.app import make_app
    from rag_service.vector_db.collection import open_collection

    try:
        collection = open_collection(options.index)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    executor = ThreadPoolExecutor(SEARCH_THREADS, thread_name_prefix="search")
    return serve(make_app(collection, executor), options.host, options.port, name="vector DB")


if __name__ == "__main__":
    raise SystemExit(main())
