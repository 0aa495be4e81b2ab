"""Go's words for what is no JSON: they come exactly where Python refuses, too."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaos.proxy.bodies import BadBodyError, decode
from chaos.proxy.go_json import complaint

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values)
def test_json_is_no_reason_to_complain(value: object) -> None:
    """Whatever JSON is, it passes; cut short inside, it is `unexpected EOF`."""
    text = json.dumps(value).encode()
    assert complaint(text) is None
    if text[:1] in b'{["' and len(text) > 1:
        assert complaint(text[:-1]) == "unexpected EOF"


@settings(max_examples=400)
@given(st.text(alphabet='{}[]:,"\\\\ntrue012.eE+-u \n\x01', max_size=12))
@example('{"a":1,}')
@example('"\\ud800"')
def test_both_refuse_the_same(text: str) -> None:
    """A list that Python's decoder refuses is complained about, and one that it takes is not.

    In a list, because Python reads a bare `0E` as 0 with something behind it, which Go does not.
    """
    body = f"[{text}]".encode()
    try:
        decode(body)
        refused = False
    except BadBodyError:
        refused = True
    assert (complaint(body) is not None) == refused


@given(st.binary(max_size=40))
def test_a_complaint_is_one_of_go(body: bytes) -> None:
    """Any bytes lead to one of Go's three kinds of words, or to none."""
    said = complaint(body)
    assert said is None or re.fullmatch(r"EOF|unexpected EOF|invalid character '.+' \S.+", said, re.DOTALL)


@pytest.mark.parametrize("body", [b'"' + b"a" * 1_000_000 + b'\x01"', b"[" + b"1," * 400_000 + b"x]"])
def test_a_long_body_is_refused_without_a_scan(body: bytes) -> None:
    """Above 64 KiB the place has to do: nobody's bytes wait while an error is worded."""
    with pytest.raises(BadBodyError, match="looking for beginning of value"):
        decode(body)
