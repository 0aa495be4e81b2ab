"""Leases over real sockets: whoever falls silent leaves nothing behind, under traffic."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from chaos.control.builtin_proxy import HttpFaultSpec
from chaos.control.fault_proxy import ProxyMissingError, Toxic
from tests.clocks import until

pytestmark = pytest.mark.slow


def test_silence_undoes_everything_that_hangs_on_a_lease(
    builtin: Any, echo: str, connect: Callable[..., Any]
) -> None:
    """Toxics and http faults go, a proxy made with it goes, one disabled with it is back; all else stays."""
    client = builtin.client
    kept = builtin.proxy(echo, "kept")
    builtin.proxy(echo, "web", http=True)
    down = builtin.proxy(echo, "down")
    assert not client.put_lease("run", 3).renewed
    builtin.proxy(echo, "leased", lease="run")
    builtin.toxic("latency", name="latency", proxy="kept", latency=1)
    client.add_toxic("kept", Toxic("gone", "timeout", "upstream", lease="run"))
    client.add_http_fault("web", HttpFaultSpec("gone", "http_error", {"status": 503}, lease="run"))
    client.disable("down", "run")
    holds = builtin.ask("GET", "/leases").json()[0]["holds"]
    assert sorted(map(str, holds)) == sorted(
        map(
            str,
            [
                {"proxy": "down", "enabled": "false"},
                {"proxy": "kept", "toxic": "gone"},
                {"proxy": "leased"},
                {"proxy": "web", "http_fault": "gone"},
            ],
        )
    )
    silent = connect(kept)
    silent.sendall(b"swallowed by the toxic")
    until(lambda: client.leases() == {}, "the lease did not end")
    assert sorted(client.proxies()) == ["down", "kept", "web"]
    assert list(client.toxics("kept")) == ["latency"]
    assert client.http_faults("web") == {}
    assert client.proxy("down").enabled
    for address in (kept, down):
        again = connect(address)
        again.sendall(b"ping")
        assert again.read(4) == b"ping"
    assert silent.read() == b"", "removing a timeout closes the connections of its direction"
    assert builtin.metric("leases_ended_total") >= 1


def test_what_is_renewed_stays(builtin: Any, echo: str) -> None:
    """Three times its length, renewed each third of it."""
    client = builtin.client
    client.put_lease("run", 1)
    builtin.proxy(echo, lease="run")
    for _ in range(9):
        time.sleep(0.33)
        assert client.put_lease("run", 1).renewed
    assert client.proxy("p").lease == "run"
    client.end_lease("run")
    with pytest.raises(ProxyMissingError):
        client.proxy("p")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/proxies", {"name": "q", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}),
        ("POST", "/populate", [{"name": "q", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}]),
        ("POST", "/proxies/p", {"enabled": False}),
        ("POST", "/proxies/p/toxics", {"type": "latency"}),
        ("POST", "/proxies/p/http_faults", {"type": "http_error", "attributes": {"status": 503}}),
        ("DELETE", "/leases/nobody", None),
    ],
)
def test_a_lease_that_nobody_holds_is_a_404_and_nothing_is_done(
    builtin: Any, method: str, path: str, body: Any
) -> None:
    """The answer names the lease as missing, and the proxies are as they were."""
    builtin.proxy("127.0.0.1:9", http=True)
    before = builtin.ask("GET", "/proxies").json()
    for each in body if isinstance(body, list) else [body]:
        if each is not None:
            each["lease"] = "nobody"
    answer = builtin.ask(method, path, body)
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("lease not found")
    assert builtin.ask("GET", "/proxies").json() == before
    assert builtin.ask("GET", "/proxies/p/http_faults").json() == []


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", '{"ttl_s": 0}', '{"ttl_s": 61}', '{"ttl_s": "10"}', '{"ttl_s": true}']
)
def test_a_lease_of_no_sensible_length_is_refused(builtin: Any, body: str) -> None:
    """1 to 60 seconds, a number, and nothing else."""
    answer = requests.put(f"{builtin.api}/leases/run", data=body, timeout=5)
    assert answer.status_code == 400
    assert builtin.client.leases() == {}


def test_leases_have_any_name_that_a_bundle_has(builtin: Any) -> None:
    """Spaces, slashes and colons are quoted in the path; two hundred characters are enough."""
    client = builtin.client
    for name in ("2026-11-22T16:20:13Z-spike", "a/b c", "x" * 200):
        assert client.put_lease(name, 5).name == name
        assert name in client.leases()
        client.end_lease(name)
    assert builtin.ask("PUT", "/leases/" + "x" * 201, {"ttl_s": 5}).status_code == 400


def test_two_who_keep_a_proxy_down_both_have_to_let_go(builtin: Any, echo: str) -> None:
    """It is back when the last lease ends, and at once when somebody enables it."""
    client = builtin.client
    builtin.proxy(echo)
    client.put_lease("one", 30)
    client.put_lease("two", 30)
    client.disable("p", "one")
    client.disable("p", "two")
    client.end_lease("one")
    assert not client.proxy("p").enabled
    client.end_lease("two")
    assert client.proxy("p").enabled
    client.put_lease("three", 30)
    client.disable("p", "three")
    client.set_enabled("p", True)
    client.end_lease("three")
    assert client.proxy("p").enabled
