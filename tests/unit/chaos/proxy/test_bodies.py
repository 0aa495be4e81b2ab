from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.bodies import BadBodyError, Field, Fraction, decode, read_attributes, read_object

FIELDS = (Field("name", str, ""), Field("enabled", bool, True), Field("toxicity", float, 1.0))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_what_json_writes_is_read(value: object) -> None:
    """Any JSON value reads as itself, with whatever comes behind it ignored."""
    assert decode((json.dumps(value) + " trailing").encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No body, however broken, does anything but decode or be refused."""
    try:
        read_object(decode(body), "toxiproxy.Proxy", FIELDS)
    except BadBodyError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "EOF"),
        (b" ", "EOF"),
        (b"{", "unexpected EOF"),
        (b'{"a":1', "unexpected EOF"),
        (b'{"a', "unexpected EOF"),
        (b"NaN", "invalid character"),
    ],
)
def test_torn_bodies_are_told_from_wrong_ones(body: bytes, message: str) -> None:
    """Nothing, half of something, and something else are three complaints."""
    with pytest.raises(BadBodyError, match=f"^{message}"):
        decode(body)


def test_a_body_nested_without_end_is_refused() -> None:
    """Depth is no way to break the proxy."""
    with pytest.raises(BadBodyError):
        decode(b"[" * 100_000)


def test_numbers_keep_their_spelling() -> None:
    """`100.0` is no integer, so its spelling has to survive decoding."""
    assert decode(b"100.0") == Fraction("100.0")
    with pytest.raises(
        BadBodyError, match=r"number 1e3 into Go struct field X\.attributes\.rate of type int64"
    ):
        read_attributes(decode(b'{"rate":1e3}'), "X", {})


def test_null_and_absent_members_take_the_default() -> None:
    """`null` means: leave it."""
    assert read_object({"NAME": None, "toxicity": 1}, "toxiproxy.Proxy", FIELDS) == {
        "name": "",
        "enabled": True,
        "toxicity": 1.0,
    }


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_integers_beyond_64_bits_are_refused(number: int) -> None:
    """An integer has to fit where Go would put it."""
    with pytest.raises(BadBodyError, match="int64"):
        read_attributes({"rate": number}, "BandwidthToxic", {})
    assert read_attributes({"rate": 2**63 - 1}, "BandwidthToxic", {"rate": 0}) == {"rate": 2**63 - 1}
