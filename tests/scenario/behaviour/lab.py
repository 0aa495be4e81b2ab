"""The parts that scenarios disturb: real processes on loopback, started once, and services forked per arm.

    client → service → fault proxy → vector DB
                                   → model server (whose own faults are told over its admin API)

The fault proxy is Toxiproxy or the built-in one; both stand in front of the same vector DB and model servers.
Breakers are shortened (1 s open instead of 5) so that an arm takes seconds, and kept answers are off, so that
the rung below shows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from chaos.clock import SystemClock
from chaos.control.toxiproxy import Toxiproxy
from chaos.stack.environment import child_environment
from chaos.stack.part import Part, PartPlan, wait_ready
from chaos.stack.ports import reserve_port
from chaos.stack.proxy_choice import ProxyChoice
from rag_service import settings as service_settings
from slo.receiver import Receiver
from tests.scenario.behaviour import corpus, spool
from tests.scenario.behaviour.evidence import Evidence
from tests.scenario.behaviour.parts import LOOPBACK, ModelServer, Proxy, Upstream
from tests.scenario.behaviour.service import Service

MODEL = "simulated"
START_S = 90.0
"""sentence-transformers takes 10 to 20 s to import, more on a busy machine."""
FREE_WITHIN_S = 1.0

#: Shorter breakers than the defaults, so that an arm sees them open and close; and an embedder that may be
#: slow, because a busy machine is not the fault that most scenarios are about.
QUICK = {
    "RAG_EMBED__QUEUE_DEADLINE_S": "1",
    "RAG_EMBED__ATTEMPT_S": "1.5",
    "RAG_CACHE__WHEN": "never",
    "RAG_BREAKER__WINDOW_S": "5",
    "RAG_BREAKER__MIN_CALLS": "6",
    "RAG_BREAKER__OPEN_S": "1",
    "RAG_BREAKER__MAX_OPEN_S": "2",
}


@dataclass
class Lab:
    """Everything that runs for a session."""

    folder: Path
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    _zygote: subprocess.Popen[str] | None = None
    _arms: int = 0

    @property
    def index_dir(self) -> Path:
        return self.folder / "index"

    def copy_of_index(self, name: str) -> Path:
        """An index folder of its own for a part that changes it."""
        return Path(shutil.copytree(self.index_dir, self.folder / name))

    @property
    def received(self) -> Path:
        """What the last service exported."""
        return self.folder / f"arm-{self._arms}"

    def document_ids(self) -> list[str]:
        """The ids of all documents."""
        return [document["id"] for document in corpus.documents()]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return child_environment(os.environ, str(self.folder / "stack.json"), extra)

    def start_upstream(self, name: str, *command: str, ready: str) -> Upstream:
        """A dependency as a process of its own, ready."""
        port = reserve_port()
        line = (sys.executable, "-m", *command, "--host", LOOPBACK, "--port", str(port))
        url = f"http://{LOOPBACK}:{port}"
        part = self._start(PartPlan(name, line, self.environment(), url=url, ready_url=f"{url}{ready}"))
        self.upstreams[name] = Upstream(name, port, part)
        return self.upstreams[name]

    def start_vector_db(self, name: str, index_dir: Path) -> Upstream:
        return self.start_upstream(name, "rag_service.vector_db", "--index", str(index_dir), ready="/healthz")

    def start_model_server(self, name: str, **options: str) -> Upstream:
        flags = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
        return self.start_upstream(
            name, "rag_service.model_server", "--model", MODEL, *flags, ready="/health"
        )

    def start_proxy(self, choice: ProxyChoice) -> Proxy:
        """A fault proxy with a listener for each upstream that runs."""
        api = reserve_port()
        url = f"http://{LOOPBACK}:{api}"
        command = choice.command_on(LOOPBACK, api)
        plan = PartPlan(f"proxy-{choice.kind}", command, self.environment(), ready_url=f"{url}/version")
        self._start(plan)
        client = Toxiproxy(url)
        upstreams = {name: upstream.address for name, upstream in self.upstreams.items()}
        listen = {name: reserve_port() for name in upstreams}
        for name, address in upstreams.items():
            client.create_proxy(name, f"{LOOPBACK}:{listen[name]}", address)
        return Proxy(choice.kind, client, listen, upstreams)

    def start_zygote(self) -> None:
        """The process that services are forked from. Returns when it is ready."""
        log = (self.folder / "zygote.log").open("ab")
        self._zygote = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert self._zygote.stdout is not None
        line = self._zygote.stdout.readline()
        assert line == "ready\n", (self.folder / "zygote.log").read_text()

    def ingest(self, corpus: Path, out: Path) -> None:
        """`python -m rag_service.ingest` to its end."""
        log = self.folder / f"ingest-{out.name}.log"
        code = self._ask_zygote({"ingest": ["--corpus", str(corpus), "--out", str(out)], "log": str(log)})
        assert code == 0, log.read_text()

    @contextmanager
    def service(
        self,
        proxy: Proxy,
        *,
        arm: str = "on",
        index_dir: Path | None = None,
        llm: str = "llm",
        vector_db: str = "vector_db",
        sabotage: str | None = None,
        **settings: object,
    ) -> Iterator[Service]:
        """A service of its own; `search__attempt_s=0.1` is RAG_SEARCH__ATTEMPT_S. Its evidence comes last."""
        self._arms += 1
        port = reserve_port()
        url = f"http://{LOOPBACK}:{port}"
        env = {
            "RAG_PORT": str(port),
            "RAG_INDEX_DIR": str(index_dir or self.index_dir),
            "RAG_VECTOR_DB_URL": f"http://{LOOPBACK}:{proxy.listen[vector_db]}",
            "RAG_VECTOR_DB_ADDRESS": self.upstreams[vector_db].address,
            "RAG_LLM_URL": f"http://{LOOPBACK}:{proxy.listen[llm]}/v1",
            "RAG_LLM_ADDRESS": self.upstreams[llm].address,
            "RAG_LLM_MODEL": MODEL,
            **QUICK,
            **{f"RAG_{name}".upper(): str(value) for name, value in settings.items()},
        }
        received = self.received
        model = ModelServer(self.upstreams[llm].url)
        with Receiver(received) as receiver:
            told = env | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
            log = self.folder / f"arm-{self._arms}.log"
            pid = self._ask_zygote({"serve": told, "log": str(log), "sabotage": sabotage})
            process = psutil.Process(pid)
            service = Service(arm, url, _settings(env), model)
            sampler = threading.Thread(target=service.sample, daemon=True)
            try:
                _wait_until_ready(url, process, log)
                sampler.start()
                yield service
                freed_after_s = _freed_after_s(model)
                ready = service.readiness()
                flushed = httpx.post(f"{url}/v1/telemetry/flush", timeout=10.0, trust_env=False)
                assert flushed.status_code == 200, flushed.text
            finally:
                service.sampled.set()
                if sampler.ident is not None:
                    sampler.join()
                _end(process)
        service.found = Evidence(
            arm=arm,
            settings=service.settings,
            attempts=tuple(service.attempts),
            spans=spool.spans(received),
            changes=spool.changes(received),
            marks=service.marks,
            notes=service.notes,
            readings=tuple(service.readings),
            freed_after_s=freed_after_s,
            ready=ready,
        )

    def stop(self) -> None:
        """End everything that was started."""
        if self._zygote is not None:
            assert self._zygote.stdin is not None
            self._zygote.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._zygote.wait(10)
            self._zygote.kill()
        for part in reversed(self.parts):
            part.stop()

    def _start(self, plan: PartPlan) -> Part:
        part = Part.start(plan, self.folder)
        self.parts.append(part)
        wait_ready([part], SystemClock())
        return part

    def _ask_zygote(self, asked: Mapping[str, Any]) -> int:
        assert self._zygote is not None and self._zygote.stdin is not None and self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps(asked) + "\n")
        self._zygote.stdin.flush()
        return int(self._zygote.stdout.readline())


def _settings(env: Mapping[str, str]) -> service_settings.Settings:
    """The settings as the service reads them, for checks that compare with them."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("RAG_")}
    os.environ.update(env)
    try:
        return service_settings.load()
    finally:
        for name in env:
            os.environ.pop(name, None)
        os.environ.update(before)


def _wait_until_ready(url: str, process: psutil.Process, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.is_running() and process.status() != psutil.STATUS_ZOMBIE, log.read_text()
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return
        time.sleep(0.02)
    raise AssertionError(f"the service is not ready after {START_S:.0f} s:\n{log.read_text()}")


def _freed_after_s(model: ModelServer) -> float:
    """How long after its last caller the model server was idle; infinite if it was not within 3 s."""
    started = time.monotonic()
    while time.monotonic() - started < 3 * FREE_WITHIN_S:
        state = model.read()
        if state.running == state.waiting == 0:
            return time.monotonic() - started
        time.sleep(0.01)
    return float("inf")


def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(8)
        except psutil.TimeoutExpired:
            process.kill()
