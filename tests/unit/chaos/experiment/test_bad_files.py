"""Mistakes that people really make, through the command: exit 2 and a sentence, before anything starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaos import cli
from chaos.exit_codes import ExitCode
from chaos.experiment import BUNDLED

SPIKE = (BUNDLED / "spike.yaml").read_text()
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in ("ab", "bc", "cd", "de", "ef")
)
TAG = "name: !!python/object/apply:os.system ['touch pwned']\n"


def spike(old: str, new: str, count: int = 1) -> str:
    """The bundled spike with one thing replaced."""
    assert old in SPIKE
    return SPIKE.replace(old, new, count)


MISTAKES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "the file is empty"),
    "only a comment": ("# nothing\n", "the file is empty"),
    "a list": ("- a\n- b\n", "not a list"),
    "a word": ("spike\n", "not a single value"),
    "binary": (b"\x00\x01\x02\xff", "not UTF-8 text"),
    "an archive": (b"PK\x03\x04\x14\x00", "not valid YAML"),
    "utf-16": (SPIKE.encode("utf-16"), "not UTF-8 text"),
    "a tab": (spike("  baseline_rate", "\tbaseline_rate"), "indent with spaces"),
    "one key twice": (SPIKE + "\nname: other\n", "key 'name' stands twice"),
    "an alias bomb": (BOMB, "more than 20000 values"),
    "an alias in itself": ("a: &x [*x]\n", "does an alias contain itself"),
    "a tag of Python": (TAG, "only plain YAML is read"),
    "a merge key": (spike("load:\n", "base: &b {a: 1}\nload:\n  <<: *b\n"), "<<"),
    "a list as a key": (
        spike("load:\n", "? [a, b]\n: 1\nload:\n"),
        "must be a single value, not a list",
    ),
    "two documents": (SPIKE + "---\n" + SPIKE, "not valid YAML"),
    "an open bracket": (spike("faults: [slow-vector-db]}", "faults: [slow-vector-db}"), "not valid YAML"),
    "an open quote": (spike("title: ", 'title: "'), "not valid YAML"),
    "ten thousand brackets": ("a: " + "[" * 10_000 + "]" * 10_000, "levels deep"),
    "forty levels": ("a: " + "[" * 40 + "]" * 40, "levels deep"),
    "a megabyte": ("a: " + "x" * 1_000_001, "at most 1000000 are read"),
    "nan": (spike("rate: 10x", "rate: .nan"), "not a finite number"),
    "infinity": (spike("rate: 10x", "rate: .inf"), "not a finite number"),
    "five thousand digits": (spike("rate: 10x", "rate: " + "9" * 5000), "not a number that can be read"),
    "a huge exponent": (spike("rate: 10x", "rate: 1e999x"), "out of range"),
    "a negative time": (spike("for: 6s", "for: -6s"), "phases[0].for: '-6s' is out of range"),
    "no time": (spike("for: 6s", "for: 0s"), "phases[0].for: '0s' is out of range"),
    "eleven thousand years": (spike("for: 6s", "for: 99999999h"), "out of range"),
    "a number without a unit": (spike("for: 6s", "for: 6"), "6 is not a duration; write a number and a unit"),
    "a rate without a unit": (spike("baseline_rate: 2/s", "baseline_rate: 2"), "2 is not a rate"),
    "a ratio without a percent sign": (spike("above: 50%", "above: 0.5"), "0.5 is not a ratio"),
    "a misspelt key": (spike("owner:", "onwer:"), "onwer: unknown key (did you mean owner?)"),
    "a key too many": (SPIKE + "foo: 1\n", "foo: unknown key"),
    "a misspelt key of a phase": (
        spike("for: 6s", "fro: 6s"),
        "[0].fro: unknown key (did you mean for?)",
    ),
    "a misspelt kind of fault": (spike("kind: latency", "kind: latncy"), "did you mean 'latency'"),
    "a misspelt parameter": (spike("latency: 2s", "latncy: 2s"), "did you mean 'latency'"),
    "a misspelt fault": (spike("[slow-vector-db]", "[slow-vectordb]"), "did you mean slow-vector-db"),
    "a misspelt journey": (spike("ask:", "aks:"), "did you mean ask"),
    "a misspelt assertion": (spike("breaker_opens", "breaker_open"), "did you mean breaker_opens"),
    "a misspelt indicator": (spike("error_ratio", "eror_ratio"), "did you mean error_ratio"),
    "a misspelt variable": (spike("rate: 10x", 'rate: "${peek}"'), "no variable is called 'peek'"),
    "a variable without quotes": (spike("rate: 10x", "rate: ${peak}"), 'quote a variable: "${name}"'),
    "no phases": (re.sub(r"phases:.*?(?=\n\w)", "phases: []", SPIKE, flags=re.DOTALL), "phases: "),
    "phases as a word": (
        re.sub(r"phases:.*?(?=\n\w)", "phases: x", SPIKE, flags=re.DOTALL),
        "must be a list",
    ),
    "nothing under load": (re.sub(r"load:.*?(?=\n\w)", "load:", SPIKE, flags=re.DOTALL), "must be a mapping"),
    "another version": (spike("ragquake/v1", "ragquake/v2"), "apiVersion: 'ragquake/v2' is not allowed"),
    "another kind": (spike("kind: Experiment", "kind: Deployment"), "'Deployment'"),
    "an unknown base": ("extends: spkie\nname: mine\n", "did you mean spike"),
    "a base of nothing": ("extends: ./none.yaml\nname: mine\n", "there is no file"),
    "a base with a NUL": ('extends: "./a\\0.yaml"\nname: mine\n', "there is no file"),
    "a base with an endless name": ("extends: " + "a" * 5000 + "\nname: mine\n", "no experiment is called"),
    "objectives with a NUL": (spike("objectives: default", 'objectives: "a\\0"'), "cannot be read"),
    "objectives with an endless name": (
        spike("objectives: default", "objectives: " + "a" * 5000),
        "too long",
    ),
    "a key that clears the screen": (SPIKE + '"\\e[2J": 1\n', "\\x1b[2J: unknown key"),
    "a key of two lines": (SPIKE + '"a\\nb": 1\n', "a\\nb: unknown key"),
    "objectives in a folder": (spike("objectives: default", "objectives: ."), "cannot be read"),
    "itself as a base": ("extends: bad.yaml\nname: mine\n", "goes round in a circle"),
    "objectives of nothing": (
        spike("objectives: default", "objectives: none.yaml"),
        "none.yaml: cannot be",
    ),
    "no space after a colon": (spike("kind: Experiment", "kind:Experiment"), "a key ends with `: `"),
    "a colon in a title": (spike("title: ", "title: Note: "), "`: ` in text without quotes"),
    "a line that is indented too far": (spike("  journeys:", "    journeys:"), "indented too far"),
    "text that begins with a sign": (spike("title: ", "title: %"), "quote the text"),
    "one phase's name twice": (
        spike("name: recovery", "name: spike"),
        "].name: the name 'spike' stands twice",
    ),
    "capitals in a name": (spike("name: spike\n", "name: Spike\n"), "'Spike' cannot be a name; use a-z"),
    "a dependency's name": (spike("on: vector_db", "on: vectordb"), "did you mean vector_db?"),
    "a kind of nothing": (spike("kind: latency", "kind: delay"), "kind 'delay'; allowed: abort"),
    "one fault without a list": (
        spike("faults: [slow-vector-db]}", "faults: slow-vector-db}"),
        "begin with `- `",
    ),
    "true as a number of runs": (SPIKE + "repeats: true\n", "repeats: true: must be a whole number"),
    "true as a seed": (spike("load:\n", "load:\n  seed: true\n"), "load.seed: true: must be a whole number"),
    "true as a weight": (spike("ask: 9", "ask: true"), "load.journeys.ask: true: must be a number"),
    "true as a number of samples": (
        spike("above: 50%", "above: 50%, min_samples: true"),
        "stop_when[0].min_samples: true: must be a whole number",
    ),
    "true as a number of probes": (
        spike("allow_probes: 3", "allow_probes: true"),
        "allow_probes: true: must be a whole number",
    ),
    "objectives as a number": (spike("objectives: default", "objectives: 3"), "must be `default`, the path"),
}


def test_a_list_is_not_called_short_because_its_items_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One mistake, one line; a list that is empty is still told."""
    wrong = "objectives: [{name: a, segment: journey, indicator: p95, target: '< 1s'}]"
    for text, lines in ((wrong, ["'< 1s' is not a target"]), ("objectives: []", ["at least 1 item"])):
        (tmp_path / "bad.yaml").write_text(spike("objectives: default", text))
        monkeypatch.setattr("sys.argv", ["ragquake", "run", str(tmp_path / "bad.yaml"), "--dry-run"])
        with pytest.raises(SystemExit):
            cli.main()
        err = capsys.readouterr().err.strip().splitlines()
        assert len(err) == len(lines) and all(said in one for said, one in zip(lines, err, strict=True))


@pytest.mark.parametrize("command", [["run", "--dry-run"], ["validate"]], ids=["run", "validate"])
@pytest.mark.parametrize("mistake", sorted(MISTAKES))
def test_a_mistake_is_told_and_nothing_starts(
    mistake: str,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One or more sentences with the file's name, exit 2, and nothing that looks like success."""
    text, said = MISTAKES[mistake]
    path = tmp_path / "bad.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ragquake", command[0], str(path), *command[1:]])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()

    assert ended.value.code == ExitCode.USAGE, err
    assert said in err and "bad.yaml" in err
    assert "Traceback" not in err and "✓" not in out
    assert [one.name for one in tmp_path.iterdir()] == ["bad.yaml"]


def test_the_file_of_these_mistakes_is_right_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Negative control for all of the above; a byte order mark and line ends of another system do no harm."""
    for number, text in enumerate((SPIKE, "\ufeff" + SPIKE, SPIKE.replace("\n", "\r\n"))):
        path = tmp_path / f"good{number}.yaml"
        path.write_text(text, encoding="utf-8", newline="")
        monkeypatch.setattr("sys.argv", ["ragquake", "validate", str(path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code == ExitCode.PASSED, err
        assert "✓" in out
