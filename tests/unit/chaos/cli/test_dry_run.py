"""A dry run says what a run would do and touch, and does and touches nothing."""

from __future__ import annotations

import io
import json
import socket
import subprocess
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from ruamel.yaml import YAML

from chaos import cli
from chaos.cli.plan import show_experiment, show_forecast
from chaos.experiment import BUNDLED, LoadedExperiment, load_experiment
from chaos.faults import Fault, fault_kinds
from chaos.run.forecast import around_s_of_earlier_runs, forecast, spans_of
from chaos.run.journal import Journal
from chaos.run.surroundings import Surroundings, surroundings
from chaos.stack.model_servers import LlmRequest

BUILTIN = {"RAGQUAKE_PROXY": "builtin"}
EXPERIMENT = """
apiVersion: ragquake/v1
kind: Experiment
name: mixed
title: A bit of everything
owner: me
hypothesis: It holds.
load: {baseline_rate: 2/s, journeys: {ask: 3, follow_up: 1}}
faults:
  slow: {on: vector_db, kind: latency, latency: 2s}
  idle: {on: llm, kind: pause}
phases:
  - {name: baseline, for: 10s}
  - {name: one, for: 20s, rate: 10x, faults: [slow]}
  - {name: two, for: 5s, rate: 10x, faults: [slow], judged: false}
  - {name: between, for: 5s}
  - {name: three, for: 10s, faults: [slow]}
stop_when:
  - {segment: journey, indicator: error_ratio, above: 50%, for: 10s}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedExperiment:
    file = tmp_path / "mixed.yaml"
    file.write_text(EXPERIMENT)
    return load_experiment(file, ["load.seed=7"])


def local(tmp_path: Path, llm: str = "simulator") -> Surroundings:
    return surroundings("local", LlmRequest.parse(llm), tmp_path, BUILTIN)


def shown(loaded: LoadedExperiment, around: Surroundings, runs: Path, width: int = 80) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    show_experiment(loaded, console)
    show_forecast(forecast(loaded, around, runs), console)
    return console.export_text()


def refuse(*_args: object, **_kwargs: object) -> None:
    raise AssertionError("a dry run connects to nothing and starts nothing")


@pytest.mark.parametrize("llm", ["simulator", "http://127.0.0.1:9"])
def test_it_opens_no_connection_starts_no_process_and_writes_nothing(
    llm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the faults act on, also where the model server would run elsewhere."""
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    before = sorted(tmp_path.rglob("*"))
    dry = ["--dry-run", "--runs", str(tmp_path / "runs"), "--state", str(tmp_path / "state"), "--llm", llm]
    for name in ("spike", "llm-stall", "vector-db-empty", "steady"):
        monkeypatch.setattr("sys.argv", ["ragquake", "run", name, *dry])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0, capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_for_machines_is_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Phases, faults with what they touch, and the numbers, under names that say their unit."""
    file = tmp_path / "mixed.yaml"
    file.write_text(EXPERIMENT)
    monkeypatch.setattr("sys.argv", ["ragquake", "run", str(file), "--dry-run", "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    record = json.loads(capsys.readouterr().out)
    assert record["load_s"] == 50.0 and record["arrivals"] == 20 + 400 + 100 + 10 + 20
    assert [phase["multiple"] for phase in record["phases"]] == [1, 10, 10, 1, 1]
    assert record["faults"][0]["spans"] == [{"start_s": 10, "end_s": 35}, {"start_s": 40, "end_s": 50}]
    assert record["unused_faults"] == ["idle"]


def test_a_dry_run_of_several_runs_names_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its seed, what it changes, and whether it must fail; for machines in the same document."""
    asked = ["ragquake", "run", "slow-vector-db", "--dry-run", "--repeats", "2", "--control"]
    said = []
    for more in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", [*asked, *more])
        with pytest.raises(SystemExit):
            cli.main()
        said.append(capsys.readouterr().out)
    rows = json.loads(said[1])["runs"]
    assert [(row["seed"], row["expected"]) for row in rows] == [
        (1, "pass"), (1, "fail"), (2, "pass"), (2, "fail")
    ]  # fmt: skip
    assert "4 runs, " in said[0]


def test_a_fault_that_stays_is_one_stretch(loaded: LoadedExperiment) -> None:
    """Between two phases that both have it a fault is not taken out."""
    assert [(span.start_s, span.end_s) for span in spans_of("slow", loaded.phases)] == [(10, 35), (40, 50)]
    assert list(spans_of("idle", loaded.phases)) == []


def test_every_kind_of_fault_says_what_it_touches_and_how_it_is_undone(tmp_path: Path) -> None:
    """No fault is let loose of which nobody can say where it acts and how it ends."""
    around = local(tmp_path)
    for kind, fault in fault_kinds().items():
        acts_on, touches = around.place_of(_example(fault))
        assert acts_on and touches, kind
        assert fault.told("Undone"), kind


def test_where_a_fault_acts_follows_from_the_stack(tmp_path: Path) -> None:
    """A fault on answers is the simulator's own doing, or the built-in proxy's before another server."""
    stall = _example(fault_kinds()["stall"])
    assert "inside the simulated model server" in local(tmp_path).place_of(stall)[0]
    elsewhere = local(tmp_path, "http://127.0.0.1:9").place_of(stall)
    assert elsewhere[0] == "requests from the service to llm" and "127.0.0.1:9" in elsewhere[1][0]
    own = _example(fault_kinds()["pause"])
    assert "which this run starts" in local(tmp_path).place_of(own)[0]


def test_the_plan_says_what_will_happen(loaded: LoadedExperiment, tmp_path: Path) -> None:
    """Phases with rate and length, faults with their stretch and undo, stop conditions, load, duration."""
    text = " ".join(shown(loaded, local(tmp_path), tmp_path).split())
    for told in (
        "journey error_ratio above 50 % for 10 s",
        "slow (latency on vector_db, 10 s to 35 s and 40 s to 50 s)",
        "the toxic is removed",
        "about 550 journeys (ask 75 %, follow_up 25 %), seed 7",
        "about 70 s: 50 s of load",
        "changed load.seed=7",
        "declared, not used idle",
        "holds no search index yet",
        "no connection was opened",
    ):
        assert told in text


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_plan_fits_the_terminal(width: int, tmp_path: Path) -> None:
    """No line of any experiment of the catalogue is wider than the terminal."""
    for file in sorted(BUNDLED.glob("*.yaml")):
        if "abstract: true" in file.read_text():
            continue
        text = shown(load_experiment(file), local(tmp_path), tmp_path, width)
        assert max(cell_len(line) for line in text.splitlines()) <= width, file.name


def test_markup_in_an_experiment_is_shown_not_obeyed(tmp_path: Path) -> None:
    """A title is text, whatever stands in it."""
    file = tmp_path / "mixed.yaml"
    file.write_text(EXPERIMENT.replace("A bit of everything", '"[bold]loud[/bold] [/nothing]"'))
    assert "[bold]loud[/bold] [/nothing]" in shown(load_experiment(file), local(tmp_path), tmp_path)


def test_the_time_around_the_load_is_that_of_earlier_runs(tmp_path: Path) -> None:
    """The median of completed runs on the same kind of stack; others, and broken bundles, say nothing."""
    assert around_s_of_earlier_runs(tmp_path, "local") is None
    for number, (around_s, status, kind) in enumerate(
        [(10, "completed", "local"), (30, "completed", "local"), (14, "completed", "local"),
         (500, "interrupted", "local"), (900, "completed", "compose")]
    ):  # fmt: skip
        bundle = tmp_path / f"2026010{number}T000000Z-x"
        bundle.mkdir()
        (bundle / "stack.json").write_text(json.dumps({"kind": kind}))
        at = iter([100.0, 105.0, 100.0 + 60.0 + around_s])
        with Journal(bundle / "journal.jsonl", _Clock(at)) as journal:
            journal.append("run.started")
            journal.append("run.planned", phases=[{"end_s": 60.0}])
            journal.append("run.finished", status=status)
    (tmp_path / "2026-broken").mkdir()
    (tmp_path / "2026-broken" / "journal.jsonl").write_text('{"event": "run.started"}\n')
    assert around_s_of_earlier_runs(tmp_path, "local") == 14.0


class _Clock:
    """Tells the times that it was given."""

    def __init__(self, times) -> None:
        self._times = times

    def unix_s(self) -> float:
        return next(self._times)


def _example(kind: type[Fault]) -> Fault:
    """The fault that its docstring shows."""
    from chaos.faults.parsing import parse_fault

    line = next(
        line
        for line in (kind.__doc__ or "").splitlines()
        if f"kind: {kind.model_fields['kind'].default}" in line
    )
    [(name, raw)] = YAML(typ="safe").load(line).items()
    return parse_fault(name, raw)
