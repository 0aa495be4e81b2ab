"""`python -m bench.calibration` (`make calibration`): how near the simulator comes to what it simulates.

Two tables: the H100 presets beside the published curves, in virtual time; and a preset fitted to the tiny
model on real vLLM, which this starts, beside what was measured there.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.processes import ROOT
from chaos.clock import SystemClock
from chaos.stack.environment import child_environment
from chaos.stack.errors import StackError
from chaos.stack.model_servers import ModelServer
from chaos.stack.model_servers.vllm import TINY_MAX_NUM_SEQS, vllm
from chaos.stack.part import Part, PartPlan, wait_ready
from chaos.stack.ports import LOOPBACK, reserve_port
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
    print("The H100 presets beside the published curves (virtual time)\n")
    published = calibration(["curve", *([f"--plot={out / PUBLISHED_PLOT}"] if out else [])])
    print("\nA preset fitted to the tiny model on real vLLM, beside it\n", flush=True)
    try:
        with started(server) as url:
            flags = [f"--against={url}", f"--max-num-seqs={TINY_MAX_NUM_SEQS}", "--verify"]
            flags.append(f"--tolerance={options.tolerance}")
            if out is not None:
                flags += [f"--plot={out / CALIBRATED_PLOT}", f"--out={out / CALIBRATED_PRESET}"]
            live = calibration(["live", *flags])
    except StackError as error:
        print(f"error: {error}")
        return 4
    return live or published


@contextmanager
def started(server: ModelServer) -> Iterator[str]:
    """Its address, while the block lasts. Raises StackError when it does not start."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # which would leave it behind
    with tempfile.TemporaryDirectory(prefix="ragquake-bench-") as temporary:
        folder = Path(temporary)
        url = f"http://{LOOPBACK}:{(port := reserve_port())}"
        plan = PartPlan(
            name="llm",
            command=server.command_on(LOOPBACK, port),
            env=child_environment(os.environ, str(folder / "stack.json"), server.environment),
            url=url,
            ready_url=f"{url}/health",
            ready_timeout_s=server.ready_timeout_s,
        )
        part = Part.start(plan, folder)
        try:
            wait_ready([part], SystemClock())
            yield url
        finally:
            part.stop()


if __name__ == "__main__":
    raise SystemExit(main())
