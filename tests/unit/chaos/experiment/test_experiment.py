"""The experiment language: what a file means, and how wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.experiment import BUNDLED, find_experiment, load_experiment
from slo.documents import DocumentError

TEXT = """\
apiVersion: ragquake/v1
kind: Experiment
name: small
title: A small one
owner: somebody
hypothesis: It holds.
load:
  baseline_rate: 2/s
  journeys: {ask: 1}
faults:
  slow: {on: vector_db, kind: latency, latency: 2s}
phases:
  - {name: baseline, for: 10s}
  - {name: fault, for: 20s, rate: 10x, faults: [slow]}
  - {name: quiet, for: 5s, rate: 0.5/s, judged: false}
assertions:
  - breaker_opens: {breaker: vector_db, within: 10s}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return path


def refused(tmp_path: Path, old: str, new: str) -> str:
    assert old in TEXT
    with pytest.raises(DocumentError) as caught:
        load_experiment(write(tmp_path, TEXT.replace(old, new)))
    return "\n".join(caught.value.problems)


def test_phases_are_laid_end_to_end_with_rates_resolved(tmp_path: Path) -> None:
    """Multiples are of the baseline rate; absolute rates stand as they are."""
    phases = load_experiment(write(tmp_path, TEXT)).phases

    assert [(p.name, p.start_s, p.end_s, p.rate_per_s, p.judged) for p in phases] == [
        ("baseline", 0.0, 10.0, 2.0, True),
        ("fault", 10.0, 30.0, 20.0, True),
        ("quiet", 30.0, 35.0, 0.5, False),
    ]


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_experiment_is_valid_and_named_as_its_file(path: Path) -> None:
    """What the catalogue offers can be run."""
    assert load_experiment(path).experiment.name == path.stem


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("for: 10s", "for: -10s", "out of range"),
        ("for: 10s", "for: 10", "not a duration"),
        ("for: 20s", "for: 99999h", "out of range"),
        ("rate: 10x", "rate: 0x", "out of range"),
        ("rate: 10x", "rate: ten", "not a rate"),
        ("rate: 10x", "rate: infx", "out of range"),
        ("baseline_rate: 2/s", "baseline_rate: 1000000/s", "out of range"),
        ("journeys: {ask: 1}", "journeys: {}", "at least 1"),
        ("journeys: {ask: 1}", "journeys: {asks: 1}", "did you mean ask"),
        ("kind: latency", "kind: latncy", "latency"),
        ("latency: 2s", "latncy: 2s", "latncy"),
        ("on: vector_db", "on: vectordb", "vector_db"),
        ("faults: [slow]", "faults: [slwo]", "did you mean slow"),
        ("owner: somebody\n", "", "owner"),
        ("owner: somebody", "onwer: somebody", "did you mean owner"),
        ("name: quiet", "name: fault", "stands twice"),
        ("breaker_opens:", "breaker_open:", "breaker_opens"),
        ("apiVersion: ragquake/v1", "apiVersion: v2", "ragquake/v1"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    """Each mistake is named where it stands."""
    message = refused(tmp_path, old, new)

    assert said in message
    assert "small.yaml:" in message


def test_an_assertion_about_a_phase_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A misspelt phase would make the assertion empty."""
    text = TEXT + "  - breaker_closes: {breaker: vector_db, within: 10s, after: falt}\n"
    with pytest.raises(DocumentError, match="did you mean fault"):
        load_experiment(write(tmp_path, text))


def test_objectives_may_stand_in_the_file_or_beside_it(tmp_path: Path) -> None:
    """Inline objectives and a file next to the experiment mean the same."""
    line = "{name: answered, segment: journey, indicator: good_ratio, target: '>= 95%'}"
    inline = load_experiment(write(tmp_path, TEXT + f"objectives:\n  - {line}\n"))
    (tmp_path / "mine.yaml").write_text(
        f"apiVersion: ragquake/v1\nkind: Objectives\nobjectives:\n  - {line}\n"
    )
    beside = load_experiment(write(tmp_path, TEXT + "objectives: mine.yaml\n"))

    assert inline.objectives.data() == beside.objectives.data()


def test_an_unknown_indicator_is_refused_before_the_run(tmp_path: Path) -> None:
    """Nobody waits for a run to learn of a typo in an objective."""
    line = "{name: answered, segment: journey, indicator: god_ratio, target: '>= 95%'}"
    with pytest.raises(DocumentError, match="good_ratio"):
        load_experiment(write(tmp_path, TEXT + f"objectives:\n  - {line}\n"))


def test_overrides_change_one_value(tmp_path: Path) -> None:
    """`--set` reaches keys, phases by their name, and the service's settings."""
    overrides = ["load.baseline_rate=1/s", "phases.fault.for=3s", "service.resilience=off", "load.seed=7"]
    loaded = load_experiment(write(tmp_path, TEXT), overrides)

    assert loaded.phases[1].rate_per_s == 10.0
    assert loaded.phases[1].end_s == 13.0
    assert loaded.experiment.service == {"resilience": "off"}
    assert loaded.experiment.load.seed == 7


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("load.baseline_rate", "KEY=VALUE"),
        ("phases.falt.for=3s", "did you mean fault"),
        ("title.x=1", "holds no keys"),
        ("load.sed=1", "did you mean seed"),
        ("load.baseline_rate=fast", "not a rate"),
    ],
)
def test_a_wrong_override_is_refused(tmp_path: Path, override: str, said: str) -> None:
    """An override that changes nothing would be a lie in the journal."""
    with pytest.raises(DocumentError, match=said):
        load_experiment(write(tmp_path, TEXT), [override])


def test_experiments_are_found_by_name_and_near_misses_are_suggested() -> None:
    """`ragquake run spkie` says what was meant."""
    assert find_experiment("spike").stem == "spike"
    with pytest.raises(DocumentError, match="did you mean spike"):
        find_experiment("spkie")
    with pytest.raises(DocumentError, match="no such file"):
        find_experiment("nowhere/none.yaml")


def test_a_negative_control_is_one_or_several_and_resilience_is_short_for_one(tmp_path: Path) -> None:
    """All three spellings come out as a tuple of arms with their settings."""
    short = load_experiment(write(tmp_path, TEXT + 'negative_control: {resilience: "off", expect: fail}\n'))
    one = (
        "{mechanism: breaker, service: {breaker.min_calls: 1000000}, expect: fail, because: [breaker_opens]}"
    )
    single = load_experiment(write(tmp_path, TEXT + f"negative_control: {one}\n"))
    listed = load_experiment(write(tmp_path, TEXT + f"negative_control:\n  - {one}\n"))

    (control,) = short.experiment.negative_controls
    assert (control.mechanism, control.service, control.because) == ("resilience", {"resilience": "off"}, ())
    assert single.experiment.negative_controls == listed.experiment.negative_controls
    assert single.experiment.negative_controls[0].because == ("breaker_opens",)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{segment: journey, indicator: error_ratio, above: 50%, for: 10s}", None),
        ("{segment: search, indicator: p95, above: 2s, for: 5s, min_samples: 20}", None),
        ("{segment: serch, indicator: p95, above: 2s, for: 5s}", "did you mean search"),
        ("{segment: search, indicator: p59, above: 2s, for: 5s}", "p95"),
        ("{segment: search, indicator: p95, above: 50%, for: 5s}", "not a duration"),
        ("{segment: search, indicator: error_ratio, above: 2s, for: 5s}", "not a ratio"),
        ("{segment: search, indicator: error_ratio, above: 100%, for: 5s}", "less than 100%"),
        ("{segment: search, indicator: dropped_ratio, above: 5%, for: 5s}", "journey only"),
        ("{segment: search, indicator: p95, above: 0s, for: 5s}", "more than 0s"),
        (
            "{segment: search, indicator: p95, above: 1s, for: 5s, min_samples: 0}",
            "at least 1",
        ),
    ],
)
def test_a_stop_condition_takes_what_its_indicator_can_be(
    tmp_path: Path, written: str, said: str | None
) -> None:
    """A limit in the wrong unit would never be reached, or at once."""
    path = write(tmp_path, TEXT + f"stop_when:\n  - {written}\n")
    if said is None:
        assert len(load_experiment(path).experiment.stop_when) == 1
        return
    with pytest.raises(DocumentError, match=said):
        load_experiment(path)
