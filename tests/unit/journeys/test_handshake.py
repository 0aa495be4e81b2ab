"""The handshake with the runner."""

import json
from pathlib import Path

import pytest

from journeys.handshake import HandshakeError, await_start, say_ready


class Waiting:
    """A clock on which something happens at the third sleep."""

    def __init__(self, then: object = None) -> None:
        self.at_s = 0.0
        self.slept = 0
        self.then = then

    def now_s(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.at_s += seconds
        self.slept += 1
        if self.slept == 3 and callable(self.then):
            self.then()


def test_ready_tells_what_will_be_sent(tmp_path: Path) -> None:
    """The ready file appears whole, with counts and pid, and leaves no draft behind."""
    path = tmp_path / "run" / "journeys.ready"
    say_ready(path, {"baseline": 61}, pid=7)
    assert json.loads(path.read_text()) == {"arrivals": {"baseline": 61}, "pid": 7}
    assert list(path.parent.iterdir()) == [path]


def test_the_start_is_waited_for(tmp_path: Path) -> None:
    """t0 is what the runner writes, whenever it does."""
    path = tmp_path / "journeys.start"
    waiting = Waiting(then=lambda: path.write_text('{"t0_s": 1700000000.5}'))
    assert await_start(path, waiting, waiting.sleep) == 1700000000.5
    assert waiting.slept == 3


def test_a_runner_that_never_starts_is_given_up(tmp_path: Path) -> None:
    """The wait is bounded, and the error says what was missing."""
    waiting = Waiting()
    with pytest.raises(HandshakeError, match=r"journeys\.start did not appear within 5 s"):
        await_start(tmp_path / "journeys.start", waiting, waiting.sleep, within_s=5.0)
    assert waiting.at_s >= 5.0


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"t0_s": "soon"}', '{"t0_s": null}'])
def test_a_wrong_start_says_what_it_must_hold(tmp_path: Path, text: str) -> None:
    """A start file of another shape is quoted and corrected."""
    path = tmp_path / "journeys.start"
    path.write_text(text)
    waiting = Waiting()
    with pytest.raises(HandshakeError, match="must hold"):
        await_start(path, waiting, waiting.sleep)
