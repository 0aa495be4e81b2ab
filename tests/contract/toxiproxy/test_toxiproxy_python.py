"""toxiproxy-python's own high-level calls against both servers, each of them.

The product uses none of them (`chaos/control/toxiproxy.py` says why), but whoever comes with a script that
does must find the built-in proxy to be Toxiproxy. Its surprises are therefore held, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from toxiproxy import Toxiproxy as Library
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

pytestmark = pytest.mark.slow

UP = "127.0.0.1:9"


@pytest.fixture
def library(server: Any) -> Iterator[Any]:
    """The library's server object; its address is global to the class, so it is put back."""
    before = APIConsumer.host, APIConsumer.port
    found = Library()
    found.update_api_consumer(*server.address)
    yield found
    found.update_api_consumer(*before)


def test_it_finds_the_server(library: Any) -> None:
    """It runs, and its version is JSON."""
    assert library.running() is True
    assert set(json.loads(library.version())) == {"version"}


def test_proxies_are_made_listed_found_and_destroyed(library: Any) -> None:
    """A proxy made without `listen` gets a port on loopback, and is enabled."""
    made = library.create(upstream=UP, name="p")
    assert (made.name, made.upstream, made.enabled) == ("p", UP, True)
    assert made.listen.startswith("127.0.0.1:")
    library.create(upstream=UP, name="q", listen="127.0.0.1:0", enabled=False)
    assert sorted(library.proxies()) == ["p", "q"]
    assert library.get_proxy("q").enabled is False
    assert library.get_proxy("no") is None
    assert made.destroy() is True
    library.destroy_all()
    assert library.proxies() == {}


def test_toxics_are_added_listed_found_and_destroyed(library: Any) -> None:
    """A toxic reads back with its defaults and its attributes."""
    proxy = library.create(upstream=UP, name="p")
    proxy.add_toxic(type="latency", attributes={"latency": 5, "jitter": 2})
    proxy.add_toxic(name="slow", type="bandwidth", stream="upstream", toxicity=0.5, attributes={"rate": 1})
    assert sorted(proxy.toxics()) == ["latency_downstream", "slow"]
    slow = proxy.get_toxic("slow")
    assert (slow.type, slow.stream, slow.toxicity, slow.attributes) == (
        "bandwidth",
        "upstream",
        0.5,
        {"rate": 1},
    )
    assert proxy.get_toxic("no") is None
    assert proxy.destroy_toxic("slow") is True
    assert list(proxy.toxics()) == ["latency_downstream"]


def test_down_enable_and_disable(library: Any, server: Any) -> None:
    """Inside `down()` the proxy is disabled, after it enabled."""
    proxy = library.create(upstream=UP, name="p")
    with proxy.down():
        assert server.ask("GET", "/proxies/p").json()["enabled"] is False
    assert server.ask("GET", "/proxies/p").json()["enabled"] is True
    proxy.disable()
    assert server.ask("GET", "/proxies/p").json()["enabled"] is False
    proxy.enable()
    assert library.get_proxy("p").enabled is True


def test_reset(library: Any) -> None:
    """All proxies are on, all toxics gone."""
    proxy = library.create(upstream=UP, name="p", enabled=False)
    proxy.add_toxic(type="latency")
    assert library.reset() is True
    assert library.get_proxy("p").enabled is True
    assert proxy.toxics() == {}


def test_populate_destroys_what_differs(library: Any) -> None:
    """The library's populate compares text, keeps what is the same and returns only what it made."""
    made = library.populate([{"name": "p", "upstream": UP, "listen": "127.0.0.1:0"}])
    assert [each.name for each in made] == ["p"]
    same = {"name": "p", "upstream": UP, "listen": made[0].listen}
    made[0].add_toxic(type="latency")
    assert library.populate([same]) == []
    assert len(made[0].toxics()) == 1
    again = library.populate([{**same, "upstream": "127.0.0.1:10"}])
    assert [each.upstream for each in again] == ["127.0.0.1:10"]
    assert again[0].toxics() == {}


def test_what_is_refused_is_an_exception(library: Any) -> None:
    """404, 409 and 400 have exceptions of their own."""
    proxy = library.create(upstream=UP, name="p")
    with pytest.raises(ProxyExists):
        library.create(upstream=UP, name="p")
    with pytest.raises(ProxyExists, match="toxic already exists"):
        for _ in range(2):
            proxy.add_toxic(type="latency")
    with pytest.raises(InvalidToxic, match="invalid toxic type"):
        proxy.add_toxic(type="nope")
    with pytest.raises(InvalidToxic, match="stream was invalid"):
        proxy.add_toxic(type="latency", stream="side")
    with pytest.raises(NotFound, match="toxic not found"):
        proxy.destroy_toxic("no")
    proxy.destroy()
    with pytest.raises(NotFound, match="proxy not found"):
        proxy.toxics()


def test_a_500_is_swallowed(library: Any, server: Any) -> None:
    """The library's trap: a reset that failed is `False`, a proxy that cannot listen a `KeyError`."""
    taken = "{}:{}".format(*server.address)
    with pytest.raises(KeyError):
        library.create(upstream=UP, name="p", listen=taken)
    library.create(upstream=UP, name="p", listen=taken, enabled=False)
    assert library.reset() is False
