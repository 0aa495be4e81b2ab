"""The prompt that the service writes is read back."""

from hypothesis import given
from hypothesis import strategies as st

from rag_service.model_server.prompt import Passage, Prompt, parse_prompt

_LINE = st.text(st.characters(whitelist_categories=["L", "N"], whitelist_characters=" .,()"), min_size=1).map(
    str.strip
)
_FILLED = _LINE.filter(bool)


@given(_FILLED, st.lists(st.tuples(_FILLED, _FILLED), max_size=5))
def test_what_was_written_is_read(question: str, passages: list[tuple[str, str]]) -> None:
    """Question, numbers, titles and texts survive the round trip."""
    context = "".join(f"[{n}] {title}\n{text}\n\n" for n, (title, text) in enumerate(passages, start=1))
    expected = tuple(Passage(n, title, text) for n, (title, text) in enumerate(passages, start=1))
    assert parse_prompt(f"Context:\n{context}Question: {question}") == Prompt(question, expected)


@given(st.text())
def test_any_text_is_a_prompt(content: str) -> None:
    """Nothing that a client sends makes the parser fail."""
    parse_prompt(content)
    parse_prompt(f"Context:\n{content}")


def test_lines_of_a_document_that_look_like_the_frame_are_text() -> None:
    """Only the next number opens a passage, and only the last question is the question."""
    found = parse_prompt("Context:\n[1] a\n[3] x\nQuestion: no\n\n[2] b\ny\n\nQuestion: yes")
    assert found.question == "yes"
    assert found.passages == (Passage(1, "a", "[3] x\nQuestion: no"), Passage(2, "b", "y"))
