"""Rates that change within a phase: what is written, the curve that it means, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.experiment import Phase, PlannedPhase, load_experiment
from chaos.experiment.rates import mean_of, rate_at
from slo.documents import DocumentError

TEXT = """\
apiVersion: ragquake/v1
kind: Experiment
name: shapes
title: A load that changes
owner: somebody
hypothesis: It holds.
load: {baseline_rate: 2/s, journeys: {ask: 1}}
phases:
  - {name: baseline, for: 10s}
  - {name: changing, for: 60s, rate: RATE}
"""


def planned(tmp_path: Path, rate: str) -> PlannedPhase:
    path = tmp_path / "shapes.yaml"
    path.write_text(TEXT.replace("RATE", rate))
    return load_experiment(path).phases[1]


@pytest.mark.parametrize(
    ("rate", "mean", "told"),
    [
        ("3x", 6.0, "6"),
        ("{ramp: [1x, 10x]}", 11.0, "2 to 20"),
        ("{ramp: [0/s, 4/s]}", 2.0, "0 to 4"),
        ("{steps: [1x, 5x, 10x]}", 32 / 3, "2, 10, 20"),
        ("{sine: [1x, 4x], period: 20s}", 5.0, "2 to 8 and back every 20 s"),
        ("{burst: [1x, 10x], every: 10s, lasting: 2s}", 5.6, "2, and 20 for 2 s every 10 s"),
    ],
)
def test_the_mean_of_a_shape_is_its_area(tmp_path: Path, rate: str, mean: float, told: str) -> None:
    """What the verdict is told as the phase's rate is the mean over the phase."""
    phase = planned(tmp_path, rate)
    assert phase.rate_per_s == pytest.approx(mean)
    assert phase.rate_told == told
    assert bool(phase.curve) == rate.startswith("{")


@pytest.mark.parametrize(
    ("rate", "at"),
    [
        ("{ramp: [1x, 10x]}", {0: 2, 30: 11, 60: 20}),
        ("{steps: [1x, 5x, 10x]}", {0: 2, 19.9: 2, 20: 10, 39.9: 10, 40: 20, 59.9: 20}),
        ("{sine: [1x, 4x], period: 20s}", {0: 2, 5: 5, 10: 8, 15: 5, 20: 2, 30: 8}),
        ("{burst: [1x, 10x], every: 10s, lasting: 2s}", {0: 20, 1.9: 20, 2: 2, 9.9: 2, 10: 20, 52: 2}),
    ],
)
def test_a_shape_has_its_rate_at_each_moment(tmp_path: Path, rate: str, at: dict[float, float]) -> None:
    """The curve goes where the words say; its clock begins with the phase."""
    phase = planned(tmp_path, rate)
    assert {t_s: phase.rate_at(10 + t_s) for t_s in at} == pytest.approx(at, abs=1e-6)


def test_the_last_wave_and_the_last_burst_may_be_cut_off(tmp_path: Path) -> None:
    """A curve ends with its phase, wherever it is by then."""
    wave = planned(tmp_path, "{sine: [1x, 4x], period: 40s}")
    burst = planned(tmp_path, "{burst: [1x, 10x], every: 59s, lasting: 5s}")
    assert wave.curve[-1] == pytest.approx((60.0, 8.0))
    assert burst.curve[-1] == (60.0, 20.0) and len(burst.curve) == 6


levels = st.sampled_from(["0x", "1x", "2.5x", "0/s", "7/s", "90/m"])
spans = st.sampled_from(["70ms", "1s", "3s", "7s", "61s"])
shapes = st.one_of(
    st.builds(lambda a, b: {"ramp": [a, b]}, levels, levels),
    st.builds(lambda many: {"steps": many}, st.lists(levels, min_size=2, max_size=9)),
    st.builds(lambda a, b, p: {"sine": [a, b], "period": p}, levels, levels, spans),
    st.builds(
        lambda a, b, every, lasting: {"burst": [a, b], "every": every, "lasting": lasting},
        levels, levels, spans, spans,
    ),
)  # fmt: skip


@given(shapes, st.floats(0.5, 60), st.floats(0.1, 50))
@settings(max_examples=200)
def test_every_curve_covers_its_phase_within_its_levels(
    written: dict[str, Any], length_s: float, baseline_per_s: float
) -> None:
    """From 0 to the phase's end, in order, never below the lowest nor above the highest rate named."""
    try:
        phase = Phase.model_validate({"name": "a", "for": f"{length_s:.6f}s", "rate": written})
    except ValueError:
        return
    curve = phase.rate.curve(baseline_per_s, phase.duration_s)
    rates = [level.resolve(baseline_per_s) for level in phase.rate.levels]

    times = [t_s for t_s, _ in curve]
    assert times == sorted(times) and (times[0], times[-1]) == (0.0, phase.duration_s)
    assert all(min(rates) - 1e-9 <= rate <= max(rates) + 1e-9 for _, rate in curve)
    assert min(rates) - 1e-9 <= mean_of(curve) <= max(rates) + 1e-9
    assert rate_at(curve, phase.duration_s) == curve[-1][1]


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        ("{rmp: [1x, 2x]}", r"rate: not a rate; write 10x, 4/s, \{ramp"),
        ("[1x, 2x]", "not a rate; write"),
        ("{ramp: [1x, 2x], steps: [1x, 2x]}", "not a rate; write"),
        ("{ramp: [1x]}", r"rate.ramp\[1\]: is required"),
        ("{ramp: [1x, 2]}", r"rate.ramp\[1\]: 2 is not a rate"),
        ("{ramp: [1x, -2x]}", "out of range; allowed is at least 0"),
        ("{ramp: [0x, 0/s]}", "nobody arrives"),
        ("{steps: [1x]}", "at least 2"),
        ("{sine: [1x, 4x]}", "rate.period: is required"),
        ("{sine: [1x, 4x], perod: 20s}", "did you mean period"),
        ("{sine: [1x, 4x], period: 10ms}", "at most 1000 repetitions"),
        ("{burst: [1x, 4x], every: 2s, lasting: 2s}", "must be less than every"),
        ("{burst: [1x, 4x], every: 0s, lasting: 2s}", "rate.every: '0s' is out of range"),
        ("{ramp: [1x, 1500x]}", r"rate: comes to 3000 arrivals/s with a baseline_rate of 2/s"),
        ("1500x", "at most 2000/s"),
    ],
)
def test_a_wrong_shape_is_refused_where_it_stands(tmp_path: Path, rate: str, said: str) -> None:
    """The message leads to the key in the file, without the model's own names."""
    with pytest.raises(DocumentError, match=said) as caught:
        planned(tmp_path, rate)
    assert all("shapes.yaml:10: phases[1]" in problem for problem in caught.value.problems)


def test_more_arrivals_than_a_generator_holds_are_refused_before_it_starts(tmp_path: Path) -> None:
    """A million arrivals in all: the sum counts, not one phase."""
    path = tmp_path / "shapes.yaml"
    path.write_text(TEXT.replace("RATE", "900x").replace("for: 60s", "for: 10m"))
    with pytest.raises(DocumentError, match="add up to 1,080,020 arrivals"):
        load_experiment(path)
