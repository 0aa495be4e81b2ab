"""What the documentation says is so: links lead somewhere, commands and targets exist, examples are valid."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from chaos.cli import app
from chaos.exit_codes import ExitCode
from chaos.experiment import Experiment, Load, Phase, load_experiment
from chaos.experiment.lint import lint
from chaos.faults import fault_kinds
from rag_service.segments.documents import COLLECTION

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
PAGE_NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=PAGE_NAMES)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def code(page: Path) -> Iterator[str]:
    """Code in a page, inline and in blocks, line by line."""
    text = page.read_text()
    for block in re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        yield from (line.split(" #")[0].strip() for line in block.splitlines())
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that exists, and every anchor a heading of it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(file), f"{target}: no such heading"


@EVERY_PAGE
def test_commands_exist(page: Path) -> None:
    """Every `ragquake COMMAND --flag` that a page shows is one that the command line takes."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for line in code(page):
        found = re.match(r"(?:\.venv/bin/)?ragquake ([a-z][a-z-]*)(.*)", line)
        if not found or "|" in line:
            continue
        assert found[1] in commands, line
        allowed = {flag for parameter in commands[found[1]].params for flag in parameter.opts} | {"--help"}
        used = {word.split("=")[0] for word in shlex.split(found[2]) if word.startswith("--")}
        assert used <= allowed, f"{line}: {used - allowed}"


@EVERY_PAGE
def test_make_targets_exist(page: Path) -> None:
    """Every `make TARGET` that a page shows is a target of the Makefile or runs an experiment that exists."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    experiments = {f"chaos-{path.stem}" for path in (ROOT / "chaos" / "experiments").glob("*.yaml")}
    for line in code(page):
        for target in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)(?:\s|$)", line):
            assert target in targets | experiments, line


@pytest.mark.parametrize("name", ["README.md", "docs/reference/exit-codes.md"])
def test_exit_codes_are_all_there(name: str) -> None:
    """Each exit code of the command is explained on the pages that explain them."""
    text = (ROOT / name).read_text()
    for exit_code in ExitCode:
        assert re.search(rf"\| {int(exit_code)} \||exit {int(exit_code)}\b|with {int(exit_code)}\b", text), (
            exit_code
        )


def test_every_command_is_in_the_reference() -> None:
    """docs/reference/cli.md lists each command."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    text = (ROOT / "docs/reference/cli.md").read_text()
    assert [name for name in commands if f"`ragquake {name}" not in text] == []


@pytest.mark.parametrize("model", [Experiment, Load, Phase], ids=lambda model: model.__name__)
def test_every_key_of_an_experiment_is_in_the_reference(model: type[Experiment | Load | Phase]) -> None:
    """docs/reference/experiment.md has a row for each key that an experiment may have."""
    rows = re.findall(
        r"^\| `(\w+)` \|", (ROOT / "docs/reference/experiment.md").read_text(), flags=re.MULTILINE
    )
    keys = {field.alias or name for name, field in model.model_fields.items()}
    assert keys <= set(rows), keys - set(rows)


@EVERY_PAGE
def test_experiments_shown_are_valid(page: Path, tmp_path: Path) -> None:
    """An experiment that a page shows whole is one that `ragquake validate` takes."""
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        document = YAML(typ="safe").load(block)
        if isinstance(document, dict) and document.get("kind") == "Experiment":
            file = tmp_path / "experiment.yaml"
            file.write_text(block)
            loaded = load_experiment(file)
            assert loaded.experiment.name == document["name"]
            assert lint(loaded) == []


def test_a_fault_that_is_shown_finds_its_requests() -> None:
    """The path of each example that `ragquake explain` shows is one that the reference service asks for."""
    asked = {
        "vector_db": f"/v1/collections/{COLLECTION}/search",
        "llm": "/v1/chat/completions",
    }
    for kind, fault in fault_kinds().items():
        example = next(line for line in (fault.__doc__ or "").splitlines() if f"kind: {kind}" in line)
        [(_, raw)] = YAML(typ="safe").load(example).items()
        if "path" in raw:
            assert fnmatchcase(asked[raw["on"]], raw["path"]), f"{kind}: nothing asks for {raw['path']}"


def test_an_experiment_is_shown() -> None:
    """Negative control for the test above: the how-to does show one."""
    assert "kind: Experiment" in (ROOT / "docs/how-to/own-experiment.md").read_text()
