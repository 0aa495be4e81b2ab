"""The built-in proxy as a process under attack: started, watched, asked whether it is still well."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.fault_proxies import FaultProxy, fault_proxy


class Attacked(FaultProxy):
    """A built-in proxy that must bear whatever comes."""

    @property
    def port(self) -> int:
        return self.address[1]

    def assert_well(self) -> None:
        """It lives, answers a good request rightly, and nothing went wrong inside it."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        wanted = {"name": "good", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9", "enabled": False}
        made = self.ask("POST", "/proxies", wanted)
        assert (made.status_code, made.json()["name"]) == (201, "good"), made.text
        assert self.ask("DELETE", "/proxies/good").status_code == 204
        said = self.log.read_text("utf-8", "replace")
        assert "Traceback" not in said, said[-3000:]

    def memory_bytes(self) -> int:
        return int(self.usage.memory_info().rss)

    def descriptors(self) -> int:
        return int(self.usage.num_fds())


@contextlib.contextmanager
def attacked(folder: Path, *flags: str) -> Iterator[Attacked]:
    """The built-in proxy on a free port; ended with the block."""
    with fault_proxy(folder, *flags) as proxy:
        yield Attacked(proxy.kind, proxy.api, proxy.process, proxy.log)
