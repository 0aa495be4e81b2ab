"""`ragquake proxy` and what it refuses: a message that says what to do, a code, no traceback."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault_proxies import fault_proxy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
WAYS = {
    "module": [sys.executable, "-m", "chaos.proxy"],
    "ragquake": [sys.executable, "-c", "from chaos.cli import main; main()", "proxy"],
}


def run(way: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WAYS[way], *flags], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_port_in_use_is_said_with_what_to_do(way: str) -> None:
    """Code 4, the address, and the flag to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(way, "--port", str(port))
    assert done.returncode == 4
    assert f"127.0.0.1:{port}: bind: address already in use; choose another --port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "without a password allowed are localhost, 127.0.0.1 and ::1"),
        (["--port", "99999"], 2, "--port 99999: a port is a number from 0 to 65535"),
        (["--port", "-1"], 2, "--port -1: a port is a number from 0 to 65535"),
        (["--prot", "1"], 2, "unrecognized arguments"),
        (["--port", "0", "--evidence", "/"], 4, "name a file to write"),
        (["--port", "0", "--evidence", "/nowhere/at/all"], 4, "No such file or directory"),
    ],
)
def test_what_cannot_be_is_refused(flags: list[str], code: int, said: str) -> None:
    """Which value it was, and what is allowed."""
    done = run("module", *flags)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_help_shows_every_flag_and_an_example() -> None:
    """One screen is enough to start."""
    done = run("ragquake", "--help")
    assert done.returncode == 0
    for word in (
        "--host",
        "--port",
        "--seed",
        "--evidence",
        "Example: ragquake proxy",
        "usage: ragquake proxy",
    ):
        assert word in done.stdout


def test_it_prints_where_it_is_and_how_to_use_it(tmp_path: Path) -> None:
    """The address is the first line; the calls that follow can be copied."""
    with fault_proxy(tmp_path) as proxy:
        lines = proxy.log.read_text().splitlines()
        assert lines[0].endswith(f"listens on {proxy.api}")
        copied = lines[1].removeprefix("a proxy:").strip(), lines[2].removeprefix("a fault:").strip()
        for command in copied:
            done = subprocess.run(
                ["bash", "-c", command.replace("curl", "curl -sf")], capture_output=True, check=False
            )
            assert done.returncode == 0, command
        assert list(proxy.client.toxics("db")) == ["latency_downstream"]
