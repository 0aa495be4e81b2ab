"""YAML from people: what is read, what is refused, and how precisely."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from slo.documents import DocumentError, parse_document, read_document

PATH = Path("file.yaml")


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rate: int


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    load: Inner


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(DocumentError) as caught:
        parse_document(text, PATH).validate(Outer)
    return caught.value.problems


def test_values_keep_their_types_and_words_stay_words() -> None:
    """Numbers are numbers, and `off` is the word, as YAML 1.2 has it."""
    data = parse_document("a: off\nb: 3\nc: 0.5\nd: true\ne: null\nf: 2024-01-01\n", PATH).data

    assert data == {"a": "off", "b": 3, "c": 0.5, "d": True, "e": None, "f": "2024-01-01"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("- a\n- b\n", "not a list"),
        ("just words", "not a single value"),
        ("a: 1\na: 2\n", "stands twice"),
        ("a: .nan\n", "not a finite number"),
        ("a: !!python/object/apply:os.system ['x']\n", "not allowed"),
        ("a: !custom x\n", "not allowed"),
        ("a: [1", "not valid YAML"),
        ("\tb: 1", "not valid YAML"),
        ("\x00\x01", "not valid YAML"),
        ("a: &x [*x]\n", "alias"),
    ],
)
def test_what_is_not_a_plain_mapping_is_refused(text: str, said: str) -> None:
    """Tags, cycles, doubles, odd numbers and broken syntax each get a sentence with the file's name."""
    with pytest.raises(DocumentError, match=said) as caught:
        parse_document(text, PATH)

    assert all(problem.startswith("file.yaml") for problem in caught.value.problems)


def test_an_alias_bomb_is_stopped_by_the_number_of_values() -> None:
    """A few lines that would grow into millions of values are refused."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{new}: &{new} [{','.join(['*' + old] * 10)}]" for old, new in ("ab", "bc", "cd", "de", "ef")]

    with pytest.raises(DocumentError, match="values"):
        parse_document("\n".join(lines), PATH)


def test_a_wrong_value_is_reported_with_file_line_key_and_value() -> None:
    """The message leads straight to the place."""
    assert problems("name: x\nload:\n  rate: many\n")[0].startswith("file.yaml:3: load.rate: 'many'")


def test_an_unknown_key_is_reported_with_what_is_allowed_and_what_was_meant() -> None:
    """A misspelt key is never ignored."""
    found = problems("name: x\nload:\n  rate: 1\n  rat: 1\n")

    assert found == ("file.yaml:4: load.rat: unknown key (did you mean rate?); allowed are rate",)


def test_all_problems_are_reported_at_once() -> None:
    """Nobody has to run it again to see the next mistake."""
    assert len(problems("nam: x\nload: {rate: a}\n")) == 3


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """No traceback for a wrong path."""
    with pytest.raises(DocumentError, match="cannot be read"):
        read_document(tmp_path / "none.yaml")


@given(st.text(max_size=200))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    """No text makes the reader fail in another way."""
    try:
        parse_document(text, PATH)
    except DocumentError as error:
        assert error.problems
