"""The collection as many callers at a time use it: who runs in which thread, and what waits for what.

Searches run in a few threads, each search in the version that it finds. Everything that changes the log runs
in one thread, so it needs no lock; what takes long and can go on beside it (snapshots on the disk, a new
corpus, an index for many writes) runs in a third. The event loop only parses and waits.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from rag_service.corpus.index import load_manifest
from rag_service.vector_db.batches import Batches
from rag_service.vector_db.collection import Collection, Found, Kept, Query, Written
from rag_service.vector_db.errors import Refused
from rag_service.vector_db.limits import MAX_SEARCHES_WAITING, MAX_VECTORS, MAX_WRITES_WAITING
from rag_service.vector_db.operations import Delete, Operation
from rag_service.vector_db.overlay import Stored

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The corpus that is served after a reload."""

    stamp: str
    version: int


class Database:
    """One collection, its threads, and how to open its successor."""

    def __init__(
        self,
        collection: Collection,
        *,
        index_dir: Path,
        reopen: Callable[[], Collection],
        search_threads: int = 2,
    ) -> None:
        self.collection = collection
        self._index_dir = index_dir
        self._reopen = reopen
        self._readers = ThreadPoolExecutor(search_threads, thread_name_prefix="search")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="keep")
        self._searches = Batches(
            self._search_together,
            self._readers,
            workers=search_threads,
            max_batch=MAX_VECTORS,
            max_waiting=MAX_SEARCHES_WAITING,
            weight=lambda query: len(query.vectors),
        )
        self._writes = Batches(
            self._commit,
            self._writer,
            workers=1,
            max_batch=MAX_WRITES_WAITING,
            max_waiting=MAX_WRITES_WAITING,
        )
        self._keeping = asyncio.Lock()
        self._tidying: asyncio.Task[None] | None = None

    async def search(self, query: Query) -> Found:
        """What is near. Raises TooManyWaiting."""
        return await self._searches.run(query)

    async def write(self, operation: Operation) -> Written:
        """Make a write; it is on the disk when this returns. Raises Refused or TooManyWaiting."""
        written = await self._writes.run(operation)
        if self._tidying is None and (self.collection.log_is_long or self.collection.wants_seal):
            self._tidying = asyncio.create_task(self._tidy())
        return written

    async def point(self, point_id: str) -> Stored | None:
        """One point, if it is there."""
        return await _within(self._readers, lambda: self.collection.point(point_id))

    async def snapshot(self) -> Kept:
        """Put the writes so far into one file and drop their log. Raises Refused."""
        async with self._keeping:
            collection = self.collection
            begun = await _within(self._writer, collection.begin_snapshot)
            return await _within(self._keeper, collection.finish_snapshot, begun)

    async def reload(self) -> Reloaded:
        """Serve the index folder as it is on the disk now. Raises CorpusError, and then nothing changed."""
        async with self._keeping:
            found = await _within(self._keeper, load_manifest, self._index_dir)
            if found.stamp != self.collection.manifest.stamp:
                successor = await _within(self._keeper, self._reopen)
                await _within(self._writer, self._replace, successor)
            return Reloaded(self.collection.manifest.stamp, self.collection.version)

    def close(self) -> None:
        """End the threads, then give up the right to write."""
        for executor in (self._readers, self._writer, self._keeper):
            executor.shutdown(wait=True, cancel_futures=True)
        self.collection.close()

    def _replace(self, successor: Collection) -> None:
        if successor.manifest.stamp == self.collection.manifest.stamp:
            successor.close()  # the folder was changed back meanwhile; the right to write stayed here
            return
        former, self.collection = self.collection, successor
        former.close()

    def _search_together(self, queries: Sequence[Query]) -> Sequence[Found | Refused]:
        collection = self.collection
        return _where_it_fits(collection.manifest.dimension, queries, collection.search_together)

    def _commit(self, operations: Sequence[Operation]) -> Sequence[Written | Refused]:
        collection = self.collection
        return _where_it_fits(collection.manifest.dimension, operations, collection.commit)

    async def _tidy(self) -> None:
        """Cut a long log and index many writes, beside the service of requests."""
        try:
            if self.collection.log_is_long:
                await self.snapshot()
            await _within(self._keeper, self.collection.seal_if_large)
        except Exception as error:
            print(f"warning: the upkeep of the writes failed ({error})", file=sys.stderr, flush=True)
            await asyncio.sleep(_TIDY_AGAIN_S)
        finally:
            self._tidying = None


_TIDY_AGAIN_S = 10.0

Asked = TypeVar("Asked", Query, Operation)


def _where_it_fits(
    dimension: int, asked: Sequence[Asked], run: Callable[[Sequence[Asked]], Sequence[R | Refused]]
) -> list[R | Refused]:
    """Run what was checked against this corpus; a reload may have come between the check and now."""
    fits = [isinstance(item, Delete) or item.vectors.shape[1] == dimension for item in asked]
    results = iter(run([item for item, fit in zip(asked, fits, strict=True) if fit]) if any(fits) else ())
    changed = Refused(
        409, "corpus_changed", f"the corpus was replaced by one of {dimension} numbers a vector; ask again"
    )
    return [next(results) if fit else changed for fit in fits]


async def _within(executor: Executor, call: Callable[P, R], *args: P.args, **_: P.kwargs) -> R:
    return await asyncio.get_running_loop().run_in_executor(executor, call, *args)
