"""What `bench.proxy` measures: an upstream, Toxiproxy and the built-in proxy before it, and one load.

Where there are two cores or more, the proxies get the first for themselves (Toxiproxy with `GOMAXPROCS=1`,
since the built-in proxy has one thread, too), the upstream and the client the rest. The upstream is nginx,
the client of the request rates wrk, where they are installed; else bench's own, whose CPU tells their limit.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.http_load import Counted
from bench.http_upstream import BULK_BYTES, SMALL_BYTES
from bench.processes import LOOPBACK, ROOT, Processes, Running, free_port
from chaos.control.fault_proxy import Toxic
from chaos.control.toxiproxy import Toxiproxy
from chaos.stack.proxy_choice import FORCE, RUNNING, choose_proxy

TOXIPROXY = "toxiproxy"
BUILTIN = "built-in"
READING = "built-in, http"
DIRECT = "direct"
LATENCY_MS = 10
_READY_S = 20.0
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
#: Beyond this share of what it may use a client or an upstream is what limits.
MOST_BUSY_RATIO = 0.9
#: A proxy this busy is at its own limit, whoever else is.
LIMIT_RATIO = 0.85


class NothingMeasured(Exception):
    """The client could not count; the message is its own."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One way to the upstream: without or with a proxy, the latter on a port with and one without a toxic.

    The built-in proxy that reads requests (`"http": true`) has none with a toxic.
    """

    name: str
    process: Running | None
    plain_port: int
    slow_port: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """Everything that runs, and what it may run on."""

    upstream: Running
    subjects: tuple[Subject, ...]
    proxy_cpus: frozenset[int]
    other_cpus: frozenset[int]
    wrk: str | None
    used: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One load on one subject, with the share of a core that each process took."""

    counted: Counted
    proxy_cpu_s: float
    upstream_cpu_s: float
    other_cores: int

    @property
    def rate(self) -> float:
        return self.counted.requests / self.counted.wall_s

    @property
    def megabytes_s(self) -> float:
        return self.counted.received_bytes / self.counted.wall_s / 1e6

    @property
    def per_core(self) -> float:
        """Requests for each second of the proxy's CPU time."""
        return self.counted.requests / self.proxy_cpu_s if self.proxy_cpu_s else 0.0

    @property
    def proxy_cpu(self) -> float:
        return self.proxy_cpu_s / self.counted.wall_s

    @property
    def client_cpu(self) -> float:
        return self.counted.cpu_s / self.counted.wall_s

    @property
    def upstream_cpu(self) -> float:
        return self.upstream_cpu_s / self.counted.wall_s

    @property
    def trustworthy(self) -> bool:
        """Whether neither client nor upstream was what limited."""
        busiest = max(
            self.client_cpu, self.upstream_cpu, (self.client_cpu + self.upstream_cpu) / self.other_cores
        )
        return busiest <= MOST_BUSY_RATIO or self.proxy_cpu >= LIMIT_RATIO


@contextmanager
def field(started: Processes) -> Iterator[Field]:
    """Raises ProxyUnavailable, DidNotStart, FaultProxyError."""
    environment = {key: value for key, value in os.environ.items() if key != RUNNING} | {FORCE: TOXIPROXY}
    choice = choose_proxy(environment, ROOT / ".ragquake")
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    proxy_cpus = frozenset(cpus[:1] if len(cpus) > 1 else cpus)
    other_cpus = frozenset(cpus[1:] if len(cpus) > 1 else cpus)
    nginx, wrk = shutil.which("nginx") or _there("/usr/sbin/nginx"), shutil.which("wrk")
    with on(other_cpus):
        upstream = _nginx(started, nginx) if nginx else _own_upstream(started)
    with on(proxy_cpus):
        ports = free_port(), free_port()
        toxiproxy = started.program(
            "toxiproxy",
            choice.command_on(LOOPBACK, ports[0]),
            port=ports[0],
            environment={"GOMAXPROCS": "1", "LOG_LEVEL": "error"},
        )
        builtin = started.start(
            "built-in proxy", ["-m", "chaos.proxy", "--port", str(ports[1])], port=ports[1]
        )
    used = (
        f"upstream {'nginx' if nginx else 'bench.http_upstream'}, "
        f"request rates by {'wrk' if wrk else 'bench.http_load'}, the rest by bench.http_load"
    )
    yield Field(
        upstream,
        (
            Subject(DIRECT, None, upstream.port),
            _subject(TOXIPROXY, toxiproxy, upstream.port),
            _subject(BUILTIN, builtin, upstream.port),
            Subject(READING, builtin, _reading_port(builtin, upstream.port)),
        ),
        proxy_cpus,
        other_cpus,
        wrk,
        used,
    )


def requests(field: Field, subject: Subject, *, slow: bool, connections: int, seconds: float) -> Seen:
    """As many as the connections can ask for."""
    port = subject.slow_port if slow else subject.plain_port
    if field.wrk is None:
        return _own(field, subject, port, connections, seconds)
    return _wrk(field, subject, port, connections, seconds)


def bulk(field: Field, subject: Subject, *, slow: bool, seconds: float) -> Seen:
    """One connection that reads 16 MiB again and again."""
    port = subject.slow_port if slow else subject.plain_port
    return _own(field, subject, port, 1, seconds, "--path", "/bulk")


def paced(field: Field, subject: Subject, *, slow: bool, rate: float, seconds: float) -> Seen:
    """64 connections that think in between, so that nobody is near a limit: what one request takes."""
    port = subject.slow_port if slow else subject.plain_port
    return _own(field, subject, port, 64, seconds, "--think-s", str(64 / rate))


def _own(field: Field, subject: Subject, port: int, connections: int, seconds: float, *flags: str) -> Seen:
    pids = [field.upstream.pid, *([subject.process.pid] if subject.process else [])]
    arguments = [
        *(sys.executable, "-m", "bench.http_load", "--port", str(port), "--connections", str(connections)),
        *("--seconds", str(seconds), *flags, *(word for pid in pids for word in ("--pid", str(pid)))),
    ]
    with on(field.other_cpus):
        done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise NothingMeasured(f"{subject.name}, {connections} connections: {done.stderr.strip()[-500:]}")
    said = json.loads(done.stdout)
    counted = Counted(**said)
    cpu_s = [*counted.cpu_of_s, 0.0]
    return Seen(counted, cpu_s[1], cpu_s[0], max(len(field.other_cpus), 1))


def _wrk(field: Field, subject: Subject, port: int, connections: int, seconds: float) -> Seen:
    assert field.wrk is not None
    command = [
        *(field.wrk, "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout", "5s", "--latency"),
        f"http://{LOOPBACK}:{port}/",
    ]
    before = _cpu_s(field.upstream), _cpu_s(subject.process)
    with on(field.other_cpus):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    started_s = time.perf_counter()
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - started_s
    if process.returncode:
        raise NothingMeasured(f"{subject.name}, {connections} connections: {said.strip()[-500:]}")
    counted = read_wrk(said, usage.ru_utime + usage.ru_stime)
    after = _cpu_s(field.upstream), _cpu_s(subject.process)
    scale = counted.wall_s / wall_s  # wrk's own clock leaves its start out
    return Seen(
        counted, (after[1] - before[1]) * scale, (after[0] - before[0]) * scale, max(len(field.other_cpus), 1)
    )


def read_wrk(said: str, cpu_s: float) -> Counted:
    """What wrk prints, as numbers. Raises NothingMeasured when that is not there."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", said)
    if total is None:
        raise NothingMeasured(f"wrk said: {said.strip()[-500:]}")

    def percentile(which: int) -> float:
        found = re.search(rf"^ *{which}% +([\d.]+)(us|ms|s|m)", said, re.MULTILINE)
        return float(found[1]) * _UNITS[found[2]] if found else 0.0

    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    failed = sum(int(number) for number in errors.groups()) if errors else 0
    failed += int(found[1]) if (found := re.search(r"Non-2xx or 3xx responses: (\d+)", said)) else 0
    wall_s = float(total[2]) * _UNITS[total[3]]
    return Counted(int(total[1]), 0, failed, wall_s, cpu_s, percentile(50), percentile(99), ())


@contextmanager
def on(cpus: frozenset[int]) -> Iterator[None]:
    """What is started inside runs on these CPUs alone; everywhere where a system cannot do that."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _subject(name: str, process: Running, upstream_port: int) -> Subject:
    process.wait_until_ready("/version")
    server = Toxiproxy(process.url)
    upstream = f"{LOOPBACK}:{upstream_port}"
    plain = server.create_proxy("plain", f"{LOOPBACK}:0", upstream)
    toxic = Toxic("latency", "latency", attributes={"latency": LATENCY_MS})
    slow = server.create_proxy("slow", f"{LOOPBACK}:0", upstream, (toxic,))
    return Subject(name, process, _port(plain.listen), _port(slow.listen))


def _reading_port(process: Running, upstream_port: int) -> int:
    """The port of a proxy on the built-in one that reads requests."""
    upstream = f"{LOOPBACK}:{upstream_port}"
    return _port(Toxiproxy(process.url).create_proxy("reading", f"{LOOPBACK}:0", upstream, http=True).listen)


def _nginx(started: Processes, nginx: str) -> Running:
    """nginx in one process, with a file for bulk and an answer in memory for the rest."""
    port = free_port()
    home = started.folder / "nginx"
    home.mkdir()
    (home / "bulk").write_bytes(b"x" * BULK_BYTES)
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = home / "nginx.conf"
    configuration.write_text(
        f"daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; sendfile on; {temporary}\n"
        f"server {{ listen {LOOPBACK}:{port} backlog=2048; root {home};\n"
        f'location = /bulk {{ }} location / {{ return 200 "{"x" * SMALL_BYTES}"; }} }} }}\n'
    )
    running = started.program("nginx", [nginx, "-p", home, "-c", configuration], port=port)
    _wait_for_port(running)
    return running


def _own_upstream(started: Processes) -> Running:
    port = free_port()
    running = started.start("upstream", ["-m", "bench.http_upstream", str(port)], port=port)
    _wait_for_port(running)
    return running


def _wait_for_port(running: Running) -> None:
    ends_s = time.monotonic() + _READY_S
    while time.monotonic() < ends_s and running.process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection((LOOPBACK, running.port)).close()
            return
        time.sleep(0.05)
    raise NothingMeasured(f"{running.name} did not start: {running.log.read_text('utf-8', 'replace')[-500:]}")


def _cpu_s(running: Running | None) -> float:
    if running is None:
        return 0.0
    times = psutil.Process(running.pid).cpu_times()
    return float(times.user + times.system)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _there(path: str) -> str | None:
    return path if Path(path).exists() else None
