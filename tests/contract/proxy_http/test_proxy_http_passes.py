"""What no fault touches passes through the hop as it would pass without it, in front of real servers."""

from __future__ import annotations

import http.client
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow


def told(connection: http.client.HTTPConnection, asked: dict[str, Any]) -> tuple[Any, ...]:
    """One exchange: status, reason, headers but the date, body."""
    body: Any = asked["body"]
    headers = {**asked["headers"], "X-Piece": str(asked["piece"]), "X-Status": str(asked["status"])}
    if asked["chunked_answer"]:
        headers["X-Chunked"] = "1"
    if asked["chunk"]:
        body = iter([body[at : at + asked["chunk"]] for at in range(0, len(body), asked["chunk"])])
    connection.request(asked["method"], asked["target"], body, headers, encode_chunked=bool(asked["chunk"]))
    answer = connection.getresponse()
    shown = [(name, value) for name, value in answer.getheaders() if name.lower() != "date"]
    return answer.status, answer.reason, shown, answer.read()


exchanges = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
        "target": st.sampled_from(["/", "/a/b?x=1&y=%20", "/%F0%9F%90%8D", "/a?"]),
        "body": st.one_of(
            st.binary(max_size=200), st.sampled_from([b"", b"x" * 70_000, bytes(range(256)) * 4000])
        ),
        "chunk": st.sampled_from([0, 1 << 20, 50_000]),
        "piece": st.sampled_from([1 << 20, 65_536, 9_999]),
        "chunked_answer": st.booleans(),
        "status": st.sampled_from([200, 201, 404, 500, 204, 304]),
        "headers": st.dictionaries(
            st.sampled_from(["X-One", "accept", "Cookie"]), st.text("abc =;,", max_size=9).map(str.strip)
        ),
    }
)


@pytest.mark.parametrize("server", ["uvicorn_echo", "aiohttp_url"])
def test_any_exchange_is_the_same_with_and_without_the_hop(
    request: pytest.FixtureRequest, faulty: Any, server: str
) -> None:
    """Status, reason, headers with spelling and order, and body: nothing tells the hop from the server."""
    direct_url = request.getfixturevalue(server)
    through_url = faulty.proxy(direct_url)
    after = faulty.seen()
    direct = http.client.HTTPConnection(urlsplit(direct_url).netloc, timeout=60)
    through = http.client.HTTPConnection(urlsplit(through_url).netloc, timeout=60)

    @settings(max_examples=80, suppress_health_check=list(HealthCheck))
    @given(exchanges)
    def compare(asked: dict[str, Any]) -> None:
        if asked["status"] in (204, 304):
            asked = {
                **asked,
                "body": b"",
                "chunked_answer": server == "uvicorn_echo" and asked["chunked_answer"],
            }
        assert told(direct, asked) == told(through, asked)

    compare()
    direct.close()
    through.close()
    assert faulty.records(after) == []


def test_a_connection_serves_many_requests(faulty: Any, uvicorn_echo: str) -> None:
    """Keep-alive goes on through the hop: one client socket, many answers."""
    with httpx.Client(base_url=faulty.proxy(uvicorn_echo)) as client:
        sockets = set()
        for number in range(20):
            answer = client.post("/", content=b"%d" % number)
            assert answer.content == b"%d" % number
            sockets.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
        assert len(sockets) == 1


def test_large_bodies_stream_both_ways(faulty: Any, uvicorn_echo: str) -> None:
    """64 MiB go up and come down unchanged."""
    body = bytes(range(256)) * (64 * 4096)
    answer = httpx.post(faulty.proxy(uvicorn_echo), content=body, timeout=60)
    assert answer.content == body


def test_toxics_and_the_hop_add_up(faulty: Any, uvicorn_echo: str) -> None:
    """A latency toxic on a proxy that reads requests delays them as on any other."""
    url = faulty.proxy(uvicorn_echo)
    faulty.ask("POST", "/proxies/p/toxics", {"type": "latency", "attributes": {"latency": 300}})
    faulty.fault("slow_body", delay_s=0.3)
    start = time.monotonic()
    assert httpx.post(url, content=b"x").content == b"x"
    assert time.monotonic() - start >= 0.6


def test_an_upstream_out_of_reach_is_a_502(faulty: Any) -> None:
    """The client gets JSON that names the address, not a connection that dies."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        nowhere = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = httpx.get(faulty.proxy(nowhere))
    assert answer.status_code == 502
    assert nowhere in answer.json()["error"]["message"]


def test_an_upstreams_reset_reaches_the_client(faulty: Any) -> None:
    """A real TCP reset of the upstream is one at the client."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = urlsplit(faulty.proxy(f"127.0.0.1:{listener.getsockname()[1]}"))
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        upstream, _ = listener.accept()
        upstream.recv(10)  # the rest stays unread: closing resets
        upstream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        assert client.recv(1000).endswith(b"half")
        upstream.close()
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    listener.close()


def test_http_faults_are_on_proxies_that_read_requests(faulty: Any, uvicorn_echo: str) -> None:
    """A proxy says that it reads requests; one that does not refuses faults on them, in Toxiproxy's form."""
    faulty.proxy(uvicorn_echo)
    assert faulty.ask("GET", "/proxies/p")["http"] is True
    faulty.ask("POST", "/proxies", {"name": "raw", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"})
    assert "http" not in faulty.ask("GET", "/proxies/raw")
    answer = faulty.api.post("/proxies/raw/http_faults", json={"type": "http_error"})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert '\\"http\\": true' in answer.text and answer.json()["status"] == 400


def test_disabling_and_resetting(faulty: Any, uvicorn_echo: str) -> None:
    """Faults on requests outlive a disabled proxy, and a reset removes them, as it does toxics."""
    url = faulty.proxy(uvicorn_echo)
    faulty.fault("http_error", status=500)
    faulty.ask("POST", "/proxies/p", {"enabled": False})
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    faulty.ask("POST", "/proxies/p", {"enabled": True})
    assert httpx.get(url).status_code == 500
    faulty.ask("POST", "/reset")
    assert httpx.get(url).status_code == 200
    assert faulty.ask("GET", "/proxies/p/http_faults") == []


def test_a_lease_that_ends_takes_its_faults(faulty: Any, uvicorn_echo: str) -> None:
    """A fault on a lease goes with it; one without stays."""
    url = faulty.proxy(uvicorn_echo)
    faulty.ask("PUT", "/leases/run", {"ttl_s": 60})
    faulty.fault("http_error", status=500, lease="run", path="/a")
    faulty.fault("http_error", status=501, name="stays", path="/b")
    assert (httpx.get(f"{url}/a").status_code, httpx.get(f"{url}/b").status_code) == (500, 501)
    faulty.ask("DELETE", "/leases/run")
    assert (httpx.get(f"{url}/a").status_code, httpx.get(f"{url}/b").status_code) == (200, 501)
