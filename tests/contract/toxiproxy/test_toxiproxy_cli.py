"""The real `toxiproxy-cli` drives both servers: the same words, the same exit codes.

What it should print is written down once and held against Toxiproxy as well, so that a test cannot pass
because both are wrong.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
UP = "127.0.0.1:9"
Cli = Callable[..., tuple[int, str]]


@pytest.fixture
def cli(server: Any) -> Cli:
    """Runs `toxiproxy-cli` against the server; its exit code and what it printed."""
    here = ROOT / ".ragquake" / "bin" / "toxiproxy-cli"
    found = shutil.which("toxiproxy-cli") or (str(here) if here.exists() else None)
    if found is None:
        if os.environ.get("RAGQUAKE_PROXY") == "builtin":
            pytest.skip("RAGQUAKE_PROXY=builtin")
        pytest.fail("toxiproxy-cli is neither on PATH nor in .ragquake/bin; `make setup` gets it")

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [found, "--host", server.api, *words], capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    return run


@pytest.fixture
def listen(cli: Cli) -> str:
    """A proxy made with `create`; where it listens, which `list` says."""
    assert cli("create", "--listen", "127.0.0.1:0", "--upstream", UP, "p") == (0, "Created new proxy p")
    return cli("list")[1].split("\t")[1]


def test_list_without_a_proxy(cli: Cli) -> None:
    """Nothing is listed as nothing."""
    assert cli("list") == (0, "")


def test_create_and_list(cli: Cli, listen: str) -> None:
    """`list` shows name, both addresses, state and how many toxics there are."""
    assert listen.startswith("127.0.0.1:")
    assert not listen.endswith(":0")
    assert cli("list") == (0, f"p\t{listen}\t{UP}\tenabled\t0")


def test_create_twice(cli: Cli, listen: str) -> None:
    """A taken name is refused with the API's own words."""
    code, said = cli("create", "--listen", listen, "--upstream", UP, "p")
    assert (code, said) == (1, "Failed to create proxy: Create: HTTP 409: proxy already exists")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("nope", "listen tcp: address nope: missing port in address"),
        ("127.0.0.1:99999", "listen tcp: address 99999: invalid port"),
    ],
)
def test_create_where_nothing_can_listen(cli: Cli, address: str, why: str) -> None:
    """An address that cannot be is told as Go tells it."""
    said = cli("create", "--listen", address, "--upstream", UP, "q")
    assert said == (1, f"Failed to create proxy: Create: HTTP 500: {why}")


def test_create_on_a_taken_port(cli: Cli, listen: str) -> None:
    """A port in use is a 500, and the proxy is not made."""
    why = f"Create: HTTP 500: listen tcp {listen}: bind: address already in use"
    created = cli("create", "--listen", listen, "--upstream", UP, "q")
    assert created == (1, f"Failed to create proxy: {why}")
    assert cli("inspect", "q")[0] == 1


def test_inspect(cli: Cli, listen: str) -> None:  # noqa: ARG001 - the proxy of that fixture
    """`inspect` lists toxics, upstream first, with every attribute."""
    assert cli("inspect", "p") == (0, "")
    cli("toxic", "add", "--type", "latency", "-a", "latency=100", "-a", "jitter=5", "p")
    cli("toxic", "add", "-t", "bandwidth", "-n", "bw", "-u", "--tox", "0.5", "-a", "rate=10", "p")
    assert cli("inspect", "p") == (
        0,
        "bw\ttype=bandwidth\tstream=upstream\ttoxicity=0.50\tattributes=[\trate=10\t]\n"
        "latency_downstream\ttype=latency\tstream=downstream\ttoxicity=1.00\t"
        "attributes=[\tjitter=5\tlatency=100\t]",
    )


@pytest.mark.parametrize("command", [("inspect",), ("toggle",), ("delete",)])
def test_a_proxy_that_is_not_there(cli: Cli, command: tuple[str, ...]) -> None:
    """Whatever is asked of an unknown proxy, it says so and exits 1."""
    assert cli(*command, "no") == (1, "Failed to retrieve proxy no: HTTP 404: proxy not found")


def test_toggle(cli: Cli, listen: str) -> None:
    """Off, and on again at the same port."""
    assert cli("toggle", "p") == (0, "Proxy p is now disabled")
    assert cli("list") == (0, f"p\t{listen}\t{UP}\tdisabled\t0")
    assert cli("toggle", "p") == (0, "Proxy p is now enabled")
    assert cli("list") == (0, f"p\t{listen}\t{UP}\tenabled\t0")


def test_delete(cli: Cli, listen: str) -> None:  # noqa: ARG001
    """Deleted means gone."""
    assert cli("delete", "p") == (0, "Deleted proxy p")
    assert cli("list") == (0, "")


TOXICS = {
    "latency": {"latency": 100, "jitter": 50},
    "bandwidth": {"rate": 10},
    "slow_close": {"delay": 5},
    "timeout": {"timeout": 5},
    "reset_peer": {"timeout": 5},
    "slicer": {"average_size": 64, "size_variation": 32, "delay": 10},
    "limit_data": {"bytes": 5},
}


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
@pytest.mark.parametrize("kind", list(TOXICS))
def test_toxic_add_update_and_remove(cli: Cli, listen: str, server: Any, kind: str, stream: str) -> None:  # noqa: ARG001
    """Every toxic goes in, is changed and comes out, in both directions; the server holds what was said."""
    flags = [word for key, value in TOXICS[kind].items() for word in ("-a", f"{key}={value}")]
    name = f"{kind}_{stream}"
    added = cli("toxic", "add", "-t", kind, f"--{stream}", *flags, "p")
    assert added == (0, f"Added {stream} {kind} toxic '{name}' on proxy 'p'")
    assert server.ask("GET", f"/proxies/p/toxics/{name}").json()["attributes"] == TOXICS[kind]
    first, value = next(iter(TOXICS[kind].items()))
    updated = cli("toxic", "update", "-n", name, "--toxicity", "0.25", "-a", f"{first}={value + 1}", "p")
    assert updated == (0, f"Updated toxic '{name}' on proxy 'p'")
    toxic = server.ask("GET", f"/proxies/p/toxics/{name}").json()
    assert (toxic["toxicity"], toxic["attributes"][first]) == (0.25, value + 1)
    assert cli("toxic", "remove", "-n", name, "p") == (0, f"Removed toxic '{name}' on proxy 'p'")
    assert server.ask("GET", "/proxies/p/toxics").json() == []


def test_toxics_that_cannot_be(cli: Cli, listen: str) -> None:  # noqa: ARG001
    """Unknown types, taken names and unknown toxics are refused in the same words."""
    assert cli("toxic", "add", "-t", "nope", "p") == (
        1,
        "Failed to add toxic: failed to add toxic to proxy p: AddToxic: HTTP 400: invalid toxic type",
    )
    cli("toxic", "add", "-t", "noop", "p")
    assert cli("toxic", "add", "-t", "noop", "p") == (
        1,
        "Failed to add toxic: failed to add toxic to proxy p: AddToxic: HTTP 409: toxic already exists",
    )
    assert cli("toxic", "update", "-n", "no", "-a", "latency=1", "p") == (
        1,
        "Failed to update toxic: failed to update toxic 'no' of proxy 'p': HTTP 404: toxic not found",
    )
    assert cli("toxic", "remove", "-n", "no", "p") == (
        1,
        "Failed to remove toxic: failed to remove toxic 'no' from proxy 'p': HTTP 404: toxic not found",
    )


def test_documented_deviation_a_misspelt_attribute(cli: Cli, listen: str, server: Any) -> None:  # noqa: ARG001
    """Toxiproxy adds a toxic that does nothing; the built-in proxy says what is allowed."""
    code, said = cli("toxic", "add", "-t", "latency", "-a", "latncy=3", "p")
    if server.is_builtin:
        assert code == 1
        assert said.endswith("HTTP 400: latency has no attribute 'latncy'; allowed: latency, jitter")
    else:
        assert (code, said) == (0, "Added downstream latency toxic 'latency_downstream' on proxy 'p'")
