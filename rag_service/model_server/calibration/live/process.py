"""The simulator with the fitted preset as a process of its own, for the same client to ask."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from rag_service.model_server import presets
from rag_service.model_server.calibration.live.errors import CalibrationError
from rag_service.model_server.presets import Preset

_LOOPBACK = "127.0.0.1"
_START_S = 60.0
_POLL_S = 0.1
_END_S = 5.0


@asynccontextmanager
async def simulator(preset: Preset) -> AsyncIterator[str]:
    """Its address, while the block lasts. Raises CalibrationError when it does not start."""
    with TemporaryDirectory(prefix="ragquake-calibrate-") as folder:
        file = Path(folder) / f"{preset.name}.toml"
        file.write_text(presets.render(preset), encoding="utf-8")
        log = Path(folder) / "log"
        port = _free_port()
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "rag_service.model_server", "--preset", str(file)),
                *("--host", _LOOPBACK, "--port", str(port)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            url = f"http://{_LOOPBACK}:{port}"
            await _ready(url, process, log)
            yield url
        finally:
            await _end(process)


async def _ready(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + _START_S
    async with aiohttp.ClientSession() as session:
        while loop.time() < ends_at and process.returncode is None:
            with suppress(aiohttp.ClientError, OSError):
                async with session.get(f"{url}/health") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(_POLL_S)
    said = log.read_text("utf-8", "replace").strip()[-500:]
    raise CalibrationError(f"the simulator did not start with the fitted preset: {said}")


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _END_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
