"""The split into tokens loses nothing and counts about as real tokenizers do."""

from hypothesis import given
from hypothesis import strategies as st

from rag_service.model_server.tokens import split

PROSE = (
    "Return a new Path object with the file name changed. If the original path has no name, ValueError is "
    "raised. Use os.path.join(root, name) for a full path, and see also shutil.copytree()."
)


@given(st.text())
def test_the_tokens_of_a_text_put_together_are_the_text(text: str) -> None:
    """Whatever the alphabet; and no token is empty."""
    tokens = split(text)
    assert "".join(tokens) == text
    assert all(tokens)


def test_english_has_about_four_characters_to_a_token() -> None:
    """Byte-pair vocabularies of 32,000 to 128,000 pieces have 3.5 to 4.8 on documentation."""
    assert 3.5 <= len(PROSE) / len(split(PROSE)) <= 4.8


def test_a_word_takes_the_space_before_it_along_and_case_cuts_it() -> None:
    """Digits come in threes, marks stay together."""
    assert split("a JSONDecoder, 2024 ->x") == [
        *["a", " JSON", "Decoder", ",", " 202", "4", " ->", "x"],
    ]
