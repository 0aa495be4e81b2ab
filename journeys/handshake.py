"""How the runner and the journeys agree on one clock.

The journeys say that they are warm and how many arrivals each phase will get (`ready`); the runner
answers with the moment at which the schedule begins (`start`). Files, because the journeys are another
process; written by rename, so that neither side ever reads half of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from journeys.clock import Clock, Sleep

POLL_S = 0.02
START_WITHIN_S = 300.0
"""A runner that has not started the load after five minutes is not coming back."""


class HandshakeError(RuntimeError):
    """The runner's side of the handshake is missing or wrong."""


def say_ready(path: Path, arrivals: Mapping[str, int], pid: int) -> None:
    """Tell the runner that the journeys are warm and what they will send."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps({"arrivals": dict(arrivals), "pid": pid}) + "\n", encoding="utf-8")
    draft.replace(path)


def await_start(path: Path, clock: Clock, sleep: Sleep, within_s: float = START_WITHIN_S) -> float:
    """The t0_s that the runner wrote, in Unix time."""
    give_up_s = clock.now_s() + within_s
    while not path.exists():
        if clock.now_s() >= give_up_s:
            raise HandshakeError(
                f"{path} did not appear within {within_s:g} s; the runner has to write "
                '{"t0_s": Unix time} there after the ready file is written'
            )
        sleep(POLL_S)
    text = path.read_text(encoding="utf-8")
    try:
        return float(json.loads(text)["t0_s"])
    except (ValueError, KeyError, TypeError) as error:
        raise HandshakeError(f'{path} holds {text[:80]!r}; it must hold {{"t0_s": Unix time}}') from error
