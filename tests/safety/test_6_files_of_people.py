"""Files that try to be more than data, or more data than anybody can want; and values without a measure."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.experiment import load_experiment
from slo import objectives
from slo.bundle import read_yaml
from slo.documents import MAX_BYTES, DocumentError, read_document

LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "\n".join(
    f"{this}: &{this} [{','.join([f'*{last}'] * 9)}]"
    for last, this in zip("abcdefgh", "bcdefghi", strict=True)
)
PLAIN: dict[str, Any] = {
    "apiVersion": "ragquake/v1",
    "kind": "Experiment",
    "name": "plain",
    "title": "A plain one",
    "owner": "tests",
    "hypothesis": "It loads.",
    "load": {"baseline_rate": "4/s", "journeys": {"ask": 1}},
    "faults": {"slow": {"on": "vector_db", "kind": "latency", "latency": "1s"}},
    "phases": [{"name": "baseline", "for": "1s"}, {"name": "fault", "for": "1s", "faults": ["slow"]}],
    "stop_when": [{"segment": "journey", "indicator": "error_ratio", "above": "50%", "for": "5s"}],
}


def refused(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "file.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DocumentError) as told:
        load_experiment(path)
    said = "\n".join(told.value.problems)
    assert len(said) < 20_000, "a message that nobody can read"
    return said


def test_a_plain_file_loads(tmp_path: Path) -> None:
    """The negative control of all that is refused below."""
    path = tmp_path / "plain.yaml"
    path.write_text(json.dumps(PLAIN))
    assert load_experiment(path).experiment.name == "plain"


def test_laughter_that_grows_by_nine_is_cut_short(tmp_path: Path) -> None:
    """Nine lines of aliases would be 387 million values."""
    assert "values" in refused(tmp_path, LAUGHS)


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "&a [*a, *a]", "a: &a {<<: *a}"])
def test_a_value_that_contains_itself_ends(tmp_path: Path, text: str) -> None:
    """It has no end, and reading it has."""
    refused(tmp_path, text)


@pytest.mark.parametrize("text", ["[" * 50_000, "{a: " * 20_000, "- " * 50_000, "a: " + "[" * 40 + "]" * 40])
def test_a_depth_that_no_stack_has_room_for(tmp_path: Path, text: str) -> None:
    """Thirty steps are allowed; nothing of a user's is deeper than six."""
    refused(tmp_path, text)


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.system [touch broken-in]",
        "!!python/object/new:subprocess.Popen [[touch, broken-in]]",
        "!!python/name:os.system",
        "!!python/module:os",
        "!<tag:yaml.org,2002:python/object/apply:os.system> [touch broken-in]",
        "!!binary aGk=",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!timestamp 2001-01-01",
        "!mine x",
    ],
)
def test_no_tag_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tagged: str) -> None:
    """YAML's way to name a class, a function or a type: each is refused by its name, and nothing runs."""
    monkeypatch.chdir(tmp_path)
    assert "tag" in refused(tmp_path, f"name: {tagged}\n")
    assert not (tmp_path / "broken-in").exists()


def test_a_bundle_of_a_stranger_runs_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ragquake evaluate` reads what somebody sent."""
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("tag.yaml", "a: !!python/object/apply:os.system [touch broken-in]"),
        ("deep.yaml", "[" * 50_000),
        ("self.yaml", "a: &a [*a]"),
        ("laughs.yaml", LAUGHS),
        ("digits.yaml", f"a: {'9' * 5000}"),
    ):
        (tmp_path / name).write_text(text)
        assert read_yaml(tmp_path / name) == {}
    (tmp_path / "plain.yaml").write_text(json.dumps(PLAIN))
    assert read_yaml(tmp_path / "plain.yaml") == PLAIN
    assert not (tmp_path / "broken-in").exists()


def test_a_file_without_an_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    """Nor one of gigabytes: what is above the bound is not read at all."""
    with (tmp_path / "sparse.yaml").open("wb") as file:
        file.truncate(1 << 40)
    for endless in (Path("/dev/zero"), tmp_path / "sparse.yaml"):
        with pytest.raises(DocumentError, match=f"at most {MAX_BYTES}"):
            read_document(endless)
    with pytest.raises(DocumentError, match=f"at most {MAX_BYTES}"):
        objectives.load(Path("/dev/zero"))


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"\x00",
        b"a: \xc3\x28",
        b"a: b\x1b[2Jc",
        b"\xef\xbb\xbf",
        b"a: 1\na: 2",
        b"- 1",
        b"",
        b"7",
    ],
)
def test_bytes_that_are_no_text_are_told(tmp_path: Path, raw: bytes) -> None:
    """Terminal codes, too, which would be carried out when the value is shown."""
    assert "\x1b" not in refused(tmp_path, raw)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The plain experiment with one value at `a.b.0.c`."""
    whole = copy.deepcopy(PLAIN)
    *way, last = path.split(".")
    place: Any = whole
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return whole


MANY = [{"name": f"p{number}", "for": "1s"} for number in range(201)]


@pytest.mark.parametrize(
    ("path", "value", "bound"),
    [
        ("phases.0.for", "7h", "21600s"),
        ("phases.0.for", "0s", "21600s"),
        ("phases.0.for", "1e308h", "finite"),
        ("phases", MANY, "200"),
        ("phases.0.rate", "5000/s", "2000"),
        ("phases.0.rate", "1000000x", "2000"),
        ("load.baseline_rate", "5000/s", "2000"),
        ("load.baseline_rate", "-1/s", "2000"),
        ("load.max_in_flight", 1_000_000, "20000"),
        ("load.patience", "7h", "21600s"),
        ("load.journeys.ask", 1e12, "1000000"),
        ("load.seed", -1, "0"),
        ("load.seed", 10**40, "9007199254740992"),
        ("repeats", 10_000, "50"),
        ("stop_when.0.for", "7h", "21600s"),
        ("stop_when.0.above", "500%", "1"),
        ("faults.slow.latency", "100h", "10 m"),
        ("faults.slow.kind", "x" * 100_000, "no fault of kind"),
        ("name", "n" * 61, "60 characters"),
        ("title", "t" * 201, "200"),
        ("owner", "o" * 101, "100"),
        ("hypothesis", "h" * 2001, "2000"),
    ],
)
def test_each_measure_has_a_bound_and_says_so(tmp_path: Path, path: str, value: Any, bound: str) -> None:
    """Sizes, counts, rates and durations: what was given is refused with what is allowed."""
    said = refused(tmp_path, json.dumps(changed(path, value)))
    assert path.split(".")[0] in said and bound in said, said


def test_a_number_that_python_itself_does_not_read_is_told(tmp_path: Path) -> None:
    """More digits than it converts."""
    digits = "9" * (sys.get_int_max_str_digits() + 1)
    refused(tmp_path, json.dumps(PLAIN).replace('"ask": 1', f'"ask": {digits}'))
