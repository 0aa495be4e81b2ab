"""Prompts have about the wanted number of tokens, and no two begin alike."""

from random import Random

import pytest

from rag_service.model_server.calibration.live.prompts import Tokens, line, text


def test_a_line_through_two_texts_says_how_many_words_are_so_many_tokens() -> None:
    """A template's tokens are not paid for in words."""
    tokens = line((20, 36), (220, 276))
    assert tokens == Tokens(fixed=12.0, per_word=1.2)
    assert tokens.words(132) == 100
    assert tokens.words(5) == 1, "less than the template cannot be asked"


def test_a_server_whose_tokens_do_not_grow_is_refused() -> None:
    """Its usage counts something else."""
    with pytest.raises(ValueError, match="20 words are 9 tokens"):
        line((20, 9), (220, 9))


def test_texts_have_their_words_and_a_beginning_of_their_own() -> None:
    """Else the prefix cache would answer for the model."""
    random = Random(1)
    texts = [text(number, 5, random) for number in range(50)]
    assert {len(one.split()) for one in texts} == {5}
    assert len({one.split()[0] for one in texts}) == 50
    assert text(7, 1, random) == "7"
