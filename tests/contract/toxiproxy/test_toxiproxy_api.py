"""Toxiproxy's HTTP API v2, row by row; every case runs against Toxiproxy and against the built-in proxy."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

UP = "127.0.0.1:9"
BAD = "bad request body: "
JSON_AS_TEXT = "text/plain; charset=utf-8"
WRONG_STREAM = "stream was invalid, can be either upstream or downstream"


def made(server: Any, name: str = "p", **more: Any) -> dict[str, Any]:
    answer = server.ask("POST", "/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": UP, **more})
    assert answer.status_code == 201, answer.text
    result: dict[str, Any] = answer.json()
    return result


REFUSED_PROXIES = [
    ("empty", "", 400, BAD + "EOF"),
    ("torn", "{", 400, BAD + "unexpected EOF"),
    ("words", "abc", 400, BAD + "invalid character 'a' looking for beginning of value"),
    ("array", "[]", 400, BAD + "json: cannot unmarshal array into Go value of type toxiproxy.Proxy"),
    (
        "name-number",
        '{"name":5}',
        400,
        BAD + "json: cannot unmarshal number into Go struct field Proxy.name of type string",
    ),
    (
        "enabled-string",
        '{"name":"a","upstream":"x:1","enabled":"yes"}',
        400,
        BAD + "json: cannot unmarshal string into Go struct field Proxy.enabled of type bool",
    ),
    ("no-name", '{"upstream":"x:1"}', 400, "missing required field: name"),
    ("no-upstream", '{"name":"a"}', 400, "missing required field: upstream"),
    ("null", "null", 400, "missing required field: name"),
    ("duplicate", '{"name":"p","upstream":"x:1"}', 409, "proxy already exists"),
    (
        "no-port",
        '{"name":"a","upstream":"x:1","listen":"nope"}',
        500,
        "listen tcp: address nope: missing port in address",
    ),
    (
        "port-too-large",
        '{"name":"a","upstream":"x:1","listen":"127.0.0.1:99999"}',
        500,
        "listen tcp: address 99999: invalid port",
    ),
    (
        "port-a-word",
        '{"name":"a","upstream":"x:1","listen":"127.0.0.1:abc"}',
        500,
        "listen tcp: lookup tcp/abc: unknown port",
    ),
]


@pytest.mark.parametrize(("body", "status", "error"), [each[1:] for each in REFUSED_PROXIES], ids=[
    each[0] for each in REFUSED_PROXIES
])  # fmt: skip
def test_a_proxy_that_cannot_be_is_refused(server: Any, body: str, status: int, error: str) -> None:
    """A refused proxy is answered in JSON as text, with Go's words, and is not added."""
    made(server)
    answer = server.ask("POST", "/proxies", body)
    assert (answer.status_code, answer.json()) == (status, {"error": error, "status": status})
    assert answer.headers["Content-Type"] == JSON_AS_TEXT
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.text.endswith("}\n")
    assert list(server.ask("GET", "/proxies").json()) == ["p"]


UNMARSHAL_ARRAY = "json: cannot unmarshal array into Go struct field {} of type {}"
INT = "json: cannot unmarshal {} into Go struct field LatencyToxic.attributes.latency of type int64"
REFUSED_TOXICS = [
    ("empty", "", 400, BAD + "EOF"),
    ("torn", '{"type":', 400, BAD + "unexpected EOF"),
    ("stream", '{"type":"latency","stream":"side"}', 400, WRONG_STREAM),
    ("stream-before-type", '{"type":"nope","stream":"side"}', 400, WRONG_STREAM),
    ("stream-empty", '{"type":"latency","stream":""}', 400, WRONG_STREAM),
    ("type", '{"type":"nope"}', 400, "invalid toxic type"),
    ("no-type", "{}", 400, "invalid toxic type"),
    ("string", '{"type":"latency","attributes":{"latency":"x"}}', 400, BAD + INT.format("string")),
    ("fraction", '{"type":"latency","attributes":{"latency":1.5}}', 400, BAD + INT.format("number 1.5")),
    ("float", '{"type":"latency","attributes":{"latency":100.0}}', 400, BAD + INT.format("number 100.0")),
    ("bool", '{"type":"latency","attributes":{"latency":true}}', 400, BAD + INT.format("bool")),
    (
        "toxicity",
        '{"type":"latency","toxicity":"x"}',
        400,
        BAD + "json: cannot unmarshal string into Go struct field ToxicWrapper.toxicity of type float32",
    ),
    (
        "attributes-array",
        '{"type":"latency","attributes":[]}',
        400,
        BAD + UNMARSHAL_ARRAY.format("ToxicWrapper.attributes", "toxics.NoopToxic"),
    ),
    (
        "duplicate-before-attributes",
        '{"type":"latency","name":"noop_downstream","attributes":{"latency":"x"}}',
        409,
        "toxic already exists",
    ),
    (
        "duplicate-across-streams",
        '{"type":"latency","name":"noop_downstream","stream":"upstream"}',
        409,
        "toxic already exists",
    ),
]


@pytest.mark.parametrize(("body", "status", "error"), [each[1:] for each in REFUSED_TOXICS], ids=[
    each[0] for each in REFUSED_TOXICS
])  # fmt: skip
def test_a_toxic_that_cannot_be_is_refused(server: Any, body: str, status: int, error: str) -> None:
    """A refused toxic is told by JSON, stream, type, duplicate and attributes, in that order."""
    made(server)
    server.toxic("noop")
    answer = server.ask("POST", "/proxies/p/toxics", body)
    assert (answer.status_code, answer.json()) == (status, {"error": error, "status": status})
    assert answer.headers["Content-Type"] == JSON_AS_TEXT
    assert len(server.ask("GET", "/proxies/p/toxics").json()) == 1


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/proxies/no", "proxy not found"),
        ("POST", "/proxies/no", "proxy not found"),
        ("DELETE", "/proxies/no", "proxy not found"),
        ("GET", "/proxies/no/toxics", "proxy not found"),
        ("POST", "/proxies/no/toxics", "proxy not found"),
        ("GET", "/proxies/p/toxics/no", "toxic not found"),
        ("POST", "/proxies/p/toxics/no", "toxic not found"),
        ("DELETE", "/proxies/p/toxics/no", "toxic not found"),
    ],
)
def test_what_is_not_there_is_a_404(server: Any, method: str, path: str, error: str) -> None:
    """An unknown proxy or toxic is named as such, whatever is asked of it."""
    made(server)
    answer = server.ask(method, path, "{}" if method == "POST" else None)
    assert (answer.status_code, answer.json()) == (404, {"error": error, "status": 404})


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/", 404, "404 page not found\n"),
        ("GET", "/proxies/", 404, "404 page not found\n"),
        ("GET", "/metrics", 404, "404 page not found\n"),
        ("PUT", "/proxies", 405, ""),
        ("DELETE", "/proxies", 405, ""),
        ("HEAD", "/proxies", 405, ""),
        ("OPTIONS", "/version", 405, ""),
        ("GET", "/reset", 405, ""),
    ],
)
def test_unknown_paths_and_methods(server: Any, method: str, path: str, status: int, text: str) -> None:
    """A path that is not there is a plain 404, a method that is not there an empty 405."""
    answer = server.ask(method, path)
    assert (answer.status_code, answer.text) == (status, text)


def test_browsers_are_turned_away(server: Any) -> None:
    """A page in a browser must not drive the API; the check is on the agent's first letters."""
    answer = server.ask("GET", "/version", headers={"User-Agent": "Mozilla/5.0"})
    assert (answer.status_code, answer.text) == (403, "User agent not allowed\n")
    assert answer.headers["Content-Type"] == JSON_AS_TEXT
    assert server.ask("GET", "/version", headers={"User-Agent": "mozilla/5.0"}).status_code == 200


def test_version_is_json_and_requests_are_numbered(server: Any) -> None:
    """The version is JSON with a newline, and every matched answer carries a request id of its own."""
    first, second = server.ask("GET", "/version"), server.ask("GET", "/version")
    assert list(first.json()) == ["version"]
    assert first.text.endswith("}\n")
    assert first.headers["Content-Type"] == "application/json;charset=utf-8"
    ids = {answer.headers["X-Toxiproxy-Request-Id"] for answer in (first, second)}
    assert len(ids) == 2
    assert ("builtin" in first.json()["version"]) == (server.kind == "builtin")


def test_a_proxy_reads_back_as_it_was_made(server: Any) -> None:
    """Creating answers 201 with the real port; the list and the proxy itself say the same."""
    proxy = made(server)
    assert list(proxy) == ["name", "listen", "upstream", "enabled", "Logger", "toxics"]
    assert proxy["enabled"] is True
    assert proxy["toxics"] == []
    assert not proxy["listen"].endswith(":0")
    assert server.ask("GET", "/proxies").json() == {"p": proxy}
    answer = server.ask("GET", "/proxies/p")
    assert answer.json() == proxy
    assert answer.headers["Content-Type"] == "application/json"


def test_keys_in_any_case_trailing_text_and_host_names(server: Any) -> None:
    """Bodies are read as Go reads them: any case, first value only; `localhost` becomes an address."""
    body = '{"NAME":"p","Upstream":"127.0.0.1:9","listen":"localhost:0","zz":1} trailing'
    answer = server.ask("POST", "/proxies", body)
    assert answer.status_code == 201
    assert answer.json()["listen"].startswith("127.0.0.1:")


def test_a_proxy_without_listen_takes_any_interface(server: Any) -> None:
    """No `listen` means a random port on every interface."""
    answer = server.ask("POST", "/proxies", {"name": "p", "upstream": UP})
    assert answer.status_code == 201
    assert answer.json()["listen"].startswith("[::]:")


def test_a_disabled_proxy_has_no_port_until_enabled(server: Any) -> None:
    """Port 0 stays 0 while disabled and becomes real on enabling."""
    assert made(server, enabled=False)["listen"] == "127.0.0.1:0"
    enabled = server.ask("POST", "/proxies/p", {"enabled": True}).json()
    assert enabled["enabled"] is True
    assert not enabled["listen"].endswith(":0")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_updating_a_proxy_keeps_what_is_not_said(server: Any, method: str) -> None:
    """Fields that are absent keep their value, the name is fixed, toxics stay."""
    before = made(server)
    server.toxic("latency", latency=5)
    after = server.ask(method, "/proxies/p", {"name": "zz", "upstream": "127.0.0.1:10"}).json()
    assert (after["name"], after["listen"], after["upstream"]) == ("p", before["listen"], "127.0.0.1:10")
    assert after["enabled"] is True
    assert [toxic["type"] for toxic in after["toxics"]] == ["latency"]


def test_an_update_that_cannot_listen_leaves_the_proxy_disabled(server: Any) -> None:
    """Moving to a taken port is a 500; the proxy is then disabled, with the new address."""
    made(server)
    taken = made(server, "q")["listen"]
    answer = server.ask("POST", "/proxies/p", {"listen": taken})
    error = f"listen tcp {taken}: bind: address already in use"
    assert (answer.status_code, answer.json()) == (500, {"error": error, "status": 500})
    after = server.ask("GET", "/proxies/p").json()
    assert (after["listen"], after["enabled"]) == (taken, False)


def test_an_update_with_a_bad_address_changes_nothing(server: Any) -> None:
    """An address that cannot be parsed is a 500 without `listen tcp`, and the proxy goes on."""
    before = made(server)
    answer = server.ask("POST", "/proxies/p", {"listen": "nope"})
    assert (answer.status_code, answer.json()["error"]) == (500, "address nope: missing port in address")
    assert server.ask("GET", "/proxies/p").json() == before


def test_deleting_a_proxy(server: Any) -> None:
    """A deleted proxy answers 204 without a body, once."""
    made(server)
    answer = server.ask("DELETE", "/proxies/p")
    assert (answer.status_code, answer.content) == (204, b"")
    assert server.ask("DELETE", "/proxies/p").status_code == 404


DEFAULTS = {
    "latency": {"latency": 0, "jitter": 0},
    "slow_close": {"delay": 0},
    "timeout": {"timeout": 0},
    "reset_peer": {"timeout": 0},
    "limit_data": {"bytes": 0},
    "noop": {},
}


@pytest.mark.parametrize("kind", list(DEFAULTS))
def test_the_defaults_of_a_toxic(server: Any, kind: str) -> None:
    """A toxic by type alone is downstream, always on, named after both, with every attribute listed."""
    made(server)
    answer = server.ask("POST", "/proxies/p/toxics", {"type": kind})
    assert answer.status_code == 200
    assert list(answer.json()) == ["attributes", "name", "type", "stream", "toxicity"]
    assert answer.json() == {
        "attributes": DEFAULTS[kind],
        "name": f"{kind}_downstream",
        "type": kind,
        "stream": "downstream",
        "toxicity": 1,
    }
    assert '"toxicity":1}' in answer.text
    assert server.ask("GET", f"/proxies/p/toxics/{kind}_downstream").json() == answer.json()


def test_streams_are_read_in_any_case_and_echoed_as_sent(server: Any) -> None:
    """`DownStream` is downstream, and its spelling stays, also in the default name."""
    made(server)
    body = {"type": "slow_close", "stream": "DownStream", "attributes": {"DELAY": 7}}
    toxic = server.ask("POST", "/proxies/p/toxics", body).json()
    assert (toxic["stream"], toxic["name"]) == ("DownStream", "slow_close_DownStream")
    assert toxic["attributes"] == {"delay": 7}


def test_toxics_are_listed_upstream_first(server: Any) -> None:
    """The list holds the upstream chain, then the downstream one, each in the order of adding."""
    made(server)
    server.toxic("noop")
    server.toxic("latency", "upstream")
    server.toxic("latency")
    names = [toxic["name"] for toxic in server.ask("GET", "/proxies/p/toxics").json()]
    assert names == ["latency_upstream", "noop_downstream", "latency_downstream"]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_updating_a_toxic_merges_attributes(server: Any, method: str) -> None:
    """Only attributes, key by key, and toxicity change; type, name and stream are fixed."""
    made(server)
    server.toxic("latency", latency=5, jitter=2)
    body = {"attributes": {"latency": 9}, "toxicity": 0.5, "type": "x", "name": "y", "stream": "z"}
    answer = server.ask(method, "/proxies/p/toxics/latency_downstream", body)
    assert answer.status_code == 200
    assert answer.json() == {
        "attributes": {"latency": 9, "jitter": 2},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 0.5,
    }
    assert server.ask(method, "/proxies/p/toxics/latency_downstream", {}).json()["toxicity"] == 0.5


def test_an_update_of_a_toxic_needs_a_body_and_integers(server: Any) -> None:
    """An empty body and a string for a number are 400 in Go's words."""
    made(server)
    server.toxic("timeout", timeout=5)
    path = "/proxies/p/toxics/timeout_downstream"
    assert server.ask("POST", path, "").json()["error"] == BAD + "EOF"
    wrong = "json: cannot unmarshal string into Go struct field TimeoutToxic.attributes.timeout of type int64"
    assert server.ask("POST", path, '{"attributes":{"timeout":"x"}}').json()["error"] == BAD + wrong


def test_removing_a_toxic(server: Any) -> None:
    """A removed toxic answers 204 without a body, once."""
    made(server)
    server.toxic("latency")
    answer = server.ask("DELETE", "/proxies/p/toxics/latency_downstream")
    assert (answer.status_code, answer.content) == (204, b"")
    assert server.ask("DELETE", "/proxies/p/toxics/latency_downstream").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"type": "latency", "toxicity": 2.5},
        {"type": "latency", "toxicity": -1},
        {"type": "latency", "attributes": {"latncy": 5}},
        {"type": "slicer", "attributes": {"average_size": 5, "size_variation": 5}},
        {"type": "slicer"},
        {"type": "bandwidth", "attributes": {"rate": 0}},
    ],
    ids=lambda body: f"{body['type']}-{body.get('attributes', body.get('toxicity'))}",
)
def test_documented_deviation_what_cannot_work_is_refused(server: Any, body: dict[str, Any]) -> None:
    """Toxiproxy takes what cannot work (and may die of it later); the built-in proxy answers 400."""
    made(server)
    answer = server.ask("POST", "/proxies/p/toxics", body)
    assert answer.status_code == (200 if server.kind == "toxiproxy" else 400), answer.text
    if server.kind == "builtin":
        assert answer.json()["status"] == 400
        assert server.ask("GET", "/proxies/p/toxics").json() == []


def test_documented_deviation_a_refused_update_changes_nothing(server: Any) -> None:
    """Toxiproxy applies the half of a refused update that came first; the built-in proxy none of it."""
    made(server)
    server.toxic("latency", latency=5)
    path = "/proxies/p/toxics/latency_downstream"
    assert server.ask("POST", path, '{"attributes":{"latency":9,"jitter":"x"}}').status_code == 400
    assert server.ask("GET", path).json()["attributes"]["latency"] == (9 if server.kind == "toxiproxy" else 5)
