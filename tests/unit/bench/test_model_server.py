"""What bench-model-server makes of its figures: the exit code says whether the simulator bears enough."""

from __future__ import annotations

from typing import Any

import pytest

from bench import model_server
from bench.model_server import AIM_PER_CORE, Figure, NothingMeasured, Subject
from bench.peers import PEERS
from bench.token_streams import ANSWER_TOKENS


def figured(subject: Subject, per_core: float, failed: int = 0) -> Figure:
    return Figure(subject.name, subject.is_peer, 1, ANSWER_TOKENS, per_core, per_core, 1.0, 0.5, 1.0, failed)


@pytest.mark.parametrize(
    ("own", "peers", "failed", "code"),
    [
        (AIM_PER_CORE, AIM_PER_CORE / 2, 0, 0),
        (AIM_PER_CORE - 1, AIM_PER_CORE / 2, 0, 1),
        (AIM_PER_CORE, AIM_PER_CORE * 2, 0, 0),
        (AIM_PER_CORE, AIM_PER_CORE / 2, 1, 1),
    ],
    ids=["reached", "missed", "a faster peer", "refusals"],
)
def test_the_exit_code_says_whether_the_aim_is_reached(
    own: float, peers: float, failed: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator is held to the aim and to answering every request; a peer is held to nothing."""

    def measure(subject: Subject, **_: Any) -> Figure:
        return figured(subject, peers) if subject.is_peer else figured(subject, own, failed)

    monkeypatch.setattr(model_server, "measure", measure)
    assert model_server.main(["--quick"]) == code


def test_a_peer_that_cannot_be_measured_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures of all others are printed, and its absence is no failure."""

    def measure(subject: Subject, **_: Any) -> Figure:
        if subject.name == PEERS[0].title:
            raise NothingMeasured("it [said] nothing")
        return figured(subject, AIM_PER_CORE)

    monkeypatch.setattr(model_server, "measure", measure)
    assert model_server.main(["--quick"]) == 0
    printed = capsys.readouterr().out
    assert "left out: it [said] nothing" in printed
    assert PEERS[1].title in printed


def test_without_the_simulator_there_is_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 4 and why, not a table of peers."""

    def measure(subject: Subject, **_: Any) -> Figure:
        raise NothingMeasured(f"{subject.name}: it fell silent")

    monkeypatch.setattr(model_server, "measure", measure)
    assert model_server.main(["--quick"]) == 4
    assert "it fell silent" in capsys.readouterr().err


def test_scripted_answers_are_as_long_as_everybodys() -> None:
    """A peer that says less pays a request's cost on fewer tokens, and looks slower than it is."""
    (script,) = (peer.script for peer in PEERS if peer.script is not None)
    (reply,) = script.body["behaviors"]
    assert len(reply["text"].split()) == ANSWER_TOKENS
