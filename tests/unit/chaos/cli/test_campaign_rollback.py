"""`ragquake rollback` of several runs: each of their folders, and nothing of anybody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaos.exit_codes import ExitCode
from chaos.run.campaign.record import FILE, CampaignRecord, RunRecord, folders_of
from chaos.run.journal import FILE_NAME, Journal, read
from slo.documents import DocumentError
from tests.unit.chaos.cli.test_strangers import Ragquake, ragquake  # noqa: F401 - a fixture

BEGAN_S = 1_790_000_000.0  # 2026-09-21T14:13:20Z
UNDO = {"do": "remove_toxic", "api": "http://127.0.0.1:1", "proxy": "vector_db", "toxic": "slow"}


def campaign(runs: Path, *told: dict[str, Any]) -> Path:
    """A campaign's folder that tells of these runs."""
    folder = runs / "20260921T141300Z-spike-aaaaaa.campaign"
    (folder / "stack-1").mkdir(parents=True)
    with Journal(folder / "stack-1" / FILE_NAME):
        pass
    common = {"experiment": "spike", "arm": "experiment", "role": "experiment", "seed": 1, "expect": "pass"}
    records = tuple(
        RunRecord(name=f"spike, {turn}", repeat=turn, **common, **one) for turn, one in enumerate(told, 1)
    )
    record = CampaignRecord(id=folder.name, kind="campaign", name="spike", started_at_s=BEGAN_S, runs=records)
    record.write(folder)
    return folder


def bundle(runs: Path, name: str) -> Path:
    """A bundle whose run was killed with a fault in."""
    with Journal(_made(runs / name) / FILE_NAME) as journal:
        journal.append("undo.declared", fault="slow", undo=UNDO)
    return runs / name


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_each_run_and_each_stack_is_rolled_back(ragquake: Ragquake, tmp_path: Path) -> None:  # noqa: F811
    """Also the run that was killed before its bundle's name could be told; not one from before it."""
    runs = tmp_path / "runs"
    ended = bundle(runs, "20260921T141310Z-spike-bbbbbb")
    killed = bundle(runs, "20260921T141320Z-spike-cccccc")
    before = bundle(runs, "20260921T141200Z-spike-dddddd")
    other = bundle(runs, "20260921T141330Z-steady-eeeeee")
    folder = campaign(
        runs,
        {"state": "done", "bundle": ended.name},
        {"state": "running", "started_at_s": BEGAN_S},
        {"state": "planned"},
    )
    assert folders_of(folder) == (folder / "stack-1", ended, killed)
    code, out, _ = ragquake("rollback", folder)
    assert code == ExitCode.PASSED
    assert ended.name in out and killed.name in out and before.name not in out
    for one, undone in ((ended, True), (killed, True), (before, False), (other, False)):
        assert ("rollback.finished" in [entry["event"] for entry in read(one / FILE_NAME)]) == undone


def test_a_campaign_whose_list_cannot_be_read_is_told(tmp_path: Path) -> None:
    """With what to do: its bundles stand beside it."""
    folder = campaign(tmp_path)
    (folder / FILE).write_text("{")
    with pytest.raises(DocumentError, match="unreadable; name the bundles themselves"):
        folders_of(folder)


def test_several_runs_are_no_bundle_to_judge(ragquake: Ragquake, tmp_path: Path) -> None:  # noqa: F811
    """`ragquake evaluate` of a campaign says where its bundles are."""
    folder = campaign(tmp_path)
    for command in ("evaluate", "report"):
        code, _, err = ragquake(command, folder)
        assert code == ExitCode.USAGE
        assert "several runs, not a bundle" in err and "summary.md" in err
