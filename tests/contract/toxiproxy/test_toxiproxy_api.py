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


JSON = "application/json"
PROXY = {"name": "q", "listen": "127.0.0.1:0", "upstream": UP}
ENDPOINTS = [
    ("GET", "/version", None, 200, "application/json;charset=utf-8"),
    ("GET", "/proxies", None, 200, JSON),
    ("POST", "/proxies", PROXY, 201, JSON),
    ("GET", "/proxies/p", None, 200, JSON),
    ("POST", "/proxies/p", {}, 200, JSON),
    ("PATCH", "/proxies/p", {}, 200, JSON),
    ("DELETE", "/proxies/p", None, 204, None),
    ("GET", "/proxies/p/toxics", None, 200, JSON),
    ("POST", "/proxies/p/toxics", {"type": "latency"}, 200, JSON),
    ("GET", "/proxies/p/toxics/noop_downstream", None, 200, JSON),
    ("POST", "/proxies/p/toxics/noop_downstream", {}, 200, JSON),
    ("PATCH", "/proxies/p/toxics/noop_downstream", {}, 200, JSON),
    ("DELETE", "/proxies/p/toxics/noop_downstream", None, 204, None),
    ("POST", "/populate", [PROXY], 201, JSON),
    ("POST", "/reset", None, 204, None),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "content_type"), ENDPOINTS, ids=[
    f"{method}-{path}" for method, path, *_ in ENDPOINTS
])  # fmt: skip
def test_every_endpoint(
    server: Any, method: str, path: str, body: Any, status: int, content_type: str | None
) -> None:
    """Each call has its status and content type, a body only where there is one, and a request id."""
    made(server)
    server.toxic("noop")
    answer = server.ask(method, path, body)
    assert (answer.status_code, answer.headers.get("Content-Type")) == (status, content_type)
    assert bool(answer.content) == (status != 204)
    assert len(answer.headers["X-Toxiproxy-Request-Id"]) == 20
    refused = server.ask(method, path, body, headers={"User-Agent": "Mozilla/5.0"})
    assert (refused.status_code, refused.text) == (403, "User agent not allowed\n")


REFUSED_PROXIES = [
    ("empty", "", 400, BAD + "EOF"),
    ("torn", "{", 400, BAD + "unexpected EOF"),
    ("words", "abc", 400, BAD + "invalid character 'a' looking for beginning of value"),
    ("comma", '{"name":"a",}', 400, BAD + "invalid character '}' looking for beginning of object key string"),
    ("no-comma", '{"name":"a" "b"}', 400, BAD + "invalid character '\"' after object key:value pair"),
    ("no-colon", '{"name" 1}', 400, BAD + "invalid character '1' after object key"),
    ("literal", '{"enabled":tru}', 400, BAD + "invalid character '}' in literal true (expecting 'e')"),
    ("control", '{"name":"\x01"}', 400, BAD + "invalid character '\\x01' in string literal"),
    ("newline", '{"name":"\n"}', 400, BAD + "invalid character '\\n' in string literal"),
    ("quote", "{'name':1}", 400, BAD + "invalid character '\\'' looking for beginning of object key string"),
    ("escape", '{"name":"\\z"}', 400, BAD + "invalid character 'z' in string escape code"),
    ("hex", '{"name":"\\u12g4"}', 400, BAD + "invalid character 'g' in \\u hexadecimal character escape"),
    ("zero", '{"name":01}', 400, BAD + "invalid character '1' after object key:value pair"),
    ("minus", '{"name":-x}', 400, BAD + "invalid character 'x' in numeric literal"),
    ("point", '{"name":1.}', 400, BAD + "invalid character '}' after decimal point in numeric literal"),
    ("exponent", '{"name":1e}', 400, BAD + "invalid character '}' in exponent of numeric literal"),
    ("in-array", '{"name":[1 2]}', 400, BAD + "invalid character '2' after array element"),
    ("not-a-number", '{"name":NaN}', 400, BAD + "invalid character 'N' looking for beginning of value"),
    ("deep", "[" * 20_000, 400, BAD + "invalid character '[' exceeded max depth"),
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
FLOAT = "json: cannot unmarshal number {} into Go struct field ToxicWrapper.toxicity of type float32"
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
    ("exponent", '{"type":"latency","attributes":{"latency":1e3}}', 400, BAD + INT.format("number 1e3")),
    (
        "too-large",
        '{"type":"latency","attributes":{"latency":9223372036854775808}}',
        400,
        BAD + INT.format("number 9223372036854775808"),
    ),
    (
        "endless",
        '{"type":"latency","attributes":{"latency":' + "9" * 5000 + "}}",
        400,
        BAD + INT.format("number " + "9" * 5000),
    ),
    (
        "toxicity-endless",
        '{"type":"latency","toxicity":' + "9" * 400 + "}",
        400,
        BAD + FLOAT.format("9" * 400),
    ),
    ("toxicity-too-large", '{"type":"latency","toxicity":1e999}', 400, BAD + FLOAT.format("1e999")),
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
        ("GET", "/proxies/p/", 404, "404 page not found\n"),
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


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("//version", "/version"),
        ("/./version", "/version"),
        ("/proxies//p", "/proxies/p"),
        ("/proxies/..", "/"),
        ("/proxies/%2e%2e", "/"),
        ("/proxies/p/../q/", "/proxies/q/"),
    ],
)
def test_untidy_paths_are_sent_on(server: Any, path: str, to: str) -> None:
    """Doubled slashes and dots are a 301 to the tidy path."""
    answer = server.say(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head = answer.decode().lower().split("\r\n")
    assert head[0] == "http/1.1 301 moved permanently"
    assert f"location: {to}" in head


def test_browsers_are_told_what_is_not_there(server: Any) -> None:
    """The check on the agent is behind the routes: what is no route stays 404 or 405."""
    browser = {"User-Agent": "Mozilla/5.0"}
    assert server.ask("GET", "/nothing", headers=browser).status_code == 404
    assert server.ask("PUT", "/proxies", headers=browser).status_code == 405


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"POST /reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n", 400),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 2_000_000 + b"\r\n\r\n", 431),
    ],
    ids=["garbage", "length", "header-of-2-MB"],
)
def test_requests_that_are_no_http(server: Any, request_: bytes, status: int) -> None:
    """What is no HTTP, or has no bounds, is refused in plain text, and the connection ends."""
    head, _, body = server.say(request_).partition(b"\r\n\r\n")
    reason = {400: b"Bad Request", 431: b"Request Header Fields Too Large"}[status]
    if status == 431 and not head:
        return  # a reset took the answer along: the rest of the header was still on its way
    assert head.startswith(b"HTTP/1.1 %d %s" % (status, reason))
    assert body == b"%d %s" % (status, reason)
    assert b"connection: close" in head.lower()


def test_bodies_in_chunks_and_pipelined_requests(server: Any) -> None:
    """A body may come in chunks, and two requests at once get two answers in order."""
    body = b'{"name":"p","listen":"127.0.0.1:0","upstream":"127.0.0.1:9"}'
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    answer = server.say(
        b"POST /proxies HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked
        + b"0\r\n\r\n"
        b"GET /proxies/no HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    first, second = (each.partition(b" ")[0] for each in answer.split(b"HTTP/1.1 ")[1:])
    assert (first, second) == (b"201", b"404")


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


def test_an_update_may_leave_the_addresses_empty(server: Any) -> None:
    """An empty upstream is taken, and while disabled an empty `listen`, which becomes every interface."""
    made(server)
    assert server.ask("PATCH", "/proxies/p", {"upstream": ""}).json()["upstream"] == ""
    off = server.ask("PATCH", "/proxies/p", {"enabled": False}).json()
    assert off["listen"].startswith("127.0.0.1:")
    assert server.ask("PATCH", "/proxies/p", {"listen": ""}).json()["listen"] == ""
    assert server.ask("PATCH", "/proxies/p", {"enabled": True}).json()["listen"].startswith("[::]:")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"listen":"127.0.0.1:abc"}', "lookup tcp/abc: unknown port"),
        ('{"listen":"127.0.0.1:99999"}', "address 99999: invalid port"),
    ],
)
def test_an_update_with_a_port_that_cannot_be(server: Any, body: str, error: str) -> None:
    """A port that is none is a 500, and the proxy goes on."""
    before = made(server)
    answer = server.ask("POST", "/proxies/p", body)
    assert (answer.status_code, answer.json()) == (500, {"error": error, "status": 500})
    assert server.ask("GET", "/proxies/p").json() == before


def test_documented_deviation_names_that_cannot_be_reached(start_server: Any, kind: str) -> None:
    """Toxiproxy makes `a/b` and `..`, and no path leads to them; here one does, and `..` is refused."""
    server = start_server(kind)
    assert made(server, "a/b")["name"] == "a/b"
    assert server.ask("GET", "/proxies/a%2Fb").status_code == (200 if server.is_builtin else 404)
    made_up = server.ask("POST", "/proxies", {"name": "..", "upstream": UP, "listen": "127.0.0.1:0"})
    assert made_up.status_code == (400 if server.is_builtin else 201)
    assert b" 301 " in server.say(
        b"DELETE /proxies/.. HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    listed = sorted(server.ask("GET", "/proxies").json())
    assert listed == (["a/b"] if server.is_builtin else ["..", "a/b"])
    assert server.ask("DELETE", "/proxies/a%2Fb").status_code == (204 if server.is_builtin else 404)


def test_text_that_no_answer_could_carry(server: Any) -> None:
    """Half a surrogate pair and bytes that are no UTF-8 come back as U+FFFD, as Go replaces them."""
    made(server)
    for text, name in (('"\\ud800x"', "\ufffdx"), ('"\\ud83d\\ude00"', "\U0001f600")):
        body = f'{{"type":"noop","name":{text}}}'
        assert server.ask("POST", "/proxies/p/toxics", body).json()["name"] == name
    answer = server.say(
        b"POST /proxies/p/toxics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 28\r\n"
        b"Connection: close\r\n\r\n"
        b'{"type":"noop","name":"\xff\xfez"}'
    )
    assert "\ufffd\ufffdz".encode() in answer


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


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("[]", "json: cannot unmarshal array into Go value of type struct { Attributes interface {} "
         r'"json:\"attributes\""; Toxicity float32 "json:\"toxicity\"" }'),
        ('{"attributes":[]}', UNMARSHAL_ARRAY.format(".attributes", "toxics.NoopToxic")),
        ('{"toxicity":"x"}', "json: cannot unmarshal string into Go struct field .toxicity of type float32"),
    ],
    ids=["array", "attributes", "toxicity"],
)  # fmt: skip
def test_an_update_of_a_toxic_of_the_wrong_type(server: Any, body: str, error: str) -> None:
    """A struct without a name is shown whole."""
    made(server)
    server.toxic("noop")
    answer = server.ask("POST", "/proxies/p/toxics/noop_downstream", body)
    assert (answer.status_code, answer.json()["error"]) == (400, BAD + error)


@pytest.mark.parametrize(("sent", "stored"), [
    ("0.1", "0.1"), ("0.123456789", "0.12345679"), ("1", "1"), ("0.0", "0"),
])  # fmt: skip
def test_toxicity_has_32_bits(server: Any, sent: str, stored: str) -> None:
    """A chance is kept as a float32 and shown as short as that allows."""
    made(server)
    answer = server.ask("POST", "/proxies/p/toxics", f'{{"type":"noop","toxicity":{sent}}}')
    assert answer.text.endswith(f'"toxicity":{stored}}}')


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
    assert answer.status_code == (400 if server.is_builtin else 200), answer.text
    after = server.ask("GET", "/proxies/p/toxics").json()
    if server.is_builtin:
        assert answer.json()["status"] == 400
        assert after == []
    else:
        assert after == [answer.json()]
        assert after[0]["toxicity"] == body.get("toxicity", 1)
        assert "latncy" not in after[0]["attributes"]


def test_documented_deviation_a_refused_update_changes_nothing(server: Any) -> None:
    """Toxiproxy applies the half of a refused update that came first; the built-in proxy none of it."""
    made(server)
    server.toxic("latency", latency=5)
    path = "/proxies/p/toxics/latency_downstream"
    assert server.ask("POST", path, '{"attributes":{"latency":9,"jitter":"x"}}').status_code == 400
    assert server.ask("GET", path).json()["attributes"]["latency"] == (9 if server.kind == "toxiproxy" else 5)


def test_documented_deviation_metrics(start_server: Any, kind: str) -> None:
    """Toxiproxy has /metrics behind flags only; the built-in proxy's are its own, and always there."""
    server = start_server(kind)
    if kind == "toxiproxy":
        plain = server.ask("GET", "/metrics")
        assert (plain.status_code, plain.text) == (404, "404 page not found\n")
        server = start_server(kind, "-proxy-metrics", "-runtime-metrics")
        assert "go_goroutines" in server.ask("GET", "/metrics").text
    metrics = server.ask("GET", "/metrics")
    assert metrics.status_code == 200
    assert metrics.headers["Content-Type"].startswith("text/plain")
