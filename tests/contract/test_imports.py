"""Imports run one way between the packages, and every library that is imported is one that users get."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("rag_service", "chaos", "journeys", "slo")
# Libraries that come with one that pyproject names, and are part of that library's public face.
BROUGHT_ALONG = {
    "starlette": "fastapi",
    "opentelemetry-api": "opentelemetry-sdk",
    "gevent": "locust",
    "geventhttpclient": "locust",
    "torch": "sentence-transformers",
    "transformers": "sentence-transformers",
    "pydantic-core": "pydantic",
    "markupsafe": "jinja2",
}


def linted(config: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", str(config), "--no-cache"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def imported(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.split(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0], path


@pytest.mark.slow
def test_import_rules_hold() -> None:
    """The rules of the house (design, section 2) hold as import-linter reads them from pyproject."""
    done = linted(ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_broken_rule_is_found(tmp_path: Path) -> None:
    """Negative control: chaos imports slo, so a rule that forbids it must be reported as broken."""
    config = tmp_path / "rules.toml"
    config.write_text(
        '[tool.importlinter]\nroot_packages = ["chaos", "slo"]\n[[tool.importlinter.contracts]]\n'
        'name = "wrong on purpose"\ntype = "forbidden"\n'
        'source_modules = ["chaos"]\nforbidden_modules = ["slo"]\n'
    )
    done = linted(config)
    assert done.returncode == 1
    assert "wrong on purpose BROKEN" in done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_is_declared(package: str) -> None:
    """A library that is installed here by chance would be missing where ragquake is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    providers = metadata.packages_distributions()
    for module, path in imported(package):
        if module in sys.stdlib_module_names or module in PACKAGES:
            continue
        names = {canonicalize_name(name) for name in providers.get(module, [])}
        names |= {canonicalize_name(BROUGHT_ALONG.get(name, name)) for name in names}
        assert names & declared, f"{path.relative_to(ROOT)} imports {module}: not in pyproject"
