"""The locks name what pyproject asks for, each with hashes, and tell nobody which mirror made them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("run", "dev", "uv", "vllm-cpu", "vllm-gpu")
ENTRY = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[\w.+!-]+)(?P<rest>(?:.*\\\n)*.*)$", re.MULTILINE)


def text_of(lock: str) -> str:
    return (ROOT / "requirements" / f"{lock}.lock").read_text()


def pinned(lock: str) -> dict[str, Version]:
    entries = ENTRY.finditer(text_of(lock))
    return {canonicalize_name(entry["name"]): Version(entry["version"]) for entry in entries}


def asked(*groups: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sources = {
        "run": project["project"]["dependencies"],
        "dev": project["project"]["optional-dependencies"]["dev"],
        "build": project["dependency-groups"]["build"],
    }
    return [Requirement(line) for group in groups for line in sources[group]]


@pytest.mark.parametrize(("lock", "groups"), [("run", ("run", "build")), ("dev", ("run", "dev", "build"))])
def test_lock_satisfies_pyproject(lock: str, groups: tuple[str, ...]) -> None:
    """Every dependency of pyproject is pinned in the lock, to a version that pyproject allows."""
    pins = pinned(lock)
    for requirement in asked(*groups):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not in requirements/{lock}.lock; make lock"
        assert requirement.specifier.contains(pins[name], prereleases=True), f"{requirement}: {pins[name]}"


def test_what_builds_the_project_is_what_pyproject_builds_with() -> None:
    """The build group holds the build system's own requirements, so that a build fetches nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {canonicalize_name(Requirement(line).name) for line in project["build-system"]["requires"]}
    assert wanted == {canonicalize_name(requirement.name) for requirement in asked("build")}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_has_hashes(lock: str) -> None:
    """A package without a hash could be swapped, so there is none."""
    entries = list(ENTRY.finditer(text_of(lock)))
    assert entries
    without = [entry["name"] for entry in entries if "--hash=sha256:" not in entry["rest"]]
    assert without == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_host_names(lock: str) -> None:
    """A lock works with whichever index or mirror a person uses, so it names none."""
    assert not re.search(r"https?://|--index|--find-links|--extra", text_of(lock))


def test_dev_is_a_superset_of_run() -> None:
    """Tests run against the very versions that users run."""
    run, dev = pinned("run"), pinned("dev")
    assert {name: dev.get(name) for name in run} == run
    assert len(dev) > len(run)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_understood(lock: str) -> None:
    """Negative control: an entry that the other tests' pattern would overlook fails here."""
    rest = ENTRY.sub("", text_of(lock))
    assert rest.strip() == ""
