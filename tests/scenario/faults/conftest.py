"""One real part, the model server's simulator, in the stack's own hands; a client that never stops asking."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from chaos.control.controls import Controls
from chaos.control.fault_control import FaultControl
from chaos.control.toxiproxy import Toxiproxy
from chaos.faults import parse_fault
from chaos.processes import Processes
from chaos.run.journal import Journal, read
from chaos.stack.local import LocalStack
from chaos.stack.part import PartPlan
from chaos.stack.ports import reserve_port
from chaos.stack.proxy_choice import ProxyChoice

NO_PROXY = "http://127.0.0.1:9"


class OnePart(LocalStack):
    """A stack of a model server alone, started, recorded and stopped as in a whole one."""

    def _start(self) -> None:
        url = f"http://127.0.0.1:{reserve_port()}"
        port = url.rpartition(":")[2]
        command = (sys.executable, "-m", "rag_service.model_server", "--port", port, "--model", "tiny")
        self._launch(PartPlan("llm", command, self.child_environment(), url, f"{url}/health", nice=10))
        self.wait_again("llm")

    @property
    def url(self) -> str:
        return str(self.description.parts["llm"].url)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when it was sent and what came of it, `ok` or the name of the failure."""

    at_s: float
    end_s: float
    outcome: str


class Traffic(threading.Thread):
    """One request after the other on a new connection each; gives up after a third of a second."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.asked: list[Asked] = []
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            at_s = time.monotonic()
            try:
                with httpx.Client(timeout=0.3, trust_env=False) as client:
                    outcome = (
                        "ok" if client.get(f"{self.url}/health").status_code == 200 else "refused by the part"
                    )
            except httpx.HTTPError as error:
                outcome = type(error).__name__
            self.asked.append(Asked(at_s, time.monotonic(), outcome))
            self._over.wait(0.02)

    def stop(self) -> None:
        self._over.set()
        self.join()

    def outcomes(self, since_s: float, until_s: float) -> list[str]:
        """Of the requests that were sent and over within the stretch."""
        return [one.outcome for one in self.asked if since_s <= one.at_s and one.end_s <= until_s]

    def wait_for(self, outcome: str, since_s: float, within_s: float = 10.0) -> None:
        """Until a request that was sent after `since_s` came to that."""
        until_s = time.monotonic() + within_s
        while not any(one.outcome == outcome and one.at_s >= since_s for one in list(self.asked)):
            assert time.monotonic() < until_s, f"no {outcome!r} among {self.asked[-20:]}"
            time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Lab:
    """The part, its traffic, and the door for faults with a journal behind it."""

    stack: OnePart
    traffic: Traffic
    at: Controls
    folder: Path

    def control(self, **raw: object) -> FaultControl:
        """The run's own control with one fault, called `mine`, on the part."""
        fault = parse_fault("mine", {"on": "llm", **raw})
        return FaultControl({"mine": fault}, self.at, Journal(self.folder / "journal.jsonl"))

    def fact(self, event: str, key: str) -> dict[str, object]:
        """What the journal's last line of that event says under that key."""
        return dict(
            next(
                entry[key]
                for entry in reversed(read(self.folder / "journal.jsonl"))
                if entry["event"] == event
            )
        )


@pytest.fixture(scope="session")
def one_part(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnePart]:
    folder = tmp_path_factory.mktemp("one-part")
    with OnePart(
        folder=folder, index_dir=folder, proxy=ProxyChoice("toxiproxy", "a test", api=NO_PROXY)
    ) as stack:
        yield stack


@pytest.fixture
def lab(one_part: OnePart, tmp_path: Path) -> Iterator[Lab]:
    traffic = Traffic(one_part.url)
    traffic.start()
    traffic.wait_for("ok", 0.0)
    try:
        yield Lab(one_part, traffic, Controls(Toxiproxy(NO_PROXY), processes=Processes(one_part)), tmp_path)
    finally:
        traffic.stop()
