"""A journey's file is named as the journey: experiments are checked by the files, Locust stays out."""

from __future__ import annotations

import json
import subprocess
import sys

from chaos.journeys_folder import known_journeys


def test_the_files_are_the_registered_journeys() -> None:
    """What an experiment may name is what the generator knows."""
    code = "import json; from journeys.journey import all_journeys; print(json.dumps(sorted(all_journeys())))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert tuple(json.loads(told.stdout.splitlines()[-1])) == known_journeys()
