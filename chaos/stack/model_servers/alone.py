"""One model server by itself, without a stack around it: what tests and benchmarks ask directly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.clock import SystemClock
from chaos.stack.description import FILE_NAME
from chaos.stack.environment import child_environment
from chaos.stack.model_servers.model_server import READY_PATH, ModelServer
from chaos.stack.part import Part, PartPlan, wait_ready
from chaos.stack.ports import LOOPBACK, reserve_port


@contextmanager
def alone(server: ModelServer, folder: Path, nice: int = 0) -> Iterator[Part]:
    """Its process, ready at `plan.url`, while the block lasts; FOLDER gets its log and marks its processes.

    Raises StackError when it does not start.
    """
    port = reserve_port()
    url = f"http://{LOOPBACK}:{port}"
    plan = PartPlan(
        name="llm",
        command=server.command_on(LOOPBACK, port),
        env=child_environment(os.environ, str(folder / FILE_NAME), server.environment),
        url=url,
        ready_url=url + READY_PATH,
        ready_timeout_s=server.ready_timeout_s,
        nice=nice,
    )
    part = Part.start(plan, folder)
    try:
        wait_ready([part], SystemClock())
        yield part
    finally:
        part.stop()
