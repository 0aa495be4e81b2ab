"""A run's folder, made and linked before anything starts, with the inputs that its verdict will need.

It gets its name when experiment, objectives and the journal's first line are in it, so that a run that is
killed leaves a bundle that can be judged or none. What is left of the making (`.making-<pid>-…`) is taken
away by the next run.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path

import psutil
from ruamel.yaml import YAML

from chaos.clock import Clock
from chaos.experiment import LoadedExperiment
from chaos.run.journal import FILE_NAME, Journal
from chaos.run.run_facts import tell_start

_MAKING = ".making-"


def new_bundle(runs: Path, loaded: LoadedExperiment, clock: Clock) -> Path:
    """Make `runs/<time>-<experiment>-<id>/` with its inputs, then point `runs/latest` at it."""
    runs.mkdir(parents=True, exist_ok=True)
    clear_unfinished(runs)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock.unix_s()))
    bundle = runs / f"{stamp}-{loaded.experiment.name}-{secrets.token_hex(3)}"
    making = runs / f"{_MAKING}{os.getpid()}-{bundle.name}"
    (making / "logs").mkdir(parents=True)
    _write_inputs(making, loaded)
    with Journal(making / FILE_NAME, clock) as journal:
        tell_start(journal, bundle.name, loaded)
    making.rename(bundle)
    link = runs / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)  # of a killed process that had this pid before
    link.symlink_to(bundle.name)
    link.replace(runs / "latest")
    return bundle


def clear_unfinished(runs: Path) -> None:
    """Take away what runs left that were killed while they made their folders."""
    for making in runs.glob(f"{_MAKING}*"):
        pid = making.name.removeprefix(_MAKING).partition("-")[0]
        if not (pid.isdecimal() and int(pid) != os.getpid() and psutil.pid_exists(int(pid))):
            shutil.rmtree(making, ignore_errors=True)


def _write_inputs(bundle: Path, loaded: LoadedExperiment) -> None:
    """Write the experiment with its overrides applied, and the objectives that it will be judged by."""
    yaml = YAML()
    yaml.width = 100
    with (bundle / "experiment.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(loaded.standing_alone(), file)
    with (bundle / "objectives.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(loaded.objectives.data(), file)
