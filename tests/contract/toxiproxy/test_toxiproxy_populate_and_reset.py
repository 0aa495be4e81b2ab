"""`/populate` and `/reset`, whose half-done states clients depend on."""

from __future__ import annotations

import socket
from typing import Any

import pytest

pytestmark = pytest.mark.slow

UP = "127.0.0.1:9"


def an_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_populate_creates_enabled_and_disabled_proxies(server: Any) -> None:
    """Proxies of a list are created in order; `enabled` is true unless said otherwise."""
    first, second = an_address(), an_address()
    body = [
        {"name": "a", "upstream": UP, "listen": first},
        {"name": "b", "upstream": UP, "listen": second, "enabled": False},
    ]
    answer = server.ask("POST", "/populate", body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (201, "application/json")
    assert list(answer.json()) == ["proxies"]
    assert [(each["name"], each["listen"], each["enabled"]) for each in answer.json()["proxies"]] == [
        ("a", first, True),
        ("b", second, False),
    ]


@pytest.mark.parametrize("body", ["[]", "null"])
def test_populate_with_nothing_answers_null(server: Any, body: str) -> None:
    """No proxies are written as `null`, as Go writes an empty slice."""
    answer = server.ask("POST", "/populate", body)
    assert (answer.status_code, answer.text) == (201, '{"proxies":null}')


@pytest.mark.parametrize("field", ["name", "upstream"])
def test_populate_checks_all_before_it_creates_any(server: Any, field: str) -> None:
    """A proxy without a required field is named by its place, and none is created."""
    second = {"name": "b", "upstream": UP}
    del second[field]
    answer = server.ask("POST", "/populate", [{"name": "a", "upstream": UP, "listen": an_address()}, second])
    expected = {"error": f"missing required field: {field} at proxy 2", "status": 400, "proxies": None}
    assert (answer.status_code, answer.json()) == (400, expected)
    assert answer.headers["Content-Type"] == "application/json"
    assert server.ask("GET", "/proxies").json() == {}


def test_populate_with_an_empty_body(server: Any) -> None:
    """Errors of populate are real JSON with the list, here none."""
    answer = server.ask("POST", "/populate", "")
    expected = {"error": "bad request body: EOF", "status": 400, "proxies": None}
    assert (answer.status_code, answer.json()) == (400, expected)


STRUCT = r'struct { toxiproxy.Proxy; Enabled *bool "json:\"enabled\"" }'


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("{}", f"cannot unmarshal object into Go value of type []{STRUCT}"),
        ("[1]", f"cannot unmarshal number into Go value of type {STRUCT}"),
        ('[{"name":5}]', "cannot unmarshal number into Go struct field .Proxy.name of type string"),
        (
            '[{"name":"a","enabled":"x"}]',
            "cannot unmarshal string into Go struct field .enabled of type bool",
        ),
    ],
    ids=["object", "number", "name", "enabled"],
)
def test_populate_with_the_wrong_types(server: Any, body: str, error: str) -> None:
    """What is no list of proxies is refused, with the struct that Go wanted."""
    answer = server.ask("POST", "/populate", body)
    expected = {"error": f"bad request body: json: {error}", "status": 400, "proxies": None}
    assert (answer.status_code, answer.json()) == (400, expected)


def test_populate_with_a_null_names_it(server: Any) -> None:
    """`null` in the list is a proxy without a name."""
    answer = server.ask("POST", "/populate", "[null]")
    assert (answer.status_code, answer.json()["error"]) == (400, "missing required field: name at proxy 1")


def test_populate_replaces_a_disabled_proxy_on_a_host_name(server: Any) -> None:
    """Until it has listened, `localhost` is no address, so it is never the same and loses its toxics."""
    wanted = {"name": "a", "upstream": UP, "listen": an_address().replace("127.0.0.1", "localhost")}
    made = server.ask("POST", "/populate", [{**wanted, "enabled": False}]).json()["proxies"][0]
    assert (made["listen"], made["enabled"]) == (wanted["listen"], False)
    server.toxic("latency", proxy="a", latency=5)
    again = server.ask("POST", "/populate", [{**wanted, "enabled": False}]).json()["proxies"][0]
    assert again["toxics"] == []


def test_populate_always_replaces_port_0(server: Any) -> None:
    """Port 0 differs from any real port."""
    wanted = {"name": "a", "upstream": UP, "listen": "127.0.0.1:0"}
    first = server.ask("POST", "/populate", [wanted]).json()["proxies"][0]
    server.toxic("latency", proxy="a", latency=5)
    second = server.ask("POST", "/populate", [wanted]).json()["proxies"][0]
    assert second["toxics"] == []
    assert not second["listen"].endswith(":0")
    assert first["enabled"] is second["enabled"] is True


def test_populate_leaves_a_disabled_proxy_on_port_0(server: Any) -> None:
    """Until it has listened, port 0 is the same as port 0: its toxics stay, and `enabled` is ignored."""
    wanted = {"name": "a", "upstream": UP, "listen": "127.0.0.1:0"}
    server.ask("POST", "/populate", [{**wanted, "enabled": False}])
    server.toxic("latency", proxy="a", latency=5)
    again = server.ask("POST", "/populate", [wanted]).json()["proxies"][0]
    assert (again["enabled"], len(again["toxics"])) == (False, 1)


def test_populate_leaves_the_same_proxy_as_it_is(server: Any) -> None:
    """The same resolved address and upstream: toxics stay and `enabled` is ignored."""
    listen = an_address()
    server.ask("POST", "/populate", [{"name": "a", "upstream": UP, "listen": listen}])
    server.toxic("latency", proxy="a", latency=5)
    again = {
        "name": "a",
        "upstream": UP,
        "listen": listen.replace("127.0.0.1", "localhost"),
        "enabled": False,
    }
    proxy = server.ask("POST", "/populate", [again]).json()["proxies"][0]
    assert proxy["enabled"] is True
    assert [toxic["type"] for toxic in proxy["toxics"]] == ["latency"]


def test_populate_replaces_what_differs(server: Any) -> None:
    """Another upstream is another proxy: it takes over the port and has no toxics."""
    listen = an_address()
    server.ask("POST", "/populate", [{"name": "a", "upstream": UP, "listen": listen}])
    server.toxic("latency", proxy="a", latency=5)
    body = [{"name": "a", "upstream": "127.0.0.1:10", "listen": listen}]
    proxy = server.ask("POST", "/populate", body).json()["proxies"][0]
    assert (proxy["listen"], proxy["upstream"], proxy["toxics"]) == (listen, "127.0.0.1:10", [])


def test_populate_stops_at_the_first_that_cannot_listen(server: Any) -> None:
    """Those before it are there and listed, those after it are not; a replaced one stays, stopped."""
    listen, other, taken = an_address(), an_address(), server.api.removeprefix("http://")
    server.ask("POST", "/populate", [{"name": "b", "upstream": UP, "listen": other}])
    body = [
        {"name": "a", "upstream": UP, "listen": listen},
        {"name": "b", "upstream": UP, "listen": taken},
        {"name": "c", "upstream": UP, "listen": an_address()},
    ]
    answer = server.ask("POST", "/populate", body)
    assert answer.status_code == 500
    assert answer.json()["error"] == f"listen tcp {taken}: bind: address already in use"
    assert [each["name"] for each in answer.json()["proxies"]] == ["a"]
    left = server.ask("GET", "/proxies").json()
    assert {name: each["enabled"] for name, each in left.items()} == {"a": True, "b": False}
    assert left["b"]["listen"] == other


def test_populate_keeps_proxies_it_does_not_name(server: Any) -> None:
    """What is not in the list is not touched."""
    server.proxy(UP, "other")
    server.ask("POST", "/populate", [{"name": "a", "upstream": UP, "listen": an_address()}])
    assert sorted(server.ask("GET", "/proxies").json()) == ["a", "other"]


def test_reset_enables_and_cleans(server: Any) -> None:
    """After a reset every proxy listens and no toxic is left; the answer has no body."""
    server.proxy(UP, "a")
    server.proxy(UP, "b", enabled=False)
    server.toxic("latency", proxy="a", latency=5)
    server.toxic("timeout", "upstream", proxy="b")
    answer = server.ask("POST", "/reset")
    assert (answer.status_code, answer.content) == (204, b"")
    for proxy in server.ask("GET", "/proxies").json().values():
        assert (proxy["enabled"], proxy["toxics"]) == (True, [])


def test_reset_reads_no_body(server: Any) -> None:
    """Whatever comes as a body, it is not looked at."""
    assert server.ask("POST", "/reset", "garbage").status_code == 204


def test_a_failed_reset_enables_before_it_cleans(server: Any) -> None:
    """Of the other proxies some are as they were and some as new, none is half done."""
    taken = server.api.removeprefix("http://")
    for name in "bcde":
        server.proxy(UP, name, enabled=False)
        server.toxic("latency", proxy=name, latency=5)
    server.ask("POST", "/proxies", {"name": "a", "upstream": UP, "listen": taken, "enabled": False})
    assert server.ask("POST", "/reset").status_code == 500
    for name, proxy in server.ask("GET", "/proxies").json().items():
        if name != "a":
            assert proxy["enabled"] == (proxy["toxics"] == [])


def test_reset_fails_when_a_proxy_cannot_listen(server: Any) -> None:
    """A proxy whose port is taken makes reset a 500, and that proxy keeps its toxics."""
    taken = server.api.removeprefix("http://")
    body = {"name": "a", "upstream": UP, "listen": taken, "enabled": False}
    assert server.ask("POST", "/proxies", body).status_code == 201
    server.toxic("latency", proxy="a", latency=5)
    answer = server.ask("POST", "/reset")
    error = f"listen tcp {taken}: bind: address already in use"
    assert (answer.status_code, answer.json()) == (500, {"error": error, "status": 500})
    assert len(server.ask("GET", "/proxies/a").json()["toxics"]) == 1
