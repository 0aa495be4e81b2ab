"""The JSON Schemas under docs/reference/schema are those of the models, and agree with the command.

A schema may be laxer than `ragquake validate` (it knows no sums and no relations), never stricter: an editor
that marks a good file teaches people to ignore it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chaos.experiment import BUNDLED
from chaos.faults import fault_kinds
from chaos.schemas import DIALECT, SCHEMAS, as_text, schema_of
from slo.documents import DocumentError, parse_document, read_document
from slo.objectives import DEFAULT

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "reference" / "schema"
SPIKE = (BUNDLED / "spike.yaml").read_text()


def complaints(kind: str, data: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema_of(kind))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)]


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_the_committed_schema_is_the_models(kind: str) -> None:
    """`make reference` writes it anew after a change to a model."""
    schema = schema_of(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == DIALECT
    assert json.loads((FOLDER / f"{kind}.schema.json").read_text()) == schema
    assert (FOLDER / f"{kind}.schema.json").read_text() == as_text(schema)


def test_no_schema_is_left_over() -> None:
    """Each committed file is one that the command prints."""
    assert {path.name for path in FOLDER.iterdir()} == {f"{kind}.schema.json" for kind in SCHEMAS}


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_experiment_fits_the_schema(path: Path) -> None:
    """What runs is not marked as wrong."""
    assert complaints("experiment", read_document(path).data) == []


def test_the_default_objectives_fit_the_schema() -> None:
    """So do they."""
    assert complaints("objectives", read_document(DEFAULT).data) == []


@pytest.mark.parametrize("kind", sorted(fault_kinds()))
def test_every_example_of_a_fault_fits_the_schema(kind: str) -> None:
    """What `ragquake explain KIND` shows can be copied into a file without a mark."""
    example = next(
        line for line in (fault_kinds()[kind].__doc__ or "").splitlines() if f"kind: {kind}" in line
    )
    data = parse_document(SPIKE, Path("f")).data
    data["faults"] = parse_document(f"faults:\n  {example.strip()}\n", Path("f")).data["faults"]
    assert complaints("experiment", data) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rate: 10x", 'rate: "${peak}"'),
        ("rate: 10x", "rate: {ramp: [1x, '${peak}']}"),
        ("rate: 10x", "rate: {burst: [1x, 10x], every: 10s, lasting: 2s}"),
        ("latency: 2s", "ramp: {latency: [0s, 4s], over: 30s}"),
        ("latency: 2s", "latency: {lognormal: [2s, 0.5]}"),
        ("latency: 2s", "latency: 2s, flap: {on: 2s, off: 3s}"),
        ("apiVersion: ragquake/v1\nkind: Experiment\n", "extends: steady\n"),
        ("load:\n", "extends: steady\nservice: null\nload:\n"),
        ("owner: search-platform\n", "abstract: true\n"),
        ("judged: false", "judged: '${judged}'"),
    ],
)
def test_the_schema_takes_what_the_language_has(old: str, new: str) -> None:
    """Shapes, ramps, variables, bases and null are no mistakes."""
    assert old in SPIKE
    assert complaints("experiment", parse_document(SPIKE.replace(old, new), Path("f")).data) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("latency: 2s", "latncy: 2s"),
        ("kind: latency", "kind: latncy"),
        ("on: vector_db, kind", "on: vectordb, kind"),
        ("rate: 10x", "rate: ten"),
        ("rate: 10x", "rate: {rmp: [1x, 2x]}"),
        ("rate: 10x", "rate: {ramp: [1x]}"),
        ("for: 30s", "for: 30"),
        ("owner:", "onwer:"),
        ("owner: search-platform\n", ""),
        ("judged: false", "judged: sometimes"),
        ("breaker_opens", "breaker_open"),
        ("within: 10s", "within: 10"),
        ("ask:", "asks:"),
        ("indicator: error_ratio", "indicator: eror_ratio"),
        ("apiVersion: ragquake/v1", "apiVersion: v2"),
    ],
)
def test_the_schema_marks_common_mistakes(old: str, new: str) -> None:
    """Negative control for all of the above: the schema can say no."""
    assert old in SPIKE
    assert complaints("experiment", parse_document(SPIKE.replace(old, new), Path("f")).data) != []


def test_every_key_says_what_it_is() -> None:
    """An editor shows the description of what one types; kinds of faults say it once, for all."""
    schema = schema_of("experiment")
    parts = [
        schema,
        *(schema["$defs"][name] for name in ("Load", "Phase", "StopCondition", "NegativeControl")),
    ]
    silent = [
        key for part in parts for key, value in part["properties"].items() if "description" not in value
    ]
    assert silent == []


def test_an_unknown_kind_of_file_is_refused_with_what_there_is() -> None:
    """`ragquake schema experment` says what was meant."""
    with pytest.raises(DocumentError, match="did you mean experiment"):
        schema_of("experment")


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_experiment_leads_an_editor_to_its_schema(path: Path) -> None:
    """Whoever copies a file from the catalogue and opens it there gets completion at once."""
    first = path.read_text().splitlines()[0]
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert found and (path.parent / found[1]).resolve() == FOLDER / "experiment.schema.json"
