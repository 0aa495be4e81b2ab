"""`extends`, `abstract` and `variables`: what comes out whole, and how wrong ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from chaos.experiment import AbstractExperimentError, LoadedExperiment, load_experiment
from slo.documents import DocumentError

BASE = """\
apiVersion: ragquake/v1
kind: Experiment
name: base
abstract: true
title: A peak of ${peak}
owner: somebody
hypothesis: It holds.
variables: {peak: 10x, hold: 30s, seed: 7}
load: {baseline_rate: 2/s, seed: "${seed}", journeys: {ask: 9, follow_up: 1}}
service: {breaker.min_calls: 5, resilience: "on"}
faults:
  slow: {on: vector_db, kind: latency, latency: {uniform: [1s, 3s]}}
phases:
  - {name: baseline, for: 10s}
  - {name: fault, for: "${hold}", rate: "${peak}", faults: [slow]}
objectives: beside.yaml
negative_control: {mechanism: breaker, service: {breaker.min_calls: 1000}, expect: fail}
"""
OBJECTIVES = """\
apiVersion: ragquake/v1
kind: Objectives
objectives:
  - {name: answered, segment: journey, indicator: good_ratio, target: ">= 95%"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A base with its objectives in a folder of their own."""
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "base.yaml").write_text(BASE)
    (tmp_path / "bases" / "beside.yaml").write_text(OBJECTIVES)
    return tmp_path


def load(folder: Path, text: str, *overrides: str) -> LoadedExperiment:
    (folder / "own.yaml").write_text("extends: bases/base.yaml\nname: own\n" + text)
    return load_experiment(folder / "own.yaml", overrides)


def refused(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(DocumentError) as caught:
        load(folder, text, *overrides)
    return "\n".join(caught.value.problems)


def test_what_is_not_said_comes_from_the_base(folder: Path) -> None:
    """Named things are merged, all else is replaced, null takes away; its files are found."""
    loaded = load(
        folder,
        "load: {baseline_rate: 3/s, journeys: {follow_up: null}}\n"
        "service: {resilience: null, search.attempt_s: 1}\n"
        "faults: {slow: {latency: 5s}, gone: {on: llm, kind: reset}}\n"
        "phases: [{name: only, for: 5s}]\n"
        "variables: {hold: null, peak: 3x}\n"
        'negative_control: {resilience: "off", expect: fail}\n',
    )
    data = loaded.document.data

    assert data["load"] == {"baseline_rate": "3/s", "seed": 7, "journeys": {"ask": 9}}
    assert data["service"] == {"breaker.min_calls": 5, "search.attempt_s": 1}
    assert data["faults"]["slow"] == {"on": "vector_db", "kind": "latency", "latency": "5s"}
    assert set(data["faults"]) == {"slow", "gone"} and len(data["phases"]) == 1
    assert data["negative_control"] == {"resilience": "off", "expect": "fail"}
    assert data["title"] == "A peak of 3x" and data["owner"] == "somebody"
    assert [one.name for one in loaded.objectives.objectives] == ["answered"]


@pytest.mark.parametrize("objectives", ["objectives: default\n", ""])
def test_what_the_bundle_keeps_stands_alone(folder: Path, tmp_path: Path, objectives: str) -> None:
    """It names no base, no variable and no file but the bundle's own, and reads back as the same."""
    loaded = load(folder, objectives, "peak=4x", "phases.baseline.for=3s")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name, data in (("experiment", loaded.standing_alone()), ("objectives", loaded.objectives.data())):
        with (bundle / f"{name}.yaml").open("w") as file:
            YAML().dump(data, file)
    again = load_experiment(bundle / "experiment.yaml")

    assert not {"extends", "abstract", "variables"} & set(loaded.document.data)
    assert again.phases == loaded.phases and again.objectives == loaded.objectives
    assert again.experiment.service == loaded.experiment.service and again.faults == loaded.faults
    assert [phase.rate_per_s for phase in again.phases] == [2.0, 8.0]


def test_a_variable_keeps_its_type_where_it_is_the_whole_value(folder: Path) -> None:
    """A seed stays a number; inside a text it is text."""
    loaded = load(folder, 'title: "seed ${seed}, peak ${peak}"\n', "seed=12")
    assert loaded.experiment.load.seed == 12
    assert loaded.experiment.title == "seed 12, peak 10x"


def test_a_file_may_extend_the_catalogue_under_the_same_name(tmp_path: Path) -> None:
    """One's own `spike.yaml` that extends spike means the one that is bundled."""
    (tmp_path / "spike.yaml").write_text("extends: spike\nname: spike\nload: {seed: 5}\n")
    loaded = load_experiment(tmp_path / "spike.yaml")
    assert loaded.experiment.load.seed == 5 and loaded.faults


def test_five_levels_are_allowed_and_six_are_not(folder: Path) -> None:
    """A family is a tree that one can still read."""
    above = "bases/base.yaml"
    for level in range(1, 7):
        path = folder / f"level{level}.yaml"
        path.write_text(f"extends: {above}\nname: level{level}\n")
        above = path.name
    assert load_experiment(folder / "level5.yaml").experiment.name == "level5"
    with pytest.raises(DocumentError, match="at most 5 levels"):
        load_experiment(folder / "level6.yaml")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("extends: own.yaml\nname: own\n", "own.yaml:1: extends: goes round in a circle"),
        ("extends: bases/bse.yaml\nname: own\n", "own.yaml:1: extends: there is no file"),
        ("extends: spkie\nname: own\n", "did you mean spike"),
        ("extends: [spike]\nname: own\n", "not the name of an experiment"),
        ("extends: spike\n", "own.yaml:1: name: is missing; what extends 'spike' needs a name of its own"),
        ("extends: spike\nname: own\nabstract: maybe\n", "own.yaml:3: abstract: 'maybe' is neither"),
    ],
)
def test_a_wrong_base_is_refused_at_its_line(tmp_path: Path, raw: str, said: str) -> None:
    """A family that cannot be read is told where it breaks."""
    (tmp_path / "own.yaml").write_text(raw)
    with pytest.raises(DocumentError) as caught:
        load_experiment(tmp_path / "own.yaml")
    assert said in "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("service: {breaker.min_cals: null}\n", "own.yaml:3: service.breaker.min_cals: null takes away"),
        ("service: {breaker.min_cals: null}\n", "did you mean breaker.min_calls"),
        ("onwer: me\n", "own.yaml:3: onwer: unknown key (did you mean owner?)"),
        ("faults: {slow: {latency: 3000s}}\n", "own.yaml:3: faults.slow.latency"),
        ("load: {baseline_rate: 1500/s}\n", "bases/base.yaml:15: phases[1].rate: comes to 15000"),
        ("title: ${peek}\n", "own.yaml:3: title: no variable is called 'peek' (did you mean peak?)"),
        ("title: ${peak\n", "does not end it; write ${name}"),
        ("variables: {peek: 1x}\n", "own.yaml:3: variables.peek: nothing uses ${peek} (did you mean peak?)"),
        ("variables: {peak: [1x]}\n", "is not one value"),
        ("variables: {peak: '${hold}'}\n", "uses another variable"),
        ("variables: {title: x}\n", "is a key of experiments"),
        ("variables: {Peak: x}\n", "cannot name a variable"),
        ("variables: [a]\n", "must be a mapping of names to values"),
        ("variables: {peak: 20y}\n", "bases/base.yaml:15: phases[1].rate: '20y' is not a rate"),
        ("variables: {peak: 20y}\n", "(${peak} is '20y' by"),
        ("phases:\n  - {name: a, for: ${hold}}\n", 'quote a variable: "${name}"'),
        ("service: {'a${peak}': 1}\n", "not in keys"),
        (
            "negative_control: {mechanism: a, service: {resilience: 'on'}, expect: fail}\n",
            "switches nothing off",
        ),
        (
            "negative_control: {resilience: 'off', expect: fail, because: [anwsered]}\n",
            "own.yaml:3: negative_control.because: no objective or assertion is called 'anwsered' "
            "(did you mean answered?); there are: answered",
        ),
    ],
)
def test_a_mistake_is_told_in_the_file_that_makes_it(folder: Path, text: str, said: str) -> None:
    """In a family of files the line alone would lead nowhere."""
    assert said in refused(folder, text)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("peek=20x", "'peek' is neither a key of experiments nor a variable (did you mean peak?)"),
        ("variables.peek=20x", "--set variables.peek=20x: variables.peek: nothing uses"),
        ("peak=20y", "by --set peak=20y"),
        ("abstract=false", "cannot be set"),
        ("extends=spike", "cannot be set"),
        (
            "load.baseline_rate=fast",
            "--set load.baseline_rate=fast: load.baseline_rate: 'fast' is not a rate",
        ),
        ("phases.fault.rate={ramp: [1x", "not valid YAML"),
    ],
)
def test_a_wrong_override_is_told_as_the_override(folder: Path, override: str, said: str) -> None:
    """The file is not to blame for what the command line says."""
    assert said in refused(folder, "", override)


def test_an_override_may_be_a_shape(folder: Path) -> None:
    """Between braces it is read as the file would be."""
    loaded = load(folder, "variables: {peak: 1x}\n", "phases.fault.rate={ramp: [1x, 5x]}")
    assert loaded.phases[1].rate_told == "2 to 10"


def test_a_base_cannot_run_and_is_checked_as_far_as_it_goes(folder: Path) -> None:
    """It may lack what others bring, but what it says must be right."""
    path = folder / "bases" / "base.yaml"
    with pytest.raises(AbstractExperimentError, match="base for others and cannot run"):
        load_experiment(path)
    path.write_text(
        BASE.replace("owner: somebody\n", "").replace("latency: {uniform: [1s, 3s]}", "latncy: 2s")
    )
    with pytest.raises(DocumentError, match="latncy") as caught:
        load_experiment(path)
    assert not isinstance(caught.value, AbstractExperimentError)
    assert "owner" not in str(caught.value)


def test_two_bases_in_a_row_are_laid_over_each_other(folder: Path) -> None:
    """The nearest file has the last word; what it does not say is looked for further up."""
    (folder / "middle.yaml").write_text(
        "extends: bases/base.yaml\nabstract: true\nservice: {resilience: middle}\nowner: middle\n"
    )
    (folder / "last.yaml").write_text("extends: middle\nname: last\nowner: last\n")
    data: dict[str, Any] = load_experiment(folder / "last.yaml").document.data
    assert (data["owner"], data["service"]["resilience"]) == ("last", "middle")
    assert data["title"] == "A peak of 10x"
