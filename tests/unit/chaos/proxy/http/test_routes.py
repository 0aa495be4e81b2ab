"""What the API takes as a fault on requests, and its words for refusing."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.asked import RefusedError
from chaos.proxy.http.fault_set import MAX_FAULTS, HttpFaults
from chaos.proxy.http.faults import http_fault_kinds
from chaos.proxy.http.routes import http_fault_routes, read_spec


def test_a_fault_is_read_with_its_defaults() -> None:
    """Only the type is needed; it is the name, too, and every attribute has its default."""
    spec = read_spec(b'{"type": "http_error", "count": null}')
    assert spec.as_json() == {
        "name": "http_error",
        "type": "http_error",
        "attributes": {"status": 503, "body": None, "retry_after_s": None},
        "path": "*",
        "method": "*",
        "probability": 1.0,
        "count": None,
        "lease": None,
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "allowed is an object"),
        (b"{}", "type is ''; allowed: cut, done_after_abort"),
        (b'{"type": []}', "type is []"),
        (b'{"type": "http_error", "tpye": 1}', "'tpye' is not a key; allowed: name, type"),
        (b'{"type": "http_error", "name": "a/b"}', "without a slash"),
        (b'{"type": "http_error", "name": ".."}', "neither . nor .."),
        (b'{"type": "http_error", "name": ""}', "1 to 200 characters"),
        (b'{"type": "http_error", "name": 3}', "name is 3"),
        (b'{"type": "http_error", "attributes": []}', "attributes is []; allowed is an object"),
        (b'{"type": "http_error", "attributes": {"status": 200}}', "status is 200"),
        (b'{"type": "http_error", "attributes": {"status": 1e999}}', "status is inf"),
        (b'{"type": "http_error", "path": "v1"}', "a glob that begins with /"),
        (b'{"type": "http_error", "method": "post"}', "a method in capitals"),
        (b'{"type": "http_error", "probability": 0}', "above 0, at most 1"),
        (b'{"type": "http_error", "probability": NaN}', "above 0, at most 1"),
        (b'{"type": "http_error", "probability": true}', "above 0, at most 1"),
        (b'{"type": "http_error", "count": 0}', "from 1 to 1000000"),
        (b'{"type": "http_error", "count": 1.0}', "from 1 to 1000000"),
        (b'{"type": "http_error", "lease": ""}', "the name of a lease"),
        (b'{"type": "http_error", "name": "\\ud800"}', "half a surrogate pair"),
        (b'{"type": "http_error", "attributes": {"body": "\\udfff"}}', "half a surrogate pair"),
    ],
)
def test_a_bad_fault_is_refused_with_what_is_allowed(body: bytes, said: str) -> None:
    """Each refusal is a 400 that names the key, its value and what is allowed."""
    with pytest.raises(RefusedError) as caught:
        read_spec(body)
    assert caught.value.status == 400
    assert said in caught.value.message


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["name", "type", "attributes", "path", "method", "probability", "count", "lease"])
attributes = st.sampled_from(
    [parameter.name for kind in http_fault_kinds().values() for parameter in kind.parameters]
)


@given(
    st.sampled_from(list(http_fault_kinds())),
    st.dictionaries(keys, values),
    st.dictionaries(attributes, values),
)
def test_whatever_is_sent_is_read_or_refused(kind: str, body: dict[str, Any], given: dict[str, Any]) -> None:
    """No body makes the server fail, and one that is read is shown again as it will be read."""
    body = {"type": kind, "attributes": given, **body}
    try:
        spec = read_spec(json.dumps(body).encode())
    except RefusedError as refused:
        assert refused.status == 400
        return
    assert read_spec(json.dumps(spec.as_json()).encode()) == spec


class Routes:
    """The routes over one proxy, `p`; `raw` reads no requests."""

    def __init__(self) -> None:
        self.faults = HttpFaults(random.Random(1), lambda: 0.0)
        self.routes = http_fault_routes(self._faults_of, self._require_lease, lambda *answer: answer)

    def _faults_of(self, proxy: str) -> HttpFaults | None:
        if proxy not in ("p", "raw"):
            raise RefusedError("proxy not found", 404)
        return self.faults if proxy == "p" else None

    def _require_lease(self, name: str) -> None:
        if name != "held":
            raise RefusedError("lease not found", 404)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        for pattern, methods in self.routes:
            if found := pattern.fullmatch(path):
                try:
                    return asyncio.run(methods[method](*found.groups(), json.dumps(body).encode()))
                except RefusedError as refused:
                    return refused.status, refused.message
        raise AssertionError(path)


def test_a_fault_is_added_shown_and_removed() -> None:
    """The four calls, and the refusals of a name that is taken or not there."""
    routes = Routes()
    status, shown = routes.ask("POST", "/proxies/p/http_faults", {"type": "http_error", "name": "e"})
    assert (status, shown["name"]) == (200, "e")
    assert routes.ask("GET", "/proxies/p/http_faults") == (200, [shown])
    assert routes.ask("GET", "/proxies/p/http_faults/e") == (200, shown)
    assert routes.ask("POST", "/proxies/p/http_faults", {"type": "stale_results", "name": "e"})[0] == 409
    assert routes.ask("DELETE", "/proxies/p/http_faults/e") == (204, None)
    assert routes.ask("DELETE", "/proxies/p/http_faults/e") == (404, "http fault not found")
    assert routes.ask("GET", "/proxies/p/http_faults/e") == (404, "http fault not found")
    assert routes.ask("GET", "/proxies/p/http_faults") == (200, [])


def test_a_fault_needs_a_proxy_that_reads_requests() -> None:
    """A proxy without `http` is told apart from one that is not there."""
    routes = Routes()
    status, said = routes.ask("POST", "/proxies/raw/http_faults", {"type": "http_error"})
    assert status == 400 and '"http": true' in said
    assert routes.ask("GET", "/proxies/raw/http_faults")[0] == 400
    assert routes.ask("GET", "/proxies/none/http_faults") == (404, "proxy not found")


def test_a_lease_must_be_there() -> None:
    """A fault on a lease that nobody holds is refused, and not added."""
    routes = Routes()
    asked = {"type": "http_error", "lease": "gone"}
    assert routes.ask("POST", "/proxies/p/http_faults", asked) == (404, "lease not found")
    assert routes.ask("POST", "/proxies/p/http_faults", {**asked, "lease": "held"})[1]["lease"] == "held"


def test_faults_have_a_bound() -> None:
    """One proxy takes so many, and says what to do about more."""
    routes = Routes()
    for number in range(MAX_FAULTS):
        assert (
            routes.ask("POST", "/proxies/p/http_faults", {"type": "http_error", "name": f"{number}"})[0]
            == 200
        )
    status, said = routes.ask("POST", "/proxies/p/http_faults", {"type": "http_error"})
    assert status == 400 and "remove one first" in said
