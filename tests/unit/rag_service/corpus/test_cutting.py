"""Long texts are cut where the author paused."""

from hypothesis import given
from hypothesis import strategies as st

from rag_service.corpus.cutting import cut

_TEXTS = st.text(alphabet=st.sampled_from("ab .\n"), max_size=400)


@given(_TEXTS, st.integers(5, 60))
def test_no_part_is_too_long_and_none_is_empty(text: str, limit: int) -> None:
    """Every part fits, and has something in it."""
    assert all(0 < len(part) <= limit for part in cut(text, limit))


@given(_TEXTS, st.integers(5, 60))
def test_no_letter_is_lost_or_moved(text: str, limit: int) -> None:
    """Put together, the parts say what the text said, white space aside."""
    assert "".join("".join(cut(text, limit)).split()) == "".join(text.split())


def test_a_paragraph_stays_whole_where_it_fits() -> None:
    """The empty line is the first place to cut."""
    assert cut("one two\n\nthree four\n\nfive", 18) == ("one two", "three four\n\nfive")
