"""Pushback: what a peer says about how much it can take, and what is only a failure."""

from __future__ import annotations

import email.utils
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.errors import BadStatus, Pushback
from rag_service.resilience.pushback import MAX_RETRY_AFTER_S, parse_retry_after, status_error

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("0", 0.0),
        ("3", 3.0),
        (" 1.5 ", 1.5),
        ("999999999", MAX_RETRY_AFTER_S),
        (email.utils.formatdate(NOW + 20, usegmt=True), 20.0),
        (email.utils.formatdate(NOW - 20, usegmt=True), 0.0),
        (email.utils.formatdate(NOW + 1e6, usegmt=True), MAX_RETRY_AFTER_S),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_0", None),
        ("٣", None),
        ("Wed, 99 Oct 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_bounds(header, wait_s):
    """Both forms of RFC 9110 are read; nonsense is as good as no header, and no wait is longer than 300 s."""
    assert parse_retry_after(header, lambda: NOW) == wait_s


@given(
    st.text(max_size=60) | st.floats().map(str) | st.datetimes().map(lambda at: f"{at:%a, %d %b %Y %T} GMT")
)
def test_no_header_breaks_the_reader(header):
    """Whatever is sent, the result is absent or a number within bounds."""
    wait_s = parse_retry_after(header, lambda: NOW)
    assert wait_s is None or (math.isfinite(wait_s) and 0.0 <= wait_s <= MAX_RETRY_AFTER_S)


QUEUE_FULL = '{"error": {"message": "Request queue full.", "type": "ServiceUnavailableError", "code": 503}}'
BUSY = (
    '{"error": {"message": "The engine is currently busy and cannot accept new requests. Please try again '
    'later or on a different instance.", "type": "Service Unavailable", "param": null, "code": 503}}'
)
OVERFLOW = '{"error": {"message": "no", "type": "QueueOverflowError", "code": 503}}'
OVERLOADED = '{"error": {"message": "try later", "code": "server_overloaded"}}'


@pytest.mark.parametrize(
    ("status", "retry_after", "body"),
    [
        (429, None, ""),
        (429, "7", "slow down"),
        (503, "7", ""),
        (503, None, QUEUE_FULL),
        (503, None, BUSY),
        (503, None, OVERFLOW),
        (503, None, OVERLOADED),
    ],
)
def test_what_is_pushback(status, retry_after, body):
    """429 always; 503 with a time, or with an error object that speaks of a queue or of overload."""
    error = status_error("llm", status, retry_after=retry_after, body=body)
    assert isinstance(error, Pushback)
    assert not error.blames_dependency
    assert error.retry_after_s == (7.0 if retry_after else None)


@pytest.mark.parametrize(
    ("status", "retry_after", "body"),
    [
        (503, None, ""),
        (503, "soon", "<h1>503</h1> your request is in the queue"),
        (503, None, '{"error": "queue"}'),
        (503, None, '{"error": {"message": "starting", "type": "ServiceUnavailableError"}}'),
        (503, None, "[" * 100_000),
        (500, "7", QUEUE_FULL),
        (502, "7", ""),
    ],
)
def test_what_is_a_failure(status, retry_after, body):
    """A proxy's page, a server that starts, any other 5xx: the dependency's failure, whatever the words."""
    error = status_error("llm", status, retry_after=retry_after, body=body)
    assert type(error) is BadStatus
    assert error.blames_dependency


def test_the_reason_says_which():
    """429 keeps its name on spans; a 503 that is pushback is not to be read as a failure."""
    assert status_error("llm", 429, retry_after=None, body="").reason == "http_429"
    assert status_error("llm", 503, retry_after="1", body="").reason == "pushback"
    assert status_error("llm", 503, retry_after=None, body="").reason == "http_5xx"
