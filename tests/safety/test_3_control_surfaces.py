"""Strangers at the doors through which faults go in: web pages, other machines, callers without the token."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from chaos.control.builtin_proxy import BuiltinProxy
from chaos.control.fault_proxy import TOKEN_VARIABLE, FaultProxyError
from chaos.proxy.__main__ import main as proxy_main
from chaos.proxy.api import Api
from chaos.proxy.evidence import Evidence
from chaos.proxy.gate import Gate as ProxyGate
from chaos.proxy.registry import Registry
from rag_service.model_server.admin import Gate as SimulatorGate
from rag_service.model_server.admin import admin_routes
from rag_service.model_server.fault_set import FaultSet
from rag_service.model_server.openai_errors import ApiError
from rag_service.model_server.server import _on_api_error, _on_http

TOKEN = "a-token-that-is-long-enough"
App = Callable[..., Any]
LOCAL = ("127.0.0.1:8474", "localhost:8474", "[::1]:8474", "127.0.0.1", "LOCALHOST")
FOREIGN = (
    "evil.example",
    "evil.example:8474",
    "127.0.0.1.evil.example",
    "localhost.evil.example:80",
    "10.0.0.5:8474",
    "0.0.0.0:8474",
    "127.0.0.1@evil.example",
    "[::1",
    "",
)


def proxy_app(token: str | None = None) -> App:
    return Api(Registry(random.Random(1), Evidence(None)), ProxyGate(token))


def simulator_app(token: str | None = None) -> App:
    routes = admin_routes(None, FaultSet(random.Random(1)), SimulatorGate(token))  # type: ignore[arg-type]
    return Starlette(routes=routes, exception_handlers={ApiError: _on_api_error, HTTPException: _on_http})


SURFACES = {"proxy": (proxy_app, "/proxies"), "simulator": (simulator_app, "/admin/faults")}
both = pytest.mark.parametrize("surface", SURFACES)


async def ask(
    surface: str,
    *,
    token: str | None = None,
    method: str = "GET",
    client: str = "127.0.0.1",
    path: str | None = None,
    **headers: str | bytes,
) -> httpx.Response:
    make, default = SURFACES[surface]
    transport = httpx.ASGITransport(app=make(token), client=(client, 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8474") as client_:
        return await client_.request(method, path or default, headers=list(headers.items()))


def answer(surface: str, **asked: Any) -> httpx.Response:
    return asyncio.run(ask(surface, **asked))


@both
@pytest.mark.parametrize("host", LOCAL)
def test_this_machine_is_let_in(surface: str, host: str) -> None:
    """The negative control: by whichever name of its own it calls."""
    assert answer(surface, host=host).status_code == 200
    assert answer(surface, host=host, origin=f"http://{host}").status_code == 200


@both
@pytest.mark.parametrize("host", FOREIGN)
def test_a_page_that_renames_itself_to_loopback_is_refused(surface: str, host: str) -> None:
    """DNS rebinding: the connection comes from this machine, and the Host header still names the page's."""
    refused = answer(surface, host=host)
    assert refused.status_code == 403, refused.text


@both
@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null", "[", ""])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_page_of_elsewhere_is_refused(surface: str, origin: str, method: str) -> None:
    """A form or a script that posts to 127.0.0.1 says whose page it is on."""
    path = {"POST": "/reset", "DELETE": "/proxies/db"}[method] if surface == "proxy" else None
    refused = answer(surface, method=method, path=path, host="127.0.0.1:8474", origin=origin)
    assert refused.status_code == 403


@both
@pytest.mark.parametrize(
    "sent", [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer é"]
)
def test_without_its_token_nobody_is_let_in(surface: str, sent: str | None) -> None:
    """Not from this machine either, once there is one; and a wrong one is no traceback."""
    headers = {} if sent is None else {"authorization": sent.encode("latin-1")}
    assert answer(surface, token=TOKEN, client="10.0.0.7", **headers).status_code == 401
    let_in = answer(surface, token=TOKEN, client="10.0.0.7", authorization=f"bearer {TOKEN}")
    assert let_in.status_code == 200


def test_a_browser_that_has_the_token_is_still_asked_where_its_page_is_from() -> None:
    """Whoever holds a token in a browser does not lend it to every page."""
    page = {"authorization": f"Bearer {TOKEN}", "host": "proxy.test:8474", "origin": "http://evil.example"}
    assert answer("proxy", token=TOKEN, **page).status_code == 403
    assert answer("proxy", token=TOKEN, **{**page, "origin": "http://proxy.test:8474"}).status_code == 200


def test_the_simulator_turns_other_machines_away() -> None:
    """It may listen on a network, as vLLM does; what is done to it, only from here or with a token."""
    assert answer("simulator", client="10.0.0.7").status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "example.com", "127.1.evil", ""])
def test_the_proxy_does_not_listen_elsewhere_without_a_token(
    host: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is said, before a port is open."""
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(SystemExit, match="2"):
        proxy_main(["--host", host, "--port", "0"])
    assert TOKEN_VARIABLE in capsys.readouterr().err


@pytest.mark.parametrize(
    "token", ["short", "fifteen-letters", "a token with a ü in it", "a\ttab-in-a-token-of-mine"]
)
def test_a_token_that_can_be_guessed_is_refused(
    token: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that no header can carry."""
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(SystemExit, match="2"):
        proxy_main(["--host", "0.0.0.0", "--port", "0"])
    said = capsys.readouterr().err
    assert "16 characters" in said and token not in said


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the surfaces themselves have logged."""
    return [record.getMessage() for record in caplog.records if not record.name.startswith("http")]


@both
def test_who_changed_what_is_logged(surface: str, caplog: pytest.LogCaptureFixture) -> None:
    """By address, method and path; a look is not."""
    with caplog.at_level(logging.INFO):
        answer(surface)
        assert told(caplog) == []
        path = "/reset" if surface == "proxy" else "/admin/faults"
        method = "POST" if surface == "proxy" else "DELETE"
        assert answer(surface, method=method, path=path).is_success
    [line] = told(caplog)
    assert f"127.0.0.1:40000: {method} {path}" in line


def test_who_was_turned_away_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A path cannot forge a line of the log."""
    with caplog.at_level(logging.INFO):
        answer("proxy", host="evil.example", path="/proxies/%0a1.2.3.4:5: DELETE everything")
    [line] = told(caplog)
    assert line.endswith("403") and "\n" not in line


def test_a_run_reaches_a_proxy_with_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same variable on both sides; without it the refusal says which one."""
    command = [sys.executable, "-m", "chaos.proxy", "--host", "0.0.0.0", "--port", "0"]
    log = (tmp_path / "log").open("w+b")
    environment = {**os.environ, TOKEN_VARIABLE: TOKEN}
    with log, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().decode().rsplit(":", 1)[1].strip()
            api = f"http://127.0.0.1:{port}"
            assert httpx.get(f"{api}/version", trust_env=False).status_code == 200
            monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
            with pytest.raises(FaultProxyError, match=TOKEN_VARIABLE):
                BuiltinProxy(api).proxies()
            monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
            client = BuiltinProxy(api)
            assert client.proxies() == {}
            client.create_proxy("db", "127.0.0.1:0", "127.0.0.1:9")
        finally:
            process.kill()
            process.communicate()
        log.seek(0)
        said = log.read().decode()
    assert "POST /proxies: 201" in said and "GET /proxies: 401" in said and TOKEN not in said
