"""Prompts of a wanted number of tokens for a server whose tokenizer nobody knows.

Two answers tell what a text of so many words costs there; a straight line through them gives the rest. Each
prompt begins with a number of its own, so that the prefix cache has nothing to give but the chat template.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_COMMON_WORDS = """
the a of to and in is that for on with as by at from this be or an are it which when not can will each time
line file name list value server read write open close path type text call return set key part first last new
old long short small large begin end wait send take give keep move copy find show
"""
_WORDS = _COMMON_WORDS.split()


@dataclass(frozen=True, slots=True)
class Tokens:
    """How many tokens a server makes of a text: `fixed` for the template, `per_word` for each word."""

    fixed: float
    per_word: float

    def words(self, tokens: int) -> int:
        """How many words come nearest to so many tokens."""
        return max(1, round((tokens - self.fixed) / self.per_word))


def line(few: tuple[int, int], many: tuple[int, int]) -> Tokens:
    """From two texts, each as (words, tokens). Raises ValueError when more words are not more tokens."""
    per_word = (many[1] - few[1]) / (many[0] - few[0])
    if per_word <= 0:
        raise ValueError(f"{few[0]} words are {few[1]} tokens, and {many[0]} words {many[1]}")
    return Tokens(few[1] - per_word * few[0], per_word)


def text(number: int, words: int, random: Random) -> str:
    """A text of so many words that begins like no other."""
    return " ".join([str(number), *random.choices(_WORDS, k=words - 1)])
