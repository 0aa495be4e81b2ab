"""The verdict of a soak: growth is told from noise."""

from __future__ import annotations

import random

import pytest

from bench.load import Exchange
from bench.soak import Sample, Soaked, trend, trends

TIMES = [2.0 * n for n in range(1, 300)]


def test_steady_noise_does_not_grow():
    """Connections that come and go, 20 ± 5, over ten minutes."""
    rng = random.Random(1)
    assert not trend("connections", TIMES, [20.0 + rng.uniform(-5.0, 5.0) for _ in TIMES]).grows


def test_a_slow_leak_in_the_same_noise_grows():
    """One descriptor a minute is found."""
    rng = random.Random(1)
    leaking = [20.0 + rng.uniform(-5.0, 5.0) + at / 60.0 for at in TIMES]
    found = trend("descriptors", TIMES, leaking)
    assert found.grows
    assert found.gain == pytest.approx(10.0, abs=2.0)


def samples(memory):
    """Ten minutes of a service whose memory goes as `memory` says, and whose counts stay."""
    return [Sample(at, memory(at), 50, 12, 20, 30) for at in TIMES]


@pytest.mark.parametrize(("kib_per_answer", "grows"), [(0.0, False), (0.5, False), (2.0, True), (4.0, True)])
def test_memory_may_gain_a_kib_an_answer(kib_per_answer, grows):
    """A leak of 4 KiB an answer, 20 MiB in ten minutes, is no 5 % of 600 MiB, and is found all the same."""
    rate, rng = 8.0, random.Random(1)
    leaking = samples(lambda at: 600.0 + rng.uniform(-0.5, 0.5) + kib_per_answer * rate * at / 1024.0)
    memory, *counts = trends(leaking, rate)
    assert memory.grows is grows
    assert not any(one.grows for one in counts)


def test_memory_that_grows_only_at_first_does_not_grow():
    """Caches that fill in the first third are no leak."""
    memory, *_ = trends(samples(lambda at: 600.0 + 40.0 * min(1.0, at / 200.0)), 8.0)
    assert not memory.grows


GOOD = Exchange(due=0.0, status=200, outcome="full", first_s=0.1, total_s=0.4, tokens=40, ending="done")
LEFT = Exchange(due=0.0, first_s=0.1, tokens=12, ending="given_up")
EARLY = Exchange(due=0.0, ending="given_up")
LATE = Exchange(due=0.0, ending="cut")


@pytest.mark.parametrize(
    ("seen", "waited", "hung_up", "reason"),
    [
        (20, [GOOD] * 199 + [LATE], [LEFT] * 6 + [EARLY] * 4, None),
        (9, [GOOD] * 200, [LEFT] * 10, "9 samples are too few"),
        (20, [GOOD] * 97 + [LATE] * 3, [LEFT] * 10, "97 of 100 answers were good"),
        (20, [], [LEFT] * 10, "0 of 0 answers were good"),
        (20, [GOOD] * 100, [GOOD] * 10, "0 of 10 hang-ups"),
        (20, [GOOD] * 100, [LEFT] * 5 + [EARLY] * 5, "5 of 10 hang-ups"),
        (20, [GOOD] * 100, [], "0 of 0 hang-ups"),
    ],
)
def test_a_soak_without_answers_or_hang_ups_is_no_verdict(seen, waited, hung_up, reason):
    """What does not exercise the service cannot show that nothing grows."""
    found = Soaked(samples(lambda _: 600.0)[:seen], tuple(waited), tuple(hung_up)).unusable
    assert found is None if reason is None else reason in found


def test_what_shrinks_does_not_grow():
    """Negative control of the sign."""
    assert not trend("tasks", TIMES, [100.0 - at / 10.0 for at in TIMES]).grows
