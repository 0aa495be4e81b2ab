"""The guard against answers that Toxiproxy gives only on bad days, from a server that gives them all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from chaos.control.toxiproxy import FaultProxyError, ProxyGoneError, ProxyHungError, Toxiproxy
from tests.clocks import SteppingClock


class BadDay(BaseHTTPRequestHandler):
    """Answers each path with the status and body set for it; a status of 0 never answers."""

    answers: ClassVar[dict[str, tuple[int, str]]] = {}
    released = threading.Event()

    def do_GET(self) -> None:
        status, body = self.answers[self.path]
        if status == 0:
            self.released.wait(5)
            return
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_DELETE = do_GET  # noqa: N815 - the names http.server calls

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def client() -> Iterator[Toxiproxy]:
    BadDay.released.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), BadDay) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield Toxiproxy(f"http://127.0.0.1:{server.server_port}", timeout_s=0.2)
        BadDay.released.set()
        server.shutdown()


@pytest.mark.parametrize("api", ["", "127.0.0.1:8474", "https://h:1", "http://h", "http://h:1/path"])
def test_an_address_that_cannot_be_is_refused(api: str) -> None:
    """The form is said before anything is asked of it."""
    with pytest.raises(ValueError, match="http://HOST:PORT"):
        Toxiproxy(api)


def test_two_clients_have_two_servers(client: Toxiproxy) -> None:
    """The library keeps one address for all; here each client keeps its own."""
    BadDay.answers = {"/version": (200, '{"version": "x"}')}
    other = Toxiproxy("http://127.0.0.1:1")
    assert client.version() == "x"
    with pytest.raises(ProxyGoneError):
        other.version()
    assert client.version() == "x"


@pytest.mark.parametrize("status", [301, 400, 404, 409, 413, 500, 502])
def test_every_answer_but_success_is_an_error(client: Toxiproxy, status: int) -> None:
    """The library turns a 5xx into False; here the error keeps the question and the answer."""
    BadDay.answers = {"/reset": (status, "<html>no</html>")}
    with pytest.raises(FaultProxyError) as caught:
        client.reset()
    assert (caught.value.status, caught.value.answer) == (status, "<html>no</html>")
    assert caught.value.asked == f"POST {client.api}/reset"
    assert f"HTTP {status}" in str(caught.value)


def test_a_503_and_silence_are_a_hang(client: Toxiproxy) -> None:
    """Both mean that what was asked may have been done or not."""
    BadDay.answers = {"/version": (503, "<html>Timeout</html>")}
    with pytest.raises(ProxyHungError, match="503"):
        client.version()
    BadDay.answers = {"/version": (0, "")}
    with pytest.raises(ProxyHungError, match=r"no answer within 0\.2 s"):
        client.version()


def test_an_answer_that_is_no_json_is_an_error(client: Toxiproxy) -> None:
    """Something else may listen on that port."""
    BadDay.answers = {"/version": (200, "2.4.0")}
    with pytest.raises(FaultProxyError, match="something other than Toxiproxy"):
        client.version()


def test_a_proxy_variable_in_the_environment_is_not_used(
    client: Toxiproxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback calls never leave through HTTP_PROXY."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    BadDay.answers = {"/version": (200, '{"version": "x"}')}
    assert client.version() == "x"


def test_a_state_that_was_not_reached_is_an_error(client: Toxiproxy) -> None:
    """A 200 is not believed: what is read back has to be what was asked."""
    proxy = '{"name":"p","listen":"h:1","upstream":"h:2","enabled":true,"Logger":{},"toxics":[]}'
    BadDay.answers = {"/proxies/p": (200, proxy)}
    with pytest.raises(FaultProxyError, match="reads back enabled=True"):
        client.set_enabled("p", False)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "é"])
def test_names_that_toxiproxy_cannot_address_are_refused(client: Toxiproxy, name: str) -> None:
    """Toxiproxy would take `a/b` and never find it again."""
    with pytest.raises(ValueError, match="cannot name a proxy or toxic"):
        client.create_proxy(name, "127.0.0.1:0", "127.0.0.1:9")


def test_waiting_for_a_server_that_never_comes_ends() -> None:
    """The last reason is raised once the time is over, and not before."""
    clock = SteppingClock()
    with pytest.raises(ProxyGoneError):
        Toxiproxy("http://127.0.0.1:1").wait_ready(1.0, clock)
    assert 1.0 <= clock.now_s < 1.2


def test_waiting_returns_the_version(client: Toxiproxy) -> None:
    """Ready means that it says who it is."""
    BadDay.answers = {"/version": (200, '{"version": "2.12.0"}')}
    assert client.wait_ready(1.0, SteppingClock()) == "2.12.0"
