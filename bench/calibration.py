"""`python -m bench.calibration` (`make calibration`): how near the simulator comes to what it simulates.

Two tables: the H100 presets beside the published curves, in virtual time; and a preset fitted to the tiny
model on real vLLM, which this starts, beside what was measured there.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.processes import ROOT
from chaos.stack.errors import StackError
from chaos.stack.model_servers.alone import alone
from chaos.stack.model_servers.vllm import TINY_MAX_NUM_SEQS, vllm
from rag_service.model_server.calibration.__main__ import main as calibration

STATE = ROOT / ".ragquake"
PUBLISHED_PLOT = "simulator-published.svg"
CALIBRATED_PLOT = "simulator-calibrated.svg"
CALIBRATED_PRESET = "tiny-vllm.toml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 both hold, 1 one does not, 4 vLLM is not set up or did not start."""
    parser = argparse.ArgumentParser(prog="python -m bench.calibration", description=__doc__)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write both plots and the fitted preset there"
    )
    parser.add_argument("--tolerance", default="0.2", help="of the fitted preset (default: 0.2)")
    options = parser.parse_args(arguments)
    out: Path | None = options.out
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    try:
        server = vllm(STATE)
    except StackError as error:
        print(f"error: {error}")
        return 4
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that vLLM is ended, too
    print("The H100 presets beside the published curves (virtual time)\n")
    published = calibration(["curve", *([f"--plot={out / PUBLISHED_PLOT}"] if out else [])])
    print("\nA preset fitted to the tiny model on real vLLM, beside it\n", flush=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="ragquake-bench-") as folder,
            alone(server, Path(folder)) as llm,
        ):
            flags = [f"--against={llm.plan.url}", f"--max-num-seqs={TINY_MAX_NUM_SEQS}", "--verify"]
            flags.append(f"--tolerance={options.tolerance}")
            if out is not None:
                flags += [f"--plot={out / CALIBRATED_PLOT}", f"--out={out / CALIBRATED_PRESET}"]
            live = calibration(["live", *flags])
    except StackError as error:
        print(f"error: {error}")
        return 4
    return live or published


if __name__ == "__main__":
    raise SystemExit(main())
