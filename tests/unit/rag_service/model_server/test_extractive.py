"""Answers are made of the context's own words."""

import re

from hypothesis import given
from hypothesis import strategies as st

from rag_service.model_server.extractive import NO_ANSWER, answer
from rag_service.model_server.prompt import Passage, Prompt

_WORDS = st.lists(
    st.sampled_from(["json", "string", "file", "path", "the", "opens", "Returns", "end."]), min_size=1
)
_TEXT = _WORDS.map(" ".join)
_PROMPTS = st.builds(
    lambda question, texts: Prompt(
        question, tuple(Passage(number, text[:10], text) for number, text in enumerate(texts, start=1))
    ),
    _TEXT,
    st.lists(_TEXT, max_size=4),
)


@given(_PROMPTS)
def test_every_word_of_an_answer_stands_in_the_context(prompt: Prompt) -> None:
    """Groundedness can be judged because nothing is invented; markers point at passages that exist."""
    said = answer(prompt)
    markers = {int(number) for number in re.findall(r"\[(\d+)\]", said)}
    assert markers <= {passage.number for passage in prompt.passages}
    if said != NO_ANSWER:
        words = set(re.sub(r" \[\d+\]", "", said).split())
        assert words <= {word for passage in prompt.passages for word in passage.text.split()}
        assert markers


@given(_PROMPTS)
def test_an_answer_has_an_end(prompt: Prompt) -> None:
    """Sixty words and their markers at most, and the same prompt has the same answer."""
    said = answer(prompt)
    assert len(re.sub(r" \[\d+\]", "", said).split()) <= 60
    assert said == answer(prompt)


def test_the_sentence_that_shares_the_rare_words_wins() -> None:
    """The right passage is quoted and marked, the other is not."""
    prompt = Prompt(
        "How do I compute the median of a list?",
        (
            Passage(1, "shutil.copytree", "Copy a directory tree and return the destination. " * 3),
            Passage(
                2, "statistics.median", "Return the median, the middle value, of numeric data in a list. " * 3
            ),
        ),
    )
    said = answer(prompt)
    assert said.startswith("Return the median")
    assert "[2]" in said
    assert "[1]" not in said


def test_a_context_without_an_answer_is_admitted() -> None:
    """Nothing in common, or no context at all, is said rather than padded."""
    assert answer(Prompt("What is love?", (Passage(1, "t", "Cut bytes into blocks of size."),))) == NO_ANSWER
    assert answer(Prompt("What is love?", ())) == NO_ANSWER
