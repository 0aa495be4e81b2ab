"""`python -m rag_service.model_server.calibration live`, which `ragquake calibrate` runs."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import Any, TextIO

from rag_service.model_server import presets
from rag_service.model_server.calibration import plots
from rag_service.model_server.calibration.live.calibrate import Found, calibrate
from rag_service.model_server.calibration.live.comparison import table
from rag_service.model_server.calibration.live.errors import CalibrationError
from rag_service.model_server.calibration.live.options import MOST_SEED, Options
from rag_service.model_server.calibration.live.progress import Progress
from rag_service.model_server.presets import Preset


def run(
    options: Options,
    clock: Callable[[], float] = time.perf_counter,
    today: Callable[[], datetime] = lambda: datetime.now(UTC),
    new_seed: Callable[[], int] = lambda: SystemRandom().randint(0, MOST_SEED),
    said: TextIO | None = None,
) -> int:
    """Exit codes: 0 every figure is within the tolerance, 1 one is not, 4 the server cannot be measured."""
    progress = Progress(said or sys.stderr, clock)
    try:
        seed = new_seed() if options.seed is None else options.seed
        found = asyncio.run(calibrate(options, seed, clock, progress))
    except CalibrationError as error:
        progress.end()
        print(f"error: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        progress.end()
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    progress.end()
    preset = replace(found.preset, source=source(found, options, today()))
    title = f"{preset.title}: measured and simulated"
    _write(options.out, presets.render(preset))
    _write(options.plot, plots.of_calibration(found.comparison, title))
    _write(options.json, json.dumps(record(preset, found, options), indent=1) + "\n")
    print(table(found.comparison, options.tolerance))
    for name, value in asdict(preset.cost).items():
        print(f"  {name} = {value:g}")
    for file in (options.out, options.plot, options.json):
        if file is not None:
            print(f"written: {file}")
    worst = found.comparison.worst
    largest = f"the largest error is {worst.error_ratio:.1%} ({worst.name} at {worst.concurrency} at a time)"
    beyond = found.comparison.beyond(options.tolerance)
    if beyond:
        count = f"{len(beyond)} of {len(found.comparison.rows)} figures"
        print(f"{count} are beyond {options.tolerance:.0%}; {largest}")
        return 1
    print(f"every figure is within {options.tolerance:.0%}; {largest}")
    return 0


def source(found: Found, options: Options, on: datetime) -> str:
    """Where the figures are from, in a sentence: what a preset's readers need to judge it."""
    counts = ", ".join(str(one.level.count) for one in found.measured)
    callers = ", ".join(map(str, options.concurrency))
    return (
        f"measured on {on:%Y-%m-%d}, server version {found.described.version or 'unknown'}, model "
        f"{found.described.model}: {counts} requests at {callers} at a time, prompts of "
        f"{options.prompt_tokens} tokens, answers of {options.max_tokens}, seed {found.seed}; "
        f"the fit misses p50 and p95 of first token and token time by {found.comparison.rms_ratio:.1%} "
        f"(root mean square), "
        f"{found.comparison.worst.error_ratio:.1%} at most"
    )


def record(preset: Preset, found: Found, options: Options) -> dict[str, Any]:
    """All of it for machines; times in seconds."""
    return {
        "source": preset.source,
        "server": asdict(found.described),
        "cost": asdict(preset.cost),
        "limits": asdict(preset.limits),
        "tolerance_ratio": options.tolerance,
        "seed": found.seed,
        "rows": [
            asdict(row)
            | {
                "simulated_error_ratio": row.simulated_error_ratio,
                "served_error_ratio": row.served_error_ratio,
            }
            for row in found.comparison.rows
        ],
        "samples": {
            str(one.level.concurrency): [astuple(sample) for sample in one.counted] for one in found.measured
        },
    }


def _write(file: Path | None, text: str) -> None:
    if file is not None:
        file.write_text(text, encoding="utf-8")
