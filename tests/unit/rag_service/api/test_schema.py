"""Input: what is wrong is named, with what is allowed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from rag_service.api.schema import BadRequest, parse_as, parse_body, parse_deadline_s


@pytest.mark.parametrize(("wrong", "told"), [(3, 3), (150, 20), (5000, 1)])
def test_thousands_of_mistakes_are_counted_not_listed(wrong, told):
    """Each that is read costs the event loop, and one body holds thousands."""
    body = {"question": "x"} | {f"k{n}": 1 for n in range(wrong)}
    with pytest.raises(BadRequest) as refused:
        parse_body(json.dumps(body).encode())
    mistakes = refused.value.mistakes
    assert (refused.value.status, len(mistakes)) == (422, told)
    assert (mistakes[0].value == "5000 mistakes") is (wrong == 5000)


def test_a_plain_question_is_enough():
    """Everything else has a default."""
    asked = parse_body(b'{"question": "  What is a Path? "}')
    assert (asked.question, asked.top_k, asked.stream, asked.criticality) == (
        "What is a Path?",
        5,
        False,
        "normal",
    )


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"question": ""}, "question", "at least 1"),
        ({"question": "   "}, "question", "at least 1"),
        ({"question": "x" * 4001}, "question", "at most 4000"),
        ({"question": 5}, "question", "string"),
        ({}, "question", "required"),
        ({"question": "x", "top_k": 0}, "top_k", "greater than or equal to 1"),
        ({"question": "x", "top_k": 21}, "top_k", "less than or equal to 20"),
        ({"question": "x", "top_k": "5"}, "top_k", "integer"),
        ({"question": "x", "stream": "yes"}, "stream", "boolean"),
        ({"question": "x", "topk": 5}, "topk", "not permitted"),
        ({"question": "x", "criticality": "vip"}, "criticality", "'critical', 'normal' or 'sheddable'"),
    ],
)
def test_a_mistake_names_its_field_and_what_is_allowed(body, field, said):
    """422 with field, value and message."""
    with pytest.raises(BadRequest) as bad:
        parse_body(json.dumps(body).encode())
    assert bad.value.status == 422
    assert bad.value.mistakes[0].field == field
    assert said in bad.value.mistakes[0].message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_question_or_a_bad_request(body):
    """Nothing that arrives can raise anything else."""
    try:
        parse_body(body)
    except BadRequest as bad:
        assert bad.mistakes
        for mistake in bad.mistakes:
            f"{mistake.field}{mistake.value}{mistake.message}{bad}".encode()  # can be sent


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b'{"question": "x", "question": "y"}', "question", "appears twice"),
        (b'{"question": "x", "a": NaN}', "a", "not permitted"),
        (b'{"question": "x", "top_k": NaN}', "top_k", "integer"),
        (b'{"question": "x", "top_k": 1e999}', "top_k", "integer"),
        (b'{"question": "x", "top_k": 5.5}', "top_k", "integer"),
        (b'{"question": "x", "top_k": ' + b"9" * 5000 + b"}", "body", "Invalid JSON"),
        (b'{"question": "\\ud800"}', "body", "Invalid JSON"),
        (b'{"question": "x", "a\\udfff": 1}', "body", "Invalid JSON"),
        (b'{"question": "\xff"}', "body", "Invalid JSON"),
        ('{"question": "x"}'.encode("utf-16"), "body", "Invalid JSON"),
        (b"", "body", "Invalid JSON"),
        (b"null", "body", "object"),
        (b"[]", "body", "object"),
    ],
)
def test_odd_bytes_are_refused(body, field, said):
    """Duplicate keys, numbers that are none, halves of characters, other encodings."""
    with pytest.raises(BadRequest) as bad:
        parse_body(body)
    assert bad.value.mistakes[0].field == field
    assert said in bad.value.mistakes[0].message


def test_an_integer_may_be_written_as_a_float():
    """JSON Schema, and so the OpenAPI document, does not tell 5.0 from 5."""
    assert parse_body(b'{"question": "x", "top_k": 5.0}').top_k == 5


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b'{"metadata": {"a": "1", "a": "2"}}', "a", "appears twice"),
        (b'{"metadata": {"a": "1"}, "seed": Infinity}', "seed", ""),
    ],
)
def test_what_pydantic_takes_is_looked_at_again(body, field, said):
    """A key twice in a nested object, a number that JSON does not have."""

    class Lenient(BaseModel):
        metadata: dict[str, str]
        seed: float = 0.0

    with pytest.raises(BadRequest) as bad:
        parse_as(Lenient, body, status=400)
    assert bad.value.status == 400
    assert bad.value.mistakes[0].field in (field, "body")
    assert said in bad.value.mistakes[0].message


def test_deep_nesting_is_a_bad_request():
    """A bomb of brackets is refused like any other wrong type."""
    with pytest.raises(BadRequest):
        parse_body(b'{"question":' + b"[" * 30_000)


@pytest.mark.parametrize("header", ["0", "-5", "abc", "1.5", "60001", "9" * 30, "", "１２"])
def test_a_deadline_outside_its_range_is_refused(header):
    """400 that says the range."""
    with pytest.raises(BadRequest, match="whole number of milliseconds from 1 to 60000") as bad:
        parse_deadline_s(header, default_s=10.0, max_s=60.0)
    assert bad.value.status == 400


def test_a_good_deadline_is_taken():
    """Milliseconds in, seconds out; without the header the default."""
    assert parse_deadline_s(" 1500 ", default_s=10.0, max_s=60.0) == 1.5
    assert parse_deadline_s(None, default_s=10.0, max_s=60.0) == 10.0
