"""The examinations of `ragquake doctor --stack FILE`: is a target that runs already fit for a run, now?

The file is read and its addresses are decided first, as a run would. Then everything that a run would dial is
asked once, and nothing is put anywhere: proxies that are there, the service, the ports that a run would take.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx

from chaos.examinations import Finding
from chaos.stack.breakers import breaker_states
from chaos.stack.errors import StackError
from chaos.stack.proxy_there import look_at
from chaos.stack.target import AttachedTarget, ProxyThere, load_target
from slo.documents import DocumentError

ASK_TIMEOUT_S = 5.0
TARGET = "Target"


def examine_target(path: Path, *, owned: bool = False) -> list[Finding]:
    """One finding for the file, and where that is sound, one for each thing that a run would use."""
    try:
        target = load_target(path, owned=owned)
    except DocumentError as error:
        return [Finding(TARGET, str(path), "; ".join(error.problems), "problem")]
    return [
        Finding(TARGET, target.name, f"{path} is sound; every address in it may be hurt"),
        _service(target),
        *_proxies(target),
        _telemetry(target),
        _barrier(target),
    ]


def _service(target: AttachedTarget) -> Finding:
    url = target.service + (target.ready or "/")
    try:
        with httpx.Client(timeout=ASK_TIMEOUT_S, trust_env=False) as client:
            status = client.get(url).status_code
    except httpx.HTTPError as error:
        said = f"{url} gave {type(error).__name__}"
        return Finding("Service", target.service, f"{said}; a run starts no service, so start it", "problem")
    if target.ready and status != 200:
        return Finding("Service", target.service, f"{url} answered {status}; a run waits for 200", "problem")
    if not target.ready:
        return Finding("Service", target.service, "it answers; a path under service.ready would say more")
    if target.breakers and not breaker_states(target.service, target.breakers):
        unseen = f"{target.service}{target.breakers} tells of no breakers; a run cannot show their states"
        return Finding("Service", target.service, unseen, "note")
    return Finding("Service", target.service, "it is ready")


def _proxies(target: AttachedTarget) -> Iterator[Finding]:
    if not target.proxies:
        unhurt = "no dependency has a proxy in the file, so there is load and no fault"
        yield Finding("Proxies", "none", unhurt, "note")
    for name, proxy in target.proxies.items():
        heading = f"Proxy before {name}"
        if not isinstance(proxy, ProxyThere):
            yield _to_put(heading, proxy.listen, proxy.upstream)
            continue
        try:
            found = look_at(name, proxy, target)
        except StackError as error:
            yield Finding(heading, f"{proxy.name} at {proxy.api}", str(error), "problem")
            continue
        takes = "bytes and requests" if found.reads_requests else "bytes"
        clean = f"clean, leads from {found.listen} to {found.upstream}; takes faults on {takes}"
        yield Finding(heading, f"{proxy.name} at {proxy.api}", clean)


def _to_put(heading: str, listen: str, upstream: str) -> Finding:
    if why := _cannot_listen(listen):
        return Finding(heading, listen, f"a run cannot put it there: {why}", "problem")
    if not _answers(upstream):
        return Finding(heading, listen, f"nobody listens at {upstream}, where it would lead", "problem")
    return Finding(heading, listen, f"a run puts it there, leading to {upstream}; the service must call it")


def _telemetry(target: AttachedTarget) -> Finding:
    if target.telemetry is None:
        blind = "the file has no telemetry.listen: without spans every run is inconclusive"
        return Finding("Telemetry", "none", blind, "problem")
    if why := _cannot_listen(target.telemetry.address):
        return Finding("Telemetry", target.telemetry.url, f"a run cannot listen there: {why}", "problem")
    needed = "a run listens there; the service must have it as OTEL_EXPORTER_OTLP_ENDPOINT (HTTP, protobuf)"
    return Finding("Telemetry", target.telemetry.url, needed)


def _barrier(target: AttachedTarget) -> Finding:
    if target.flush:
        return Finding("Barrier", target.flush, "asked for after each phase, so no span is missed")
    return Finding(
        "Barrier", "none", "a run waits for the exporter instead; service.flush would be surer", "note"
    )


def _cannot_listen(address: str) -> str:
    """Why nobody could listen there now; empty when somebody could."""
    host, port = _split(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _answers(address: str) -> bool:
    try:
        with socket.create_connection(_split(address), timeout=ASK_TIMEOUT_S):
            return True
    except OSError:
        return False


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
