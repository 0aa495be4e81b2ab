"""The two model servers, each started once, as the stack starts it, with room for few and a short context.

The simulator always; vLLM where RAGQUAKE_TEST_VLLM=1 says so (`make test-vllm` sets it up first), because it
takes 6 GB and a minute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chaos.stack.model_servers import ModelServer, simulator
from chaos.stack.model_servers.alone import alone
from chaos.stack.model_servers.vllm import vllm
from tests.conformance.model_server.live import CHAT, MAX_MODEL_LEN, MAX_NUM_SEQS, TEXT, Live, eventually

STATE = Path(__file__).resolve().parents[3] / ".ragquake"
LIMITS = {"max-num-seqs": str(MAX_NUM_SEQS), "max-model-len": str(MAX_MODEL_LEN)}
PACE = {"model": "simulated", "first-token": "20ms", "token": "5ms", "seed": "1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them start real processes."""
    for item in items:
        if "conformance" in str(item.path):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", params=["simulator", "vllm"])
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp(request.param)
    server = choose(request.param)
    with (
        alone(server, folder) as part,
        httpx.Client(base_url=str(part.plan.url), timeout=60.0, trust_env=False) as client,
    ):
        yield Live(request.param, server.model, client)
        part.require_alive()


def choose(kind: str) -> ModelServer:
    if kind == "simulator":
        return simulator({**PACE, **LIMITS})
    if os.environ.get("RAGQUAKE_TEST_VLLM") != "1":
        pytest.skip("real vLLM is tested by `make test-vllm`")
    return vllm(
        STATE, more_flags=tuple(word for name, value in LIMITS.items() for word in (f"--{name}", value))
    )


@pytest.fixture
def server(started: Live) -> Iterator[Live]:
    """The server with nothing to do, before and after."""
    eventually(lambda: started.running + started.waiting == 0, "idle before")
    yield started
    eventually(lambda: started.running + started.waiting == 0, "idle after")


@pytest.fixture(params=[CHAT, TEXT], ids=["chat", "text"])
def path(request: pytest.FixtureRequest) -> str:
    """Both kinds of completions."""
    return str(request.param)
