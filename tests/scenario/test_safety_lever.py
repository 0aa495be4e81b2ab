"""`ragquake stop` at any moment of a run: it ends with 130, rolled back, and says why; no other starts."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.exit_codes import ExitCode
from tests.scenario.whole_run import BASELINE, RAGQUAKE, WholeRun, bundles, experiment, whole_run

pytestmark = pytest.mark.slow
ENDS_WITHIN_S = 30.0
"""2 s on a quiet machine; what is asserted is that it ends, and the time is printed."""
SLOW = {"slow": {"on": "vector_db", "kind": "latency", "latency": "500ms"}}
REASON = "a release goes out"
MOMENTS: dict[str, Callable[[WholeRun], bool]] = {
    "while the stack starts": lambda run: run.count("run.started") > 0 and "waiting for" in run.said,
    "with the fault in": lambda run: run.count("fault.verified") > 0,
    "while judging": lambda run: "judging" in run.said,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_lever_stops_a_run_at_any_moment(tmp_path: Path, stand_ins: Path, moment: str) -> None:
    """Nothing of it is left, the reason is told to it and to whoever wants to start the next one."""
    last = "1s" if moment == "while judging" else "300s"
    text = experiment(SLOW, [BASELINE, {"name": "fault", "for": last, "faults": ["slow"]}])
    with whole_run(tmp_path, stand_ins, text, {"RAGQUAKE_PROXY": "builtin"}) as run:
        run.wait_until(lambda: bool(bundles(run.runs)) and MOMENTS[moment](run), moment)
        pulled_s = time.monotonic()
        (tmp_path / "lever").write_text(REASON)
        assert run.process.wait(ENDS_WITHIN_S) == ExitCode.INTERRUPTED, run.said
        print(f"{moment}: ended {time.monotonic() - pulled_s:.1f} s after the lever was pulled")
        assert run.left() == []
        assert REASON in run.said and "Traceback" not in run.said
        [finished] = [entry for entry in run.journal() if entry["event"] == "run.finished"]
        assert finished["status"] == ("completed" if moment == "while judging" else "interrupted")
        refused = ask(tmp_path, "run", "smoke", "--runs", run.runs, "--state", tmp_path / "state")
        assert refused.returncode == ExitCode.ENVIRONMENT
        assert REASON in refused.stderr and "ragquake stop --release" in refused.stderr
        assert len(bundles(run.runs)) == 1
        assert REASON in ask(tmp_path, "stop", "--release").stdout
        assert not (tmp_path / "lever").exists()


def test_stop_waits_for_the_runs_and_names_them(tmp_path: Path, stand_ins: Path) -> None:
    """Whoever stops them wants to know when the machine is theirs."""
    text = experiment(SLOW, [BASELINE, {"name": "fault", "for": "300s", "faults": ["slow"]}])
    with whole_run(tmp_path, stand_ins, text, {"RAGQUAKE_PROXY": "builtin"}) as run:
        run.wait_until(lambda: run.count("fault.verified") > 0, "the fault")
        stopped = ask(tmp_path, "stop", REASON)
        assert stopped.returncode == ExitCode.PASSED, stopped.stdout + stopped.stderr
        assert str(run.bundle) in stopped.stdout and REASON in stopped.stdout
        assert run.left() == []
        assert run.process.wait(ENDS_WITHIN_S) == ExitCode.INTERRUPTED


def ask(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of somebody else on the same machine."""
    environment = {**os.environ, "RAGQUAKE_SAFETY_LEVER": str(folder / "lever")}
    return subprocess.run([RAGQUAKE, *words], env=environment, capture_output=True, text=True, timeout=120)
