"""What the proxy tells Prometheus: what goes through it, what is in, what struck, and whether it keeps up.

Names and units follow Prometheus' own rules (https://prometheus.io/docs/practices/naming/): seconds, bytes,
`_total` for what only grows. Nothing is counted for it on the way of a byte but the bytes themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from chaos.proxy.registry import Registry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


def exposition(registry: Registry) -> str:
    """Everything, in Prometheus' text format."""
    lines: list[str] = []

    def add(name: str, kind: str, what: str, values: Iterable[tuple[Labels, float]]) -> None:
        full = f"ragquake_proxy_{name}"
        lines.append(f"# HELP {full} {what}")
        lines.append(f"# TYPE {full} {kind}")
        lines.extend(f"{full}{_labels(labels)} {value:.10g}" for labels, value in values)

    proxies = registry.proxies()
    traffic = [(proxy.name, proxy.traffic) for proxy in proxies]
    add(
        "connections_open",
        "gauge",
        "Connections of clients that are open.",
        [({"proxy": name}, each.open) for name, each in traffic],
    )
    add(
        "connections_total",
        "counter",
        "Connections of clients that were accepted.",
        [({"proxy": name}, each.connections) for name, each in traffic],
    )
    add(
        "received_bytes_total",
        "counter",
        "Bytes read, by where they came from.",
        [
            ({"proxy": name, "from": source}, size)
            for name, each in traffic
            for source, size in (("client", each.from_client_bytes), ("upstream", each.from_upstream_bytes))
        ],
    )
    toxics = Counter((proxy.name, toxic.type) for proxy in proxies for toxic in proxy.toxics.values())
    add("toxics", "gauge", "Toxics that are in.", _by_type(toxics))
    faults = Counter(
        (proxy.name, spec.type)
        for proxy in proxies
        if proxy.hop is not None
        for spec in proxy.hop.faults.specs.values()
    )
    add("http_faults", "gauge", "Faults on requests that are in.", _by_type(faults))
    struck = registry.evidence.struck + Counter(
        {(proxy.name, kind): count for proxy in proxies for kind, count in proxy.struck_now().items()}
    )
    add("struck_total", "counter", "Connections and requests that a type of fault struck.", _by_type(struck))
    add("leases", "gauge", "Leases that are held.", [({}, len(registry.leases.states()))])
    add("leases_ended_total", "counter", "Leases that ended by silence.", [({}, registry.leases.ended)])
    add("held_bytes", "gauge", "Bytes that toxics hold back now.", [({}, registry.held.bytes)])
    lost = registry.evidence.lines_lost
    add("evidence_lines_lost_total", "counter", "Evidence that its file did not take.", [({}, lost)])
    descriptors = registry.descriptors
    add("descriptors_used", "gauge", "File descriptors of connections.", [({}, descriptors.taken)])
    add("descriptors_limit", "gauge", "How many there can be.", [({}, descriptors.most)])
    lag_s = registry.lag.worst_s
    add("event_loop_lag_seconds", "gauge", "The latest timer of the last 15 s.", [({}, lag_s)])
    return "\n".join(lines) + "\n"


def _by_type(counts: Mapping[tuple[str, str], int]) -> list[tuple[Labels, float]]:
    return [({"proxy": proxy, "type": kind}, count) for (proxy, kind), count in sorted(counts.items())]


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
