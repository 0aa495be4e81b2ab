"""Another service's spans: a table of its own, in an objectives file, in a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slo import objectives
from slo.bundle import Bundle
from slo.documents import DocumentError
from slo.objectives import load, load_default, table_of
from slo.segments.foreign import NO_SPAN, read_table

TABLE = """
segments:
  request: {kind: [Server], name: ["POST /chat"]}
  generate: {attributes: {openinference.span.kind: [LLM]}, guarded_by: llm}
breakers: {name: ["cb *"]}
"""
OBJECTIVES = """
apiVersion: ragquake/v1
kind: Objectives
segments: spans.yaml
objectives:
  - {name: fast, segment: generate, indicator: p95, target: "<= 1s"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spans.yaml").write_text(TABLE)
    (tmp_path / "objectives.yaml").write_text(OBJECTIVES)
    return tmp_path


def test_a_table_names_the_spans_of_the_segments_that_a_service_has(folder: Path) -> None:
    """What it leaves out is there and has no span: said to be undecided, not a crash."""
    table = read_table(folder / "spans.yaml")
    assert table.segments["request"].name == ("POST /chat",)
    assert table.behind("llm") == "generate"
    assert table.segments["search"] == NO_SPAN
    assert list(table.segments) == list(load_default().table.segments)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE.replace("generate:", "generation:"), r"spans.yaml:4: .*'generation'.*did you mean generate"),
        (TABLE.replace("request:", "context:"), "request is required"),
        (TABLE.replace("name:", "names:"), "unknown key"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(folder: Path, text: str, said: str) -> None:
    """A misspelt segment would have no evidence, and nobody would know why."""
    (folder / "spans.yaml").write_text(text)
    with pytest.raises(DocumentError, match=said):
        read_table(folder / "spans.yaml")


def test_objectives_name_a_table_beside_them(folder: Path) -> None:
    """And a missing one is named in the message."""
    assert load(folder / "objectives.yaml").table.segments["request"].name == ("POST /chat",)
    (folder / "spans.yaml").unlink()
    with pytest.raises(DocumentError, match=r"spans\.yaml: cannot be read"):
        load(folder / "objectives.yaml")


def test_the_copy_in_the_bundle_has_the_table_itself(folder: Path) -> None:
    """A bundle is judged from itself alone, so the table goes with it and reads back the same."""
    for meant in (load(folder / "objectives.yaml"), load_default().over(read_table(folder / "spans.yaml"))):
        copy = folder / "bundle" / "objectives.yaml"
        copy.parent.mkdir(exist_ok=True)
        with copy.open("w") as file:
            YAML().dump(meant.data(), file)
        assert objectives.load(copy).table == meant.table
        assert table_of(Bundle(copy.parent)) == meant.table


def test_without_a_table_the_default_one_is_meant(tmp_path: Path) -> None:
    """Also where a crash left objectives that cannot be read."""
    assert load_default().data()["segments"] == "default"
    assert table_of(Bundle(tmp_path)) == load_default().table
