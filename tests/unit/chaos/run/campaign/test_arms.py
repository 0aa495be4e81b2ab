"""Which runs there are, in which order, with which seed and settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.experiment import LoadedExperiment, load_experiment
from chaos.run.campaign.arms import OtherVersion, arms_of, plan_runs
from slo.documents import DocumentError

FACTS = {
    "apiVersion": "ragquake/v1",
    "kind": "Experiment",
    "name": "tiny",
    "title": "A tiny one",
    "owner": "tests",
    "hypothesis": "It has arms.",
    "load": {"baseline_rate": "2/s", "journeys": {"ask": 1}, "seed": 7},
    "service": {"search.attempts": 2},
    "phases": [{"name": "baseline", "for": "5s"}],
}
CONTROLS = [
    {"mechanism": "resilience", "service": {"resilience": "off"}, "expect": "fail"},
    {"mechanism": "a bounded queue", "service": {"embed.queue": 9, "embed.wait": True}, "expect": "fail"},
]


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedExperiment:
    """An experiment with two negative controls, one value of which was changed by hand."""
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps({**FACTS, "negative_control": CONTROLS}))
    return load_experiment(path, ["phases.baseline.for=6s"])


def test_arms_take_turns_and_each_turn_has_its_seed(loaded: LoadedExperiment) -> None:
    """A B A B, so that drift hits both; the runs of one turn get the same arrivals."""
    arms = arms_of(loaded, compare_to=OtherVersion({"breaker.min_calls": "5"}))
    planned = plan_runs(arms, 2)
    assert [one.arm.role for one in planned] == ["experiment", "compared"] * 2
    assert [one.loaded.experiment.load.seed for one in planned] == [7, 7, 8, 8]
    assert [one.repeat for one in planned] == [1, 1, 2, 2]


def test_a_control_is_the_experiment_with_its_settings_on_top(loaded: LoadedExperiment) -> None:
    """Nothing else differs, the difference stands among the overrides, and no arm has controls of its own."""
    experiment, off, queue = arms_of(loaded, control=True)
    assert experiment.loaded is loaded and experiment.control is None
    assert off.loaded.experiment.service == {"search.attempts": 2, "resilience": "off"}
    assert queue.loaded.experiment.service == {"search.attempts": 2, "embed.queue": 9, "embed.wait": True}
    assert off.loaded.overrides == ("phases.baseline.for=6s", "service.resilience=off")
    assert off.loaded.experiment.duration_s == 6 and off.loaded.experiment.negative_controls == ()
    assert off.control is not None and off.control.mechanism == "resilience"
    assert [one.name for one in plan_runs((experiment, off), 2)] == [
        *("tiny, 1 of 2", "tiny (control: resilience), 1 of 2"),
        *("tiny, 2 of 2", "tiny (control: resilience), 2 of 2"),
    ]


def test_another_seed_is_no_override(loaded: LoadedExperiment) -> None:
    """The history takes repeats for runs of the same experiment."""
    _, second = plan_runs(arms_of(loaded), 2)
    assert second.loaded.overrides == loaded.overrides
    assert second.loaded.document.data["load"]["seed"] == 8


def test_a_control_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The message says what to add."""
    (tmp_path / "tiny.yaml").write_text(json.dumps(FACTS))
    with pytest.raises(DocumentError, match="has no negative_control; add one"):
        arms_of(load_experiment(tmp_path / "tiny.yaml"), control=True)


def test_another_version_is_settings_or_a_target_file(loaded: LoadedExperiment) -> None:
    """KEY=VALUE, several with commas, `service.` may stand before the key; or where one runs already."""
    other = OtherVersion.parse("breaker.min_calls=5, service.resilience=off")
    assert other == OtherVersion({"breaker.min_calls": "5", "resilience": "off"})
    experiment, there = arms_of(loaded, compare_to=OtherVersion.parse("targets/staging.yaml"))
    assert there.stack == "targets/staging.yaml" and there.name == "at staging" and not experiment.stack
    assert there.loaded is loaded


def test_a_version_is_not_compared_with_itself(loaded: LoadedExperiment) -> None:
    """Two equal arms would agree, and the agreement would say nothing."""
    with pytest.raises(DocumentError, match=r"search\.attempts=2: the experiment itself has that"):
        arms_of(loaded, compare_to=OtherVersion.parse("search.attempts=2"))


@pytest.mark.parametrize("wrong", ["", "breaker", "=5", "a=", "a=1,,b=2"])
def test_what_is_no_other_version_is_refused(wrong: str) -> None:
    """The message shows both forms."""
    with pytest.raises(DocumentError, match=r"write KEY=VALUE.* or the path of a target file"):
        OtherVersion.parse(wrong)


def test_a_bare_url_is_no_other_version() -> None:
    """It does not say where faults could go in, nor where the spans come out."""
    with pytest.raises(DocumentError, match="write both into a target file"):
        OtherVersion.parse("http://127.0.0.1:8080")
