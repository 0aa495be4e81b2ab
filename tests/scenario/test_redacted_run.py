"""A whole run with `--redact`: none of the questions that were asked is anywhere in the bundle it leaves."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import duckdb
import pytest

from chaos.exit_codes import ExitCode
from tests.scenario.whole_run import BASELINE, RAGQUAKE, ROOT, experiment, whole_run

pytestmark = pytest.mark.slow
SLOW = {"slow": {"on": "vector_db", "kind": "latency", "latency": "300ms"}}


@pytest.mark.parametrize("redact", [True, False])
def test_a_bundle_without_texts_gives_the_same_verdict_again(
    tmp_path: Path, stand_ins: Path, redact: bool
) -> None:
    """Without the flag, the negative control, the questions that were asked are there."""
    text = experiment(SLOW, [BASELINE, {"name": "fault", "for": "2s", "faults": ["slow"]}])
    words = ["run", tmp_path / "everything.yaml", *(["--redact"] if redact else [])]
    with whole_run(tmp_path, stand_ins, text, {"RAGQUAKE_PROXY": "builtin"}, words=words) as run:
        assert run.process.wait(240) == ExitCode.INCONCLUSIVE, run.said
        attempts = [json.loads(line) for line in (run.bundle / "attempts.jsonl").read_text().splitlines()]
        golden = (ROOT / "journeys" / "golden_questions.jsonl").read_text().splitlines()
        kept = texts_in(run.bundle)

        assert len(attempts) > 5 and any(one["relevant"] for one in attempts)
        found = {question for line in golden if (question := json.loads(line)["question"]) in kept}
        assert found == (set() if redact else {one["question"] for one in attempts})
        before = (run.bundle / "verdict.json").read_bytes()
        command = [RAGQUAKE, "evaluate", run.bundle]
        again = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert again.returncode == ExitCode.INCONCLUSIVE, again.stderr
        assert (run.bundle / "verdict.json").read_bytes() == before


def texts_in(bundle: Path) -> str:
    """All that stands in a bundle, Parquet unpacked."""
    found = []
    for file in sorted(bundle.rglob("*")):
        if file.suffix == ".parquet":
            found += map(str, duckdb.sql(f"SELECT * FROM '{file}'").fetchall())
        elif file.is_file():
            found.append(file.read_bytes().decode("utf-8", "replace"))
    return "\n".join(found)
