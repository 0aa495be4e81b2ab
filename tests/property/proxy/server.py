"""The built-in proxy as a process under attack: started, watched, asked whether it is still well."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

ROOT = Path(__file__).parents[3]


@dataclass
class Attacked:
    """The process, its API and its log."""

    process: subprocess.Popen[bytes]
    api: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.api.rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        data = None if body is None else json.dumps(body)
        return requests.request(method, self.api + path, data=data, timeout=10)

    def assert_well(self) -> None:
        """It lives, answers a good request rightly, and nothing went wrong inside it."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        wanted = {"name": "good", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9", "enabled": False}
        made = self.ask("POST", "/proxies", wanted)
        assert (made.status_code, made.json()["name"]) == (201, "good"), made.text
        assert self.ask("DELETE", "/proxies/good").status_code == 204
        said = self.log.read_text("utf-8", "replace")
        assert "Traceback" not in said, said[-3000:]

    def clean(self) -> None:
        """Without the proxies that malformed requests made after all."""
        for name in self.ask("GET", "/proxies").json():
            self.ask("DELETE", f"/proxies/{requests.utils.quote(name, safe='')}")

    def memory_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def descriptors(self) -> int:
        return int(psutil.Process(self.process.pid).num_fds())


@contextlib.contextmanager
def attacked(folder: Path, *flags: str) -> Iterator[Attacked]:
    """The built-in proxy on a free port; ended with the block."""
    log = folder / "proxy.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "chaos.proxy", "--port", "0", *flags]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=out)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert "listens on " in line, log.read_text()
        yield Attacked(process, line.strip().rpartition(" ")[2], log)
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
