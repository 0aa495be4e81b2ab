"""The documents that questions are answered from, and the folder that holds them with their vectors.

`CorpusSource` reads a corpus; `load_documents` reads the index folder that `python -m rag_service.ingest`
made of it. Nothing here imports torch or faiss.
"""

from rag_service.corpus.document import CorpusError, Document, stamp_of
from rag_service.corpus.index import LoadedCorpus, Manifest, load_documents, load_manifest
from rag_service.corpus.source import CorpusSource

__all__ = [
    "CorpusError",
    "CorpusSource",
    "Document",
    "LoadedCorpus",
    "Manifest",
    "load_documents",
    "load_manifest",
    "stamp_of",
]
