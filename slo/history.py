"""What earlier runs found, in `runs/history.duckdb`: verdicts and breaking points.

Two runs can only be compared when they asked the same question of the same machine, so each row carries
a fingerprint of what was asked: the experiment, its phases, rates, faults and overrides, and the machine.
DuckDB takes one writer at a time; a history that another run is writing is waited for, briefly.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import duckdb

from slo.verdict import Verdict

FILE = "history.duckdb"
PATIENCE_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    run_id VARCHAR PRIMARY KEY, experiment VARCHAR, started_at_s DOUBLE, verdict VARCHAR,
    fingerprint VARCHAR, bundle VARCHAR, headline VARCHAR, document VARCHAR
);
CREATE TABLE IF NOT EXISTS breaking_points (
    found_at_s DOUBLE, experiment VARCHAR, parameter VARCHAR, last_good DOUBLE, first_bad DOUBLE,
    unit VARCHAR, broke_first VARCHAR, fingerprint VARCHAR, runs VARCHAR
);
CREATE TABLE IF NOT EXISTS campaigns (
    campaign_id VARCHAR PRIMARY KEY, name VARCHAR, started_at_s DOUBLE, verdict VARCHAR, folder VARCHAR,
    headline VARCHAR, runs VARCHAR
);
"""


@dataclass(frozen=True, slots=True)
class RecordedVerdict:
    """One run in the history."""

    run_id: str
    experiment: str | None
    started_at_s: float | None
    verdict: str
    fingerprint: str
    bundle: str
    headline: str


@dataclass(frozen=True, slots=True)
class BreakingPoint:
    """The bracket in which an experiment broke along one parameter; an end is None when it was not found."""

    found_at_s: float
    experiment: str
    parameter: str
    last_good: float | None
    first_bad: float | None
    unit: str
    broke_first: str | None
    fingerprint: str
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedCampaign:
    """Runs that belonged together; `runs` are the ids of those that were made."""

    campaign_id: str
    name: str
    started_at_s: float
    verdict: str
    folder: str
    headline: str
    runs: tuple[str, ...] = ()


class HistoryBusyError(RuntimeError):
    """Another process kept the history open for longer than we wait."""


class History:
    """The history in one file; every call opens and closes it, so that runs can share it."""

    def __init__(
        self,
        path: Path,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path = path
        self._monotonic_s, self._sleep = monotonic_s, sleep

    def record(self, verdict: Verdict, bundle: Path) -> None:
        """Keep a verdict; judging the same run again replaces it."""
        run = verdict.run
        # The first sentence of what passed says no more than that.
        told = verdict.sentences[1:] if verdict.verdict == "pass" else ()
        headline = next(iter(told or verdict.sentences), "")
        with self._open() as sql:
            sql.execute(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    run.id or bundle.name,
                    run.experiment,
                    run.started_at_s,
                    verdict.verdict,
                    fingerprint(verdict),
                    str(bundle),
                    headline,
                    verdict.to_json(),
                ],
            )

    def record_breaking_point(self, point: BreakingPoint) -> None:
        """Keep a breaking point."""
        with self._open() as sql:
            sql.execute(
                "INSERT INTO breaking_points VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    point.found_at_s,
                    point.experiment,
                    point.parameter,
                    point.last_good,
                    point.first_bad,
                    point.unit,
                    point.broke_first,
                    point.fingerprint,
                    json.dumps(point.runs),
                ],
            )

    def record_campaign(self, campaign: RecordedCampaign) -> None:
        """Keep what runs came to together; again replaces it."""
        with self._open() as sql:
            sql.execute(
                "INSERT OR REPLACE INTO campaigns VALUES (?, ?, ?, ?, ?, ?, ?)",
                [*astuple(campaign)[:-1], json.dumps(campaign.runs)],
            )

    def campaigns(self) -> tuple[RecordedCampaign, ...]:
        """All of them, newest first."""
        if not self.path.exists():
            return ()
        with self._open() as sql:
            rows = sql.execute("SELECT * FROM campaigns ORDER BY started_at_s DESC, campaign_id").fetchall()
        names = [field.name for field in fields(RecordedCampaign)]
        return tuple(
            RecordedCampaign(**dict(zip(names, (*values, tuple(json.loads(runs))), strict=True)))
            for *values, runs in rows
        )

    def verdicts(self, experiment: str | None = None, limit: int = 50) -> tuple[RecordedVerdict, ...]:
        """The latest runs, newest first."""
        if not self.path.exists():
            return ()
        with self._open() as sql:
            rows = sql.execute(
                "SELECT run_id, experiment, started_at_s, verdict, fingerprint, bundle, headline"
                " FROM verdicts WHERE $1 IS NULL OR experiment = $1"
                " ORDER BY started_at_s DESC NULLS LAST, run_id LIMIT $2",
                [experiment, limit],
            ).fetchall()
        return tuple(RecordedVerdict(*row) for row in rows)

    def verdict_of(self, run_id: str) -> Verdict | None:
        """The whole verdict of one run."""
        if not self.path.exists():
            return None
        with self._open() as sql:
            rows = sql.execute("SELECT document FROM verdicts WHERE run_id = ?", [run_id]).fetchall()
        return Verdict.from_json(rows[0][0]) if rows else None

    def breaking_points(self, experiment: str | None = None) -> tuple[BreakingPoint, ...]:
        """All breaking points, newest first."""
        if not self.path.exists():
            return ()
        with self._open() as sql:
            rows = sql.execute(
                "SELECT * FROM breaking_points WHERE $1 IS NULL OR experiment = $1"
                " ORDER BY found_at_s DESC, parameter",
                [experiment],
            ).fetchall()
        names = [field.name for field in fields(BreakingPoint)]
        return tuple(
            BreakingPoint(**dict(zip(names, (*values, tuple(json.loads(runs))), strict=True)))
            for *values, runs in rows
        )

    @contextmanager
    def _open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        until_s = self._monotonic_s() + PATIENCE_S
        while True:
            try:
                sql = duckdb.connect(str(self.path))
                break
            except duckdb.IOException as error:
                if self._monotonic_s() >= until_s:
                    raise HistoryBusyError(f"{self.path} cannot be opened: {error}") from error
                self._sleep(0.1)
        with sql:
            sql.execute(_SCHEMA)
            yield sql


def fingerprint(verdict: Verdict) -> str:
    """Equal for runs that can be compared: same question, same machine, same model."""
    model_server = verdict.environment.get("model_server") or {}
    asked = {
        "experiment": verdict.run.experiment,
        "overrides": sorted(verdict.run.overrides),
        "phases": [
            [one.name, one.end_s - one.start_s, one.rate_per_s, list(one.faults)] for one in verdict.phases
        ],
        "faults": [[one.name, one.on, one.kind, one.parameters] for one in verdict.faults],
        "machine": verdict.environment.get("machine"),
        "model": [model_server.get("kind"), model_server.get("model")],
    }
    if target := verdict.environment.get("target"):
        asked["target"] = target  # another service than the one that a run starts itself
    text = json.dumps(asked, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
