"""A stack that runs already: nothing of it is started or stopped; what the run puts there goes with the run.

A proxy that somebody else runs is looked at before it is used: it must have the name that the target file
says, be open and without toxics, and lead only where the user allows. Before the other dependencies the run
puts the built-in proxy, a process of its own that is in stack.json like a part of any stack: so the warden
and `ragquake rollback` end it when the runner was killed, and its lease takes the faults out without them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from chaos.clock import Clock, SystemClock
from chaos.control.builtin_proxy import BuiltinProxy
from chaos.control.fault_proxy import FaultProxyError
from chaos.stack.barrier import Flushed, flush
from chaos.stack.breakers import breaker_states
from chaos.stack.description import DependencyRecord, PartRecord, ProxyRecord, ServiceRecord, StackDescription
from chaos.stack.environment import child_environment, installed_versions, this_machine
from chaos.stack.errors import ProxyUnavailable, StackError
from chaos.stack.part import STOP_GRACE_S, Part, PartPlan, wait_ready
from chaos.stack.ports import LOOPBACK, choose_ports
from chaos.stack.process import ProcessIdentity, spawned
from chaos.stack.proxy_choice import builtin
from chaos.stack.proxy_there import look_at
from chaos.stack.stack_file import StackFile
from chaos.stack.target import AttachedTarget, ProxyThere, ProxyToPut
from chaos.stack.teardown import stop_recorded

READY_TIMEOUT_S = 60.0
READY_POLL_S = 0.2
SETTLE_S = 7.0
"""Without a flush path: OpenTelemetry's exporters hand over what they hold every 5 s."""
PROXY = "proxy"
EVIDENCE_NAME = "faults.jsonl"
WHY_PUT = "the target file puts one there"


class AttachedStack:
    """A target for one run; describes itself in FOLDER/stack.json, logs to FOLDER/logs."""

    def __init__(
        self,
        *,
        folder: Path,
        target: AttachedTarget,
        on_requests: bool = False,
        service_settings: Mapping[str, str] | None = None,
        runner: ProcessIdentity | None = None,
        environment: Mapping[str, str] | None = None,
        on_progress: Callable[[str], None] = lambda _line: None,
        clock: Clock | None = None,
    ) -> None:
        self.logs = folder.absolute() / "logs"
        self.evidence = folder.absolute() / EVIDENCE_NAME
        self._file = StackFile(folder)
        self._target = target
        self._on_requests = on_requests
        self._left_out = dict(service_settings or {})
        self._runner = runner
        self._inherited = dict(os.environ if environment is None else environment)
        self._say = on_progress
        self._clock: Clock = clock or SystemClock()
        self._put: Part | None = None
        self._lost_before = 0

    @property
    def stack_file(self) -> Path:
        return self._file.path

    @property
    def description(self) -> StackDescription:
        return self._file.description

    @property
    def service_url(self) -> str:
        return self._target.service

    @property
    def proxy_api(self) -> str:
        if self.description.proxy is None:
            raise StackError(
                f"the run has put no proxy before {self._target.name}, so there is no address of one"
            )
        return self.description.proxy.api

    def start(self) -> Self:
        """Look at all that is there and put what is to be put. Whatever goes wrong, nothing of it is left."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End what this run started, and nothing else. May be repeated."""
        stop_recorded(self._file.current, self._file.described(), grace_s=grace_s, spare=("runner", "warden"))
        if self._put is not None:
            self._put.exit_code()

    def require_alive(self) -> None:
        """Raise PartDied when the run's own proxy has ended. Of the target, its answers tell."""
        if self._put is not None:
            self._put.require_alive()

    def breaker_states(self) -> dict[str, str]:
        """What the service says about its breakers; nothing where the target file has no path for them."""
        return breaker_states(self.service_url, self._target.breakers) if self._target.breakers else {}

    def flush(self) -> Flushed:
        """The barrier: asked for where the target file says how, else waited for and without numbers.

        What the service had lost before the run, when nobody listened for its spans, is not counted.
        """
        if not self._target.flush:
            self._clock.sleep(SETTLE_S)
            return Flushed()
        said = flush(self.service_url, self._target.flush)
        return Flushed(said.last_seq, None if said.lost is None else max(0, said.lost - self._lost_before))

    def adopt(
        self, name: str, process: subprocess.Popen[bytes] | ProcessIdentity, log: Path | None = None
    ) -> None:
        """Record a process of the run (journeys, warden), so that it ends with it."""
        identity = process if isinstance(process, ProcessIdentity) else spawned(process)
        self._file.record_brought(name, PartRecord.of(identity, log=log))

    def forget(self, name: str) -> None:
        """Take the record of an adopted process that has ended out of stack.json."""
        self._file.forget(name)

    def child_environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment for a process that belongs to this run."""
        return child_environment(self._inherited, str(self._file.current), extra)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        target = self._target
        self.description.kind = "attached"
        self.description.target = target.name
        self.description.machine = this_machine()
        self.description.versions = installed_versions()
        self.description.service = ServiceRecord(url=target.service, settings_left_out=self._left_out)
        if self._runner is not None:
            self._file.record_part("runner", PartRecord.of(self._runner))
        self._say(f"attaching to {target.name} at {target.service}; nothing of it is started or stopped")
        if self._left_out:
            told = ", ".join(f"{name}={value}" for name, value in self._left_out.items())
            self._say(f"its settings are its own; the experiment's are left out: {told}")
        for name, proxy in target.proxies.items():
            if isinstance(proxy, ProxyThere):
                self.description.dependencies[name] = look_at(name, proxy, target)
        to_put = {name: one for name, one in target.proxies.items() if isinstance(one, ProxyToPut)}
        if to_put:
            self._put_proxies(to_put)
        self._file.write()
        self._wait_ready()
        self._clear_telemetry()

    def _put_proxies(self, to_put: Mapping[str, ProxyToPut]) -> None:
        port = choose_ports((PROXY,), {})[PROXY]
        record = ProxyRecord(kind="builtin", api=f"http://{LOOPBACK}:{port}", why=WHY_PUT, owned=True)
        self.description.proxy = record
        if self._on_requests:
            self.description.requests_proxy = record
        self.evidence.unlink(missing_ok=True)
        command = (*builtin(WHY_PUT).command_on(LOOPBACK, port), "--evidence", str(self.evidence))
        plan = PartPlan(PROXY, command, self.child_environment(), record.api, f"{record.api}/version")
        self._put = Part.start(plan, self.logs)
        recorded = PartRecord.of(self._put.identity, command=command, url=record.api, log=self._put.log)
        self._file.record_part(PROXY, recorded)
        wait_ready([self._put], self._clock)
        client = BuiltinProxy(record.api)
        record.version = client.version()
        for name, one in to_put.items():
            self.description.dependencies[name] = DependencyRecord(
                proxy=name,
                listen=one.listen,
                upstream=one.upstream,
                server=record,
                reads_requests=self._on_requests,
            )
            self._file.write()
            try:
                client.create_proxy(name, one.listen, one.upstream, http=self._on_requests)
            except FaultProxyError as error:
                raise ProxyUnavailable(
                    f"the run's proxy for {name} cannot listen on {one.listen} (dependencies.{name}.listen "
                    f"in {self._target.path}): {error}"
                ) from error
            self._say(f"put a proxy before {name}: {one.listen} leads to {one.upstream} while the run lasts")

    def _wait_ready(self) -> None:
        """Until the service says that it is ready; where nobody told how, the steady state will show."""
        if not self._target.ready:
            return
        url = self.service_url + self._target.ready
        until_s = self._clock.monotonic_s() + READY_TIMEOUT_S
        with httpx.Client(timeout=2.0, trust_env=False) as client:
            while True:
                self.require_alive()
                said = _refusal(client, url)
                if not said:
                    return
                if self._clock.monotonic_s() >= until_s:
                    raise StackError(
                        f"{self._target.name} is not ready: {url} {said}, for "
                        f"{READY_TIMEOUT_S:.0f} s; it must run, and answer 200, before a run attaches to it"
                    )
                self._clock.sleep(READY_POLL_S)

    def _clear_telemetry(self) -> None:
        """Have the service hand over what it held before the run, and note what it has lost until now.

        An exporter that has long found nobody listening waits longer and longer until it tries again.
        """
        if not self._target.flush:
            return
        until_s = self._clock.monotonic_s() + READY_TIMEOUT_S
        while True:
            try:
                self._lost_before = flush(self.service_url, self._target.flush).lost or 0
                return
            except StackError as error:
                if self._clock.monotonic_s() >= until_s:
                    raise StackError(
                        f"{self._target.name}: {error} (service.flush in {self._target.path})"
                    ) from error
            self._clock.sleep(READY_POLL_S)


def _refusal(client: httpx.Client, url: str) -> str:
    """Why the service is not ready, or nothing when it is."""
    try:
        answer = client.get(url)
    except httpx.HTTPError as error:
        return f"gave {type(error).__name__}"
    return "" if answer.status_code == 200 else f"answered {answer.status_code}"
