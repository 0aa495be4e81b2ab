"""The documents of one index, as the service holds them."""

from __future__ import annotations

from rag_service.segments.documents import Document, Documents


def test_documents_keep_their_order_and_are_found_by_id():
    """The vector DB names ids only; BM25 names positions."""
    documents = Documents((Document("b", "B", "text b"), Document("a", "A", "text a")), "s1")
    assert [document.id for document in documents.all] == ["b", "a"]
    assert (documents.stamp, documents["a"].text, len(documents)) == ("s1", "text a", 2)
    assert "c" not in documents
