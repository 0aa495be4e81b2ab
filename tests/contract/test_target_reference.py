"""docs/reference/target.md and the pages that show a target say what the model says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from chaos.stack.target import DependencyPlace, ServicePlace, TargetFile, TelemetryPlace, load_target
from slo.segments.foreign import read_table

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference" / "target.md"
PAGES = sorted((ROOT / "docs").glob("**/*.md"))


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def targets() -> list[tuple[Path, str]]:
    return [(page, one) for page in PAGES for one in blocks(page) if "kind: Target" in one]


@pytest.mark.parametrize(
    "model", [TargetFile, ServicePlace, DependencyPlace, TelemetryPlace], ids=lambda model: model.__name__
)
def test_every_key_is_in_the_reference(model: type[BaseModel]) -> None:
    """A row for each key that a target file may have."""
    rows = re.findall(r"^\| `(\w+)` \|", REFERENCE.read_text(), flags=re.MULTILINE)
    keys = {field.alias or name for name, field in model.model_fields.items()}
    assert keys <= set(rows), keys - set(rows)


def test_targets_that_are_shown_are_valid(tmp_path: Path) -> None:
    """Whoever copies one gets no complaint; the reference and the how-to each show one."""
    assert {page.name for page, _ in targets()} >= {"target.md", "attach-your-service.md"}
    for number, (_, block) in enumerate(targets()):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        assert load_target(file).name


def test_the_segment_table_that_is_shown_is_valid(tmp_path: Path) -> None:
    """And negative control: there is one."""
    shown = [one for one in blocks(REFERENCE) if one.startswith("segments:")]
    assert shown
    for block in shown:
        (tmp_path / "table.yaml").write_text(block)
        assert read_table(tmp_path / "table.yaml").behind("llm") == "generate"
