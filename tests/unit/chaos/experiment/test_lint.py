"""What `ragquake validate` asks of an experiment beyond what a run asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.checking import check_files, files_in
from chaos.experiment import BUNDLED, load_experiment
from chaos.experiment.first import first_experiment, write_first
from chaos.experiment.lint import LOOKED_BACK_S, lint
from chaos.run.stop_conditions import LONGEST_S
from slo.documents import DocumentError

TITLE = "title: The vector DB answers two seconds late"
HYPOTHESIS = "".join(first_experiment("first").splitlines(keepends=True)[7:9])
STOP = "  - {segment: journey, indicator: error_ratio, above: 50%, for: 10s}\n"
BASELINE = "  - {name: baseline, for: 22s, rate: 1x} # what is normal here?\n"
RECOVERY = "  - {name: recovery, for: 41s, rate: 1x} # does it come back?\n"


def problems(tmp_path: Path, old: str = "", new: str = "") -> list[str]:
    """The lint's complaints about the first experiment with one change."""
    text = first_experiment("first")
    assert old in text
    path = tmp_path / "first.yaml"
    path.write_text(text.replace(old, new))
    return lint(load_experiment(path))


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_catalogue_has_nothing_to_complain_of(path: Path) -> None:
    """What comes with ragquake is an example to follow."""
    assert lint(load_experiment(path)) == []


def test_the_first_experiment_is_whole(tmp_path: Path) -> None:
    """Who begins with `ragquake init` begins with a file that CI would take."""
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (TITLE, "title: TODO", "first.yaml:6: title: 'TODO' is a placeholder"),
        (HYPOTHESIS, "hypothesis: To do\n", "hypothesis: 'To do' is a placeholder"),
        ("stop_when:\n" + STOP, "", "stop_when: no stop condition"),
        ("above: 50%, for: 10s", "above: 50%, for: 5m", "stop_when[0].for: 5 m is as long as the whole run"),
        (STOP, STOP.replace("10s", "2s, min_samples: 90"), "stop_when[0]: 90 samples never come within 5 s"),
        (BASELINE, "", "phases[1].faults: 'fault' has the first fault, and no judged phase comes before"),
        (BASELINE, BASELINE.replace("rate: 1x", "judged: false"), "no judged phase comes before"),
        (RECOVERY, "", "phases[2].faults: the run ends with slow-vector-db in"),
        ("\nphases:\n", "\n  idle: {on: llm, kind: reset}\nphases:\n", "faults.idle: no phase has it"),
    ],
)
def test_what_is_missing_is_told_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    """Each rule can be broken, and says where."""
    found = problems(tmp_path, old, new)
    assert any(said in problem for problem in found), found


def test_a_condition_that_may_yet_hold_is_left_alone(tmp_path: Path) -> None:
    """As many samples as a talkative crowd could bring within its time."""
    assert problems(tmp_path, STOP, STOP.replace("10s", "10s, min_samples: 100")) == []
    assert LOOKED_BACK_S == LONGEST_S


def test_nothing_judged_proves_nothing(tmp_path: Path) -> None:
    """A run in which nothing can fail passes always."""
    found = problems(tmp_path, "rate: 1x", "judged: false")
    assert any("phases: no phase is judged" in problem for problem in found), found


def test_a_folder_is_checked_file_by_file_and_kind_by_kind(tmp_path: Path) -> None:
    """Experiments, bases, objectives and suites are each read as what they are; the rest is refused."""
    write_first("first", tmp_path)
    base = "extends: first\nname: base\nabstract: true\n"
    (tmp_path / "base.yaml").write_text(base)
    (tmp_path / "mine.yml").write_text(
        "apiVersion: ragquake/v1\nkind: Objectives\nobjectives:\n"
        "  - {name: answered, segment: journey, indicator: good_ratio, target: '>= 95%'}\n"
    )
    (tmp_path / "other.yaml").write_text("kind: Experment\nname: other\n")
    (tmp_path / "broken.yaml").write_text("kind: [")
    (tmp_path / "notes.txt").write_text("not looked at")

    found = {one.path.name: one for one in check_files(files_in([tmp_path]))}

    assert {name: one.kind for name, one in found.items() if not one.problems} == {
        "base.yaml": "Base",
        "first.yaml": "Experiment",
        "mine.yml": "Objectives",
    }
    assert "did you mean Experiment" in found["other.yaml"].problems[0]
    assert "not valid YAML" in found["broken.yaml"].problems[0]


def test_two_files_of_one_name_are_told(tmp_path: Path) -> None:
    """Their runs would be one line in the history."""
    write_first("first", tmp_path)
    (tmp_path / "second.yaml").write_text(first_experiment("first"))
    first, second = check_files(files_in([tmp_path]))
    assert not first.problems
    assert "first.yaml has the name 'first', too" in second.problems[0]


def test_an_empty_folder_is_no_success(tmp_path: Path) -> None:
    """A wrong path in CI must not look like a clean check."""
    with pytest.raises(DocumentError, match=r"no \*.yaml files"):
        files_in([tmp_path])
    with pytest.raises(DocumentError, match="no such file"):
        files_in([tmp_path / "none.yaml"])


def test_init_leaves_what_is_there(tmp_path: Path) -> None:
    """A file that somebody wrote is never overwritten, and a name must be one."""
    path = write_first("first", tmp_path)
    path.write_text("mine")
    with pytest.raises(DocumentError, match="is there already and was left as it is"):
        write_first("first", tmp_path)
    assert path.read_text() == "mine"
    for name in ("First", "../first", "", "a/b", "-x"):
        with pytest.raises(DocumentError, match="cannot name an experiment"):
            write_first(name, tmp_path)
