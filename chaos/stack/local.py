"""The local stack: four or five processes on loopback, started together, stopped together.

It is a context manager whose exit leaves nothing running, also when the start itself was interrupted.
stack.json is written after each process is known and before anything is waited for, so that whoever
finds a dead runner can end what it left. The parts under test get a lower priority than the proxy, the
journeys and the receiver: on two cores an overloaded service would otherwise slow the measurement of
itself. The service is started while the vector DB and the model server still warm up, because importing
sentence-transformers takes it about 16 s and the others one or two.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from chaos.clock import Clock, SystemClock
from chaos.control.fault_proxy import FaultProxyError
from chaos.stack.barrier import Flushed, flush
from chaos.stack.borrowed import BorrowedProxies, delete_borrowed
from chaos.stack.breakers import breaker_states
from chaos.stack.description import (
    ModelServerRecord,
    PartRecord,
    ServiceRecord,
    StackDescription,
)
from chaos.stack.environment import (
    child_environment,
    installed_versions,
    service_environment,
    this_machine,
)
from chaos.stack.errors import StackError, log_tail
from chaos.stack.fault_proxies import FaultProxies
from chaos.stack.model_servers import ModelServer, simulator
from chaos.stack.model_servers.model_server import READY_PATH
from chaos.stack.part import STOP_GRACE_S, Part, PartPlan, wait_finished, wait_ready
from chaos.stack.ports import choose_ports
from chaos.stack.process import ProcessIdentity, spawned
from chaos.stack.proxy_choice import ProxyChoice
from chaos.stack.stack_file import StackFile
from chaos.stack.teardown import stop_recorded
from chaos.stack.wiring import PORTS, REQUESTS_PORTS, Wiring

PARTS_UNDER_TEST_NICE = 10
SERVICE_READY_TIMEOUT_S = 180.0
"""About 16 s when the disk is warm; a first start on a slow disk reads 1 GB of libraries."""
PART_READY_TIMEOUT_S = 60.0
EVIDENCE_NAME = "faults.jsonl"
HURRIED_GRACE_S = 1.0
"""When a person stops the run: nobody will read the answers that are still under way."""
LINE_LENGTH = 90
"""Of a log's newest line, shown while its part starts."""
INGEST_TIMEOUT_S = 1200.0
"""About 2,500 documents through MiniLM on two cores take a minute or two; a user's corpus may be larger."""


class LocalStack:
    """The stack of one run (or of `ragquake up`); describes itself in FOLDER/stack.json, logs to FOLDER/logs.

    `ports` names some of service, vector_db, llm, proxy; the others are chosen free. `runner` is the
    process whose death means that the stack has no owner any more; a stack that stays has none.
    `on_requests` asks for faults on requests, for which the built-in proxy must read them.
    """

    def __init__(
        self,
        *,
        folder: Path,
        index_dir: Path,
        proxy: ProxyChoice,
        on_requests: bool = False,
        otlp_endpoint: str | None = None,
        service_settings: Mapping[str, str] | None = None,
        model_server: ModelServer | None = None,
        ports: Mapping[str, int] | None = None,
        runner: ProcessIdentity | None = None,
        home: Path = Path(".ragquake"),
        environment: Mapping[str, str] | None = None,
        on_progress: Callable[[str], None] = lambda _line: None,
        clock: Clock | None = None,
    ) -> None:
        self.logs = folder.absolute() / "logs"
        self.evidence = folder.absolute() / EVIDENCE_NAME
        self._file = StackFile(folder)
        self._index_dir = index_dir.absolute()
        self._otlp_endpoint = otlp_endpoint
        self._settings = dict(service_settings or {})
        self._model_server = model_server or simulator()
        self._named_ports = dict(ports or {})
        self._runner = runner
        self._inherited = os.environ if environment is None else environment
        self._say = on_progress
        self._proxies = FaultProxies(
            proxy,
            on_requests,
            BorrowedProxies(home),
            self.description,
            launch=self._launch_proxy,
            write=self._file.write,
            say=on_progress,
        )
        self._clock: Clock = clock or SystemClock()
        self._parts: dict[str, Part] = {}
        self._excused: set[str] = set()

    @property
    def stack_file(self) -> Path:
        """Where it describes itself, lent or not."""
        return self._file.path

    @property
    def description(self) -> StackDescription:
        """What the stack itself is made of."""
        return self._file.description

    @property
    def service_url(self) -> str:
        if self.description.service is None:
            raise StackError("the stack was not started, so its service has no address")
        return self.description.service.url

    @property
    def proxy_api(self) -> str:
        if self.description.proxy is None:
            raise StackError("the stack was not started, so its fault proxy has no address")
        return self.description.proxy.api

    def start(self) -> Self:
        """Start everything and wait until it is ready. Whatever goes wrong, nothing is left running."""
        try:
            self._start()
        except BaseException as error:
            self.stop(_grace_s(error))
            raise
        return self

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End every process of the stack, adopted ones too, but for runner and warden. May be repeated."""
        try:
            delete_borrowed(self.description)
        except FaultProxyError as error:
            self._say(f"could not delete the proxies made on {self.proxy_api}: {error}")
        described = self._file.described()
        stop_recorded(self._file.current, described, grace_s=grace_s, spare=("runner", "warden"))
        for part in self._parts.values():
            part.exit_code()

    def require_alive(self) -> None:
        """Raise PartDied when a process that the stack started has ended since; excused ones may have."""
        for name, part in self._parts.items():
            if name not in self._excused:
                part.require_alive()

    def excuse(self, part: str) -> None:
        """Expect the end of a part, since a fault is about to end it; until it is ready again."""
        self._excused.add(part)

    def start_again(self, part: str) -> ProcessIdentity:
        """Start a part that ended as it was: command, environment, port, priority. One that runs is left."""
        if not self._parts[part].identity.alive:
            self._parts[part].exit_code()
            self._launch(self._parts[part].plan)
        return self._parts[part].identity

    def wait_again(self, part: str) -> None:
        """Wait until a part that was started again is ready. Raises PartDied or PartNotReady."""
        wait_ready([self._parts[part]], self._clock, on_waiting=self._say_waiting)
        self._excused.discard(part)

    def breaker_states(self) -> dict[str, str]:
        """What the service says about its breakers, by name; nothing while it does not answer."""
        return breaker_states(self.service_url)

    def flush(self) -> Flushed:
        """The barrier: the last span sequence number, once the service has handed over every span."""
        return flush(self.service_url)

    def adopt(
        self,
        name: str,
        process: subprocess.Popen[bytes] | ProcessIdentity,
        log: Path | None = None,
        *,
        command: Sequence[str] = (),
    ) -> None:
        """Record a process that somebody else started (journeys, warden), so that it ends with the stack, or
        with the run to which the stack is lent."""
        identity = process if isinstance(process, ProcessIdentity) else spawned(process)
        if not command and isinstance(process, subprocess.Popen) and isinstance(process.args, list | tuple):
            command = [str(word) for word in process.args]
        self._file.record_brought(name, PartRecord.of(identity, command=command, log=log))

    def forget(self, name: str) -> None:
        """Take the record of an adopted process that has ended out of stack.json."""
        self._file.forget(name)

    def lend(self, folder: Path) -> None:
        """Let the run of that folder have the stack: its stack.json names all parts, too, and what the run
        adopts is its own. For a stack that goes on after the run; before it is started or while it is up."""
        self._file.lend(folder)

    def take_back(self) -> None:
        """The run has ended, and what it brought with it."""
        self._file.take_back()

    def child_environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment for a process that belongs to this stack; start adopted ones with it."""
        return child_environment(self._inherited, str(self._file.current), extra)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(_grace_s(error))

    def _start(self) -> None:
        wiring = Wiring(
            ports=choose_ports(
                PORTS + (REQUESTS_PORTS if self._proxies.are_chained else ()), self._named_ports
            ),
            index_dir=self._index_dir,
            model_server=self._model_server,
            evidence=self.evidence,
        )
        self.evidence.unlink(missing_ok=True)  # of an earlier stack that stayed in this folder
        chosen = {**self._model_server.service_settings, **self._settings}
        settings = service_environment(wiring.service_settings(), chosen, self._otlp_endpoint)
        self.description.machine = this_machine()
        self.description.versions = installed_versions()
        if self._runner is not None:
            self._file.record_part("runner", PartRecord.of(self._runner))
        self._build_index(wiring)
        started = [
            self._spawn("vector_db", wiring.vector_db_command(), wiring, "/healthz"),
            *self._start_model_server(wiring),
        ]
        self._proxies.start(wiring)
        rag_settings = {name: value for name, value in settings.items() if name.startswith("RAG_")}
        self.description.service = ServiceRecord(url=wiring.url("service"), settings=rag_settings)
        started.append(
            self._spawn(
                "service", wiring.service_command(), wiring, "/readyz", settings, SERVICE_READY_TIMEOUT_S
            )
        )
        self._say("waiting for " + ", ".join(part.name for part in started))
        wait_ready(
            started,
            self._clock,
            on_ready=lambda part, took_s: self._say(f"{part.name} is ready after {took_s:.1f} s"),
            on_waiting=self._say_waiting,
        )
        self.require_alive()

    def _build_index(self, wiring: Wiring) -> None:
        if (self._index_dir / "manifest.json").exists():
            return
        self._say(f"building the index in {self._index_dir} (once; a few minutes)")
        command = wiring.ingest_command()
        part = self._launch(PartPlan(name="ingest", command=command, env=self._part_environment()))
        told = ""

        def tell(part: Part) -> None:
            nonlocal told
            newest = next(iter(log_tail(part.log, 1)), "")
            if newest != told:
                told = newest
                self._say(f"index: {newest}")

        wait_finished(part, self._clock, timeout_s=INGEST_TIMEOUT_S, on_tick=tell)
        del self._parts["ingest"], self.description.parts["ingest"]

    def _start_model_server(self, wiring: Wiring) -> list[Part]:
        """Start the model server, or only note the one that runs elsewhere."""
        server = self._model_server
        self.description.model_server = ModelServerRecord(
            kind=server.kind, version=server.version, model=server.model, owned=server.owned
        )
        self._file.write()
        self._say(server.sentence())
        if not server.owned:
            self._file.record_part("llm", PartRecord(url=wiring.url("llm")))
            return []
        url = wiring.url("llm")
        plan = PartPlan(
            name="llm",
            command=wiring.model_server_command(),
            env=self._part_environment(server.environment),
            url=url,
            ready_url=url + READY_PATH,
            ready_timeout_s=server.ready_timeout_s,
            nice=server.nice,
        )
        return [self._launch(plan)]

    def _say_waiting(self, part: Part, waited_s: float) -> None:
        newest = next(iter(log_tail(part.log, 1)), "nothing yet").strip()
        if len(newest) > LINE_LENGTH:
            newest = newest[: LINE_LENGTH - 1] + "…"
        self._say(f"{part.name} is still starting after {waited_s:.0f} s; it says: {newest}")

    def _launch_proxy(self, name: str, command: tuple[str, ...], api: str) -> None:
        plan = PartPlan(name, command, self._part_environment(), api, f"{api}/version")
        wait_ready([self._launch(plan)], self._clock)

    def _spawn(
        self,
        name: str,
        command: tuple[str, ...],
        wiring: Wiring,
        ready_path: str,
        extra: Mapping[str, str] | None = None,
        ready_timeout_s: float = PART_READY_TIMEOUT_S,
    ) -> Part:
        """Start one of the parts under test, at a lower priority."""
        url = wiring.url(name)
        plan = PartPlan(
            name=name,
            command=command,
            env=self._part_environment(extra),
            url=url,
            ready_url=url + ready_path,
            ready_timeout_s=ready_timeout_s,
            nice=PARTS_UNDER_TEST_NICE,
        )
        return self._launch(plan)

    def _launch(self, plan: PartPlan) -> Part:
        part = Part.start(plan, self.logs)
        self._parts[plan.name] = part
        record = PartRecord.of(part.identity, command=plan.command, url=plan.url, log=part.log)
        self._file.record_part(plan.name, record)
        return part

    def _part_environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Parts carry the mark of the stack itself, since they outlive the run that has it."""
        return child_environment(self._inherited, str(self._file.path), extra)


def _grace_s(error: BaseException | None) -> float:
    return HURRIED_GRACE_S if isinstance(error, KeyboardInterrupt) else STOP_GRACE_S
