"""The plan that journeys get, and how the runner notices that they are not there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.errors import EnvironmentFailure
from chaos.experiment import find_experiment, load_experiment
from chaos.run.load import JourneysProcess, LoadFiles, command, plan_for
from tests.clocks import SteppingClock


@pytest.fixture
def files(tmp_path: Path) -> LoadFiles:
    (tmp_path / "logs").mkdir()
    return LoadFiles.in_bundle(tmp_path)


def test_the_plan_is_one_that_journeys_accept(files: LoadFiles) -> None:
    """Both sides of the door agree on every key (docs/design/0001, section 3)."""
    loaded = load_experiment(find_experiment("spike"))
    files.plan.write_text(json.dumps(plan_for(loaded, "r1", "http://127.0.0.1:8080", files)))

    code = "import sys, pathlib, journeys.plan as plan; plan.load_plan(pathlib.Path(sys.argv[1]))"
    checked = subprocess.run([sys.executable, "-c", code, str(files.plan)], capture_output=True, text=True)

    assert checked.returncode == 0, checked.stderr


def test_the_start_is_told_in_one_piece_and_lies_ahead(files: LoadFiles) -> None:
    """t0 is far enough ahead for the generator to see it before it comes."""
    clock = SteppingClock(1000.0)
    t0_s = JourneysProcess(files, clock).begin()

    assert json.loads(files.start.read_text()) == {"t0_s": t0_s}
    assert t0_s > clock.unix_s()


def test_a_generator_that_never_gets_ready_is_given_up(files: LoadFiles) -> None:
    """The runner does not wait for ever, and says where to look."""
    with pytest.raises(EnvironmentFailure, match=r"journeys\.log"):
        JourneysProcess(files, SteppingClock(1000.0)).wait_ready()


@pytest.mark.parametrize("code", [0, 2, -9])
def test_a_generator_that_has_driven_its_schedule_may_end_before_the_last_phase_is_seen_to(
    files: LoadFiles, code: int
) -> None:
    """Exit 0 is the end of the schedule, whenever a busy runner looks; before the start it is none."""
    journeys = JourneysProcess(files, SteppingClock(1000.0))
    end = "raise SystemExit(0)" if code == 0 else f"import os; os.kill(os.getpid(), {-code})"
    journeys.process = subprocess.Popen([sys.executable, "-c", end if code <= 0 else "raise SystemExit(2)"])
    journeys.process.wait()
    files.log.write_text("")
    if code == 0:
        journeys.check_alive()
    else:
        with pytest.raises(EnvironmentFailure, match=f"ended early .exit {code}."):
            journeys.check_alive()
    with pytest.raises(EnvironmentFailure, match="ended early"):
        journeys.wait_ready()


def test_a_generator_that_died_is_noticed_with_the_end_of_its_log(files: LoadFiles) -> None:
    """What it said last is what the person at the terminal needs."""
    journeys = JourneysProcess(files, SteppingClock(1000.0))
    journeys.process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"])
    journeys.process.wait()
    files.log.write_text("the plan is wrong\n")

    with pytest.raises(EnvironmentFailure, match=r"exit 2.*\n.*the plan is wrong"):
        journeys.wait_ready()


def test_locust_is_started_headless_and_quiet() -> None:
    """No web page, no table every few seconds in the log."""
    line = command("http://127.0.0.1:8080")

    assert {"--headless", "--only-summary"} <= set(line)
    assert line[line.index("-f") + 1].endswith("locustfile.py")


def test_a_generator_is_stopped_also_when_it_was_suspended(files: LoadFiles) -> None:
    """It is asked, not killed, so that it can close its attempts; and its end is then no surprise."""
    journeys = JourneysProcess(files, SteppingClock(1000.0))
    journeys.stop()
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    line = [sys.executable, "-c", f"{code}; print(flush=True); time.sleep(300)"]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read(1)
        process.send_signal(signal.SIGSTOP)
        journeys.process = process
        journeys.stop()
        assert process.wait(60) == 7
    journeys.check_alive()
    journeys.stop()
    assert journeys.ended() == 7
