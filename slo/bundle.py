"""What lies where in the folder that a run leaves behind, and how to read it after a crash at any byte.

The file names and keys are the contract of design section 9 and docs/reference/bundle.md. JSON-lines
files are append-only: a last line that was cut off is skipped and counted, because whoever was killed
while writing it may have taken more than that line. So is a line with NaN or Infinity in it: no writer of a
bundle makes one, and nothing that is compared with NaN is ever too large.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slo.documents import DocumentError, read_document


class BundleError(ValueError):
    """The folder is not a bundle, or a file in it cannot be read at all."""


@dataclass(frozen=True, slots=True)
class JsonLines:
    """The readable objects of a JSON-lines file, and how many lines were not."""

    records: tuple[dict[str, Any], ...]
    torn: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """The paths in one bundle. Nothing is read before it is asked for."""

    path: Path

    @classmethod
    def at(cls, path: Path | str | Bundle) -> Bundle:
        """The bundle in a folder. Raises BundleError when there is none."""
        if isinstance(path, Bundle):
            return path
        folder = Path(path)
        if not folder.is_dir():
            raise BundleError(f"{folder} is not a folder; give the bundle of a run, such as runs/latest")
        if not (folder / "journal.jsonl").exists():
            raise BundleError(f"{folder} has no journal.jsonl; a bundle is what `ragquake run` left in runs/")
        return cls(folder)

    @property
    def experiment(self) -> Path:
        """The experiment as it was resolved."""
        return self.path / "experiment.yaml"

    @property
    def objectives(self) -> Path:
        """The objectives that the run is judged by."""
        return self.path / "objectives.yaml"

    @property
    def stack(self) -> Path:
        """The processes under test."""
        return self.path / "stack.json"

    @property
    def journal(self) -> Path:
        """What the runner did, one fact a line."""
        return self.path / "journal.jsonl"

    @property
    def attempts(self) -> Path:
        """What the journeys saw, one attempt a line."""
        return self.path / "attempts.jsonl"

    @property
    def spool(self) -> Path:
        """The folder where the receiver appends OTLP bodies."""
        return self.path / "otlp"

    @property
    def verdict(self) -> Path:
        """The verdict."""
        return self.path / "verdict.json"

    def parquet(self, table: str) -> Path:
        """The Parquet file of a table: `spans`, `logs` or `resources`."""
        return self.path / f"{table}.parquet"

    def raw(self, table: str) -> Path:
        """The file that a table's Parquet is made from and that goes once it is complete."""
        if table == "resources":
            return self.path / "resources.jsonl"
        return self.spool / ("traces.binpb" if table == "spans" else f"{table}.binpb")


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_STRICT = json.JSONDecoder(parse_constant=_refused)


def read_json_lines(path: Path) -> JsonLines:
    """Every whole JSON object in a file; a missing file has none."""
    if not path.exists():
        return JsonLines((), 0)
    records: list[dict[str, Any]] = []
    torn = 0
    for line in path.read_bytes().split(b"\n"):
        if not line.strip():
            continue
        try:
            record = _STRICT.decode(line.decode("utf-8"))
        except ValueError:
            torn += 1
            continue
        if isinstance(record, dict):
            records.append(record)
        else:
            torn += 1
    return JsonLines(tuple(records), torn)


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object; empty when the file is missing or was cut off."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_yaml(path: Path) -> Mapping[str, Any]:
    """A YAML mapping, read as a person's file is; empty when it is missing, was cut off, or is none."""
    try:
        return read_document(path).data
    except DocumentError:
        return {}
