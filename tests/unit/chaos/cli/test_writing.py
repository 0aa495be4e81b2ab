"""`init`, `validate` and `schema`, as somebody who writes experiments uses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos import cli
from chaos.schemas import SCHEMAS

Said = tuple[int, str, str]
Run = Callable[..., Said]


@pytest.fixture
def ragquake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in an empty folder; returns its exit code and what it said on both channels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Said:
        monkeypatch.setattr("sys.argv", ["ragquake", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_the_first_experiment_can_be_checked_planned_and_completed(ragquake: Run, tmp_path: Path) -> None:
    """What `init` writes is valid, has a plan, and names a schema that is there."""
    code, out, _ = ragquake("init", "slow-search")
    assert code == 0 and "ragquake validate slow-search.yaml" in out

    text = (tmp_path / "slow-search.yaml").read_text()
    schema = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert json.loads((tmp_path / schema).read_text())["title"] == "ragquake experiment"
    assert ragquake("validate", "slow-search.yaml") == (0, "✓ slow-search.yaml\n", "")
    code, out, _ = ragquake("explain", "slow-search.yaml")
    assert code == 0 and "recovery" in out


def test_init_does_not_overwrite(ragquake: Run, tmp_path: Path) -> None:
    """Twice the same name is a mistake, and told as one."""
    ragquake("init")
    (tmp_path / "my-first.yaml").write_text("mine")
    code, _, err = ragquake("init")
    assert code == 2 and "is there already" in err
    assert (tmp_path / "my-first.yaml").read_text() == "mine"


def test_validate_tells_every_problem_of_every_file(ragquake: Run, tmp_path: Path) -> None:
    """CI shows all that is wrong at once, and what is right beside it."""
    for name in ("one", "two", "three"):
        ragquake("init", name)
    for name, old, new in (("one", "owner: ", "owner: TODO #"), ("two", "kind: latency", "kind: latncy")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(path.read_text().replace(old, new))

    code, out, err = ragquake("validate", ".")
    assert (code, out) == (2, "✓ three.yaml\n")
    assert "one.yaml:7: owner: 'TODO' is a placeholder" in err and "did you mean 'latency'" in err

    code, out, err = ragquake("validate", ".", "--json")
    told = json.loads(out)
    assert (code, err, told["valid"]) == (2, "", False)
    assert {row["file"]: len(row["problems"]) for row in told["files"]} == {
        "one.yaml": 1,
        "three.yaml": 0,
        "two.yaml": 1,
    }


def test_validate_of_nothing_is_no_success(ragquake: Run, tmp_path: Path) -> None:
    """A wrong folder in CI must not look clean."""
    (tmp_path / "empty").mkdir()
    for arguments in (["validate", "empty"], ["validate", "none"], ["validate", "none.yaml"], ["validate"]):
        code, out, err = ragquake(*arguments)
        assert code == 2 and err and "✓" not in out


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_a_schema_is_printed_as_json(ragquake: Run, kind: str) -> None:
    """Standard output is the schema and nothing else."""
    code, out, err = ragquake("schema", kind)
    assert (code, err) == (0, "")
    assert json.loads(out)["title"] == f"ragquake {kind}"


def test_a_schema_of_an_unknown_kind_is_refused(ragquake: Run) -> None:
    """With what was meant."""
    code, out, err = ragquake("schema", "objectve")
    assert (code, out) == (2, "") and "did you mean objectives" in err
