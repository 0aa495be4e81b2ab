"""What an experiment cannot have of a target that runs already is said before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from chaos.experiment import LoadedExperiment, load_experiment
from chaos.experiment.needs import require_possible, seen_through
from chaos.run.options import RunOptions, need_of
from chaos.stack.attach import AttachedStack
from chaos.stack.opening import open_stack
from chaos.stack.target import AttachedTarget, ProxyToPut
from slo.documents import DocumentError
from slo.segments import default_table

EXPERIMENT = """
apiVersion: ragquake/v1
kind: Experiment
name: mine
title: Any
owner: tests
hypothesis: Any.
load: {baseline_rate: 1/s, journeys: {ask: 1}}
service: {llm.timeout: 5}
faults:
  used: {on: %s}
  unused: {on: vector_db, kind: pause}
phases: [{name: baseline, for: 1s}, {name: fault, for: 1s, faults: [used]}]
"""
TARGET = """
apiVersion: ragquake/v1
kind: Target
name: mine
service: {url: http://127.0.0.1:%d}
dependencies: {llm: {listen: 127.0.0.1:9001, upstream: 127.0.0.1:8000}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "target.yaml").write_text(TARGET % 8080)
    return tmp_path / "target.yaml"


def target(path: Path) -> AttachedTarget:
    found = RunOptions(stack=str(path)).target
    assert found is not None
    return found


def loaded(folder: Path, fault: str, overrides: Sequence[str] = ()) -> LoadedExperiment:
    (folder / "mine.yaml").write_text(EXPERIMENT % fault)
    return load_experiment(folder / "mine.yaml", overrides)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("vector_db, kind: latency, latency: 1s", "no proxy stands before it in .*dependencies.vector_db"),
        ("llm, kind: pause", "acts on a process"),
        ("service, kind: pause", "acts on a process"),
        ("llm, kind: slow_startup, lasts: 10s", "simulated model server"),
    ],
)
def test_a_fault_that_nobody_can_commit_there_is_refused(path: Path, fault: str, said: str) -> None:
    """With the line of the experiment and what to write into the target file."""
    with pytest.raises(DocumentError, match=rf"mine\.yaml:\d+: faults\.used\.kind: .*{said}"):
        require_possible(loaded(path.parent, fault), str(path), "simulator", target(path))


@pytest.mark.parametrize(
    "fault",
    [
        "llm, kind: latency, latency: 1s",
        "llm, kind: down",
        "llm, kind: stall, after_tokens: 3",
        "llm, kind: http_error",
    ],
)
def test_a_fault_before_which_a_proxy_stands_is_welcome(path: Path, fault: str) -> None:
    """On bytes, on the port, on a model server's answers and on requests; the file's settings do no harm."""
    require_possible(loaded(path.parent, fault), str(path), "simulator", target(path))


def test_settings_that_somebody_asks_for_are_refused_and_those_of_the_file_left_out(path: Path) -> None:
    """The file's are for stacks that a run starts; what is asked for now nobody can give."""
    asked = loaded(path.parent, "llm, kind: down", ["service.resilience=off"])
    with pytest.raises(DocumentError, match=r"service\.resilience=off: the service of .*runs already"):
        require_possible(asked, str(path), "simulator", target(path))
    require_possible(asked, "local", "simulator")


def test_the_need_of_a_run_carries_the_decided_target(path: Path, tmp_path: Path) -> None:
    """Nobody reads the file or asks the resolver again; faults on answers need who reads requests."""
    options = RunOptions(stack=str(path))
    need = need_of(loaded(tmp_path, "llm, kind: stall, after_tokens: 3"), options)
    assert need.target is options.target
    assert need.on_requests
    assert not need_of(loaded(tmp_path, "llm, kind: down"), options).on_requests
    assert not need.can_be_shared


def test_options_never_carry_the_target_of_another_file(path: Path) -> None:
    """Whoever changes the stack of a run changes what it dials."""
    other = path.with_name("other.yaml")
    other.write_text(TARGET % 8081)
    first = RunOptions(stack=str(path))
    assert RunOptions(stack=str(path), target=first.target).target is first.target
    second = RunOptions(stack=str(other), target=first.target).target
    assert second is not None and second.service == "http://127.0.0.1:8081"
    assert RunOptions(target=None).target is None
    assert RunOptions(stack="local", target=first.target).target is None


def test_a_stack_of_a_file_is_never_started_as_a_local_one(path: Path, tmp_path: Path) -> None:
    """Also where somebody passed the file alone on."""
    assert isinstance(open_stack(str(path), folder=tmp_path, state=tmp_path), AttachedStack)


def test_objectives_are_seen_through_the_targets_table(path: Path, tmp_path: Path) -> None:
    """Without one, the experiment is as it was."""
    experiment = loaded(tmp_path, "llm, kind: down")
    assert seen_through(experiment, target(path)) is experiment
    table = default_table().model_copy(update={"attributes": ("mine",)})
    own = AttachedTarget(path, "mine", "http://127.0.0.1:1", table=table)
    assert seen_through(experiment, own).objectives.table == table
    assert ProxyToPut("127.0.0.1:9001", "127.0.0.1:8000") == target(path).proxies["llm"]
