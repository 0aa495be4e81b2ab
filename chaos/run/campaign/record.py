"""`campaign.json`: which runs belonged together, what each came to, and what they came to in all.

Written anew whenever a run begins or ends, so that a campaign that was killed leaves a list of what it did.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chaos.exit_codes import ExitCode
from chaos.run.campaign.arms import PlannedRun, Role
from chaos.run.campaign.counting import PRECEDENCE, verdict_of_all
from slo.documents import DocumentError
from slo.verdict import EXIT_CODES, Verdicts

FILE = "campaign.json"
Kind = Literal["campaign", "suite"]
Status = Literal["running", "finished", "interrupted", "error"]
State = Literal["planned", "running", "done", "skipped"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunRecord(_Part):
    """One run: what it was to be, and what became of it. `bundle` is the name of its folder, beside ours."""

    name: str
    experiment: str
    arm: str
    role: Role
    repeat: int
    seed: int
    expect: Literal["pass", "fail"]
    because: tuple[str, ...] = ()
    state: State = "planned"
    status: str | None = None
    verdict: Verdicts | None = None
    counts_as: Verdicts | None = None
    sentence: str = ""
    bundle: str | None = None
    started_at_s: float | None = None
    took_s: float | None = None

    @classmethod
    def of(cls, planned: PlannedRun) -> RunRecord:
        """Before it begins."""
        control = planned.arm.control
        return cls(
            name=planned.name,
            experiment=planned.loaded.experiment.name,
            arm=planned.arm.name,
            role=planned.arm.role,
            repeat=planned.repeat,
            seed=planned.loaded.experiment.load.seed,
            expect="pass" if control is None else "fail",
            because=() if control is None else control.because,
        )


class CampaignRecord(_Part):
    """All of it. `verdict` stays inconclusive until the last run has ended."""

    schema_: Literal["ragquake/campaign/v1"] = Field(default="ragquake/campaign/v1", alias="schema")
    id: str
    kind: Kind
    name: str
    status: Status = "running"
    message: str = ""
    verdict: Verdicts = "inconclusive"
    exit_code: int = EXIT_CODES["inconclusive"]
    sentences: tuple[str, ...] = ()
    budget_s: float | None = None
    started_at_s: float
    took_s: float | None = None
    runs: tuple[RunRecord, ...]

    def with_run(self, index: int, **changes: Any) -> CampaignRecord:
        """The same with one run changed."""
        runs = list(self.runs)
        runs[index] = runs[index].model_copy(update=changes)
        return self.model_copy(update={"runs": tuple(runs)})

    def ended(self, status: Status, message: str, took_s: float) -> CampaignRecord:
        """With the verdict of all: what was never started or was cut short shows nothing."""
        counted: list[Verdicts] = [one.counts_as or "inconclusive" for one in self.runs]
        verdict = verdict_of_all([*counted, *(("error",) if status == "error" else ())])
        code = ExitCode.INTERRUPTED if status == "interrupted" else EXIT_CODES[verdict]
        done = self.model_copy(
            update={
                "status": status,
                "message": message,
                "verdict": verdict,
                "exit_code": int(code),
                "took_s": round(took_s, 3),
            }
        )
        return done.model_copy(update={"sentences": tuple(_sentences(done))})

    def write(self, folder: Path) -> None:
        """A reader sees the old file or the new one, never a half."""
        beside = folder / f"{FILE}.part"
        beside.write_text(self.to_json(), encoding="utf-8")
        beside.replace(folder / FILE)

    def to_json(self) -> str:
        plain = self.model_dump(mode="json", by_alias=True)
        return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_record(folder: Path) -> CampaignRecord:
    """What a folder's campaign.json says. Raises DocumentError when it cannot be read."""
    try:
        return CampaignRecord.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DocumentError(
            [f"{folder / FILE}: missing or unreadable; name the bundles themselves: ls {folder.parent}"]
        ) from None


def folders_of(folder: Path) -> tuple[Path, ...]:
    """The folders of a campaign that may have left something: its stacks, then its bundles.

    A run that was killed has not told its bundle's name; it is one that was made since the run began. Raises
    DocumentError.
    """
    runs = folder.resolve().parent
    found = sorted(one for one in folder.resolve().glob("stack-*") if one.is_dir())
    for one in read_record(folder).runs:
        if one.bundle is not None:
            found.append(runs / one.bundle)
        elif one.state == "running" and one.started_at_s is not None:
            since = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(one.started_at_s))
            made = [path for path in sorted(runs.glob(f"[0-9]*-{one.experiment}-*")) if path.name >= since]
            found += [path for path in made if not (path / FILE).is_file()]
    return tuple(dict.fromkeys(one for one in found if one.is_dir()))


def _sentences(record: CampaignRecord) -> list[str]:
    """The one reason that matters first, then the others, then how many runs were as they should be."""
    runs = record.runs
    good = sum(one.counts_as in ("pass", "warn") for one in runs)
    told = [record.message] if record.message else []
    told += [f"{one.name}: {one.sentence}" for one in _worst_first(runs)]
    return [*told, f"{good} of {len(runs)} runs came out as they should"]


def _worst_first(runs: Sequence[RunRecord]) -> list[RunRecord]:
    wrong = [one for one in runs if one.counts_as not in (None, "pass")]
    return sorted(wrong, key=lambda one: PRECEDENCE.index(one.counts_as or "inconclusive"))
