"""An answer is timed by its first text, its last text and the server's own count."""

import json

import pytest

from rag_service.model_server.calibration.live.answers import read
from rag_service.model_server.calibration.live.errors import CalibrationError

DONE = b"data: [DONE]\n\n"


def event(text: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}}]
    return f"data: {json.dumps({'choices': choices, 'usage': usage})}\n\n".encode()


USAGE = event(usage={"prompt_tokens": 30, "completion_tokens": 5})


def test_the_time_per_token_is_between_first_and_last_over_the_tokens_counted() -> None:
    """Whoever speaks is no token, and several tokens in one event count as what the usage says."""
    received = [
        (10.1, event("")),
        (10.5, event("one")),
        (10.7, event(" two three")),
        (10.9, event(" four five") + USAGE + DONE),
    ]
    answer = read(10.0, received)
    assert answer.first_token_s == pytest.approx(0.5)
    assert answer.token_s == pytest.approx(0.1)
    assert (answer.prompt_tokens, answer.output_tokens, answer.pieces) == (30, 5, 3)


def test_an_event_may_come_in_two_pieces() -> None:
    """Its time is that of its end; bytes split anywhere mean the same."""
    whole = event("one") + event(" two") + USAGE + DONE
    for cut in range(1, len(whole)):
        answer = read(0.0, [(1.0, whole[:cut]), (2.0, whole[cut:])])
        assert answer.first_token_s in (1.0, 2.0) and answer.output_tokens == 5


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (event("one") + USAGE, r"without \[DONE\]"),
        (event("") + USAGE + DONE, "without any text"),
        (event("one") + DONE, "no usage"),
        (b'data: {"error": {"message": "out of memory"}}\n\n', "out of memory"),
        (b"data: {\n\n" + DONE, "not what OpenAI's API says"),
        (b"data: 7\n\n" + DONE, "not what OpenAI's API says"),
    ],
)
def test_what_cannot_be_timed_is_refused(stream: bytes, said: str) -> None:
    """No half of an answer ends up in a percentile."""
    with pytest.raises(CalibrationError, match=said):
        read(0.0, [(1.0, stream)])
