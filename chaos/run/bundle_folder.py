"""A run's folder, made and linked before anything starts, with the inputs that its verdict will need."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from ruamel.yaml import YAML

from chaos.clock import Clock
from chaos.experiment import LoadedExperiment


def new_bundle(runs: Path, experiment: str, clock: Clock) -> Path:
    """Make `runs/<time>-<experiment>-<id>/` and point `runs/latest` at it, in one step."""
    runs.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock.unix_s()))
    bundle = runs / f"{stamp}-{experiment}-{secrets.token_hex(3)}"
    bundle.mkdir()
    (bundle / "logs").mkdir()
    link = runs / f".latest-{os.getpid()}"
    link.symlink_to(bundle.name)
    link.replace(runs / "latest")
    return bundle


def write_inputs(bundle: Path, loaded: LoadedExperiment) -> None:
    """Write the experiment with its overrides applied, and the objectives that it will be judged by."""
    yaml = YAML()
    yaml.width = 100
    with (bundle / "experiment.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(loaded.document.data, file)
    with (bundle / "objectives.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(loaded.objectives.data(), file)
