"""The verdict of a soak: growth is told from noise."""

from __future__ import annotations

import random

import pytest

from bench.soak import trend

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


@pytest.mark.parametrize(("gained", "grows"), [(0.0, False), (20.0, False), (50.0, True)])
def test_memory_may_gain_five_per_cent(gained, grows):
    """Of 600 MiB that are 30."""
    values = [600.0 + gained * at / TIMES[-1] for at in TIMES]
    assert trend("memory (MiB)", TIMES, values, memory=True).grows is grows


def test_what_shrinks_does_not_grow():
    """Negative control of the sign."""
    assert not trend("tasks", TIMES, [100.0 - at / 10.0 for at in TIMES]).grows
