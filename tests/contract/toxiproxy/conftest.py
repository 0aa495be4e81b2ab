"""Both servers behind one set of tests: what Toxiproxy 2.12 does, the built-in proxy must do too."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fault_proxies import FaultProxy, fault_proxy

KINDS = ("toxiproxy", "builtin")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each of both, for tests that start servers of their own."""
    return str(request.param)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., FaultProxy]]:
    """Starts a server that the test may break: `start_server(kind, *flags)`."""
    with contextlib.ExitStack() as stack:

        def start(kind: str, *flags: str, **more: Any) -> FaultProxy:
            return stack.enter_context(fault_proxy(tmp_path, *flags, kind=kind, **more))

        yield start


@pytest.fixture(scope="session", params=KINDS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    with fault_proxy(tmp_path_factory.mktemp("proxy"), kind=request.param) as server:
        yield server


@pytest.fixture
def server(running: FaultProxy) -> Iterator[FaultProxy]:
    """The server without any proxy, before and after."""
    yield running
    running.clean()
