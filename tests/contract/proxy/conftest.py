"""The built-in proxy as a process, with what Toxiproxy does not have."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from tests.fault_proxies import FaultProxy, fault_proxy


@pytest.fixture(scope="session", autouse=True)
def descriptors() -> None:
    """Room for a thousand clients and their servers in this process, too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    with fault_proxy(tmp_path_factory.mktemp("builtin")) as running:
        yield running


@pytest.fixture
def builtin(running: FaultProxy) -> Iterator[FaultProxy]:
    """The proxy without anything in it, before and after."""
    yield running
    running.clean()
