"""A model server that runs already: the stack puts its proxy before it, and leaves it alone otherwise.

The proxy passes bytes on, so the address is plain HTTP: behind TLS the host name would not fit. And it is
loopback: load and faults go to nobody's machine by mistake.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from chaos.stack.addresses import is_loopback
from chaos.stack.errors import StackError
from chaos.stack.model_servers.model_server import ModelServer

ASK_TIMEOUT_S = 10.0


def elsewhere(
    url: str, model: str | None = None, transport: httpx.BaseTransport | None = None
) -> ModelServer:
    """The model server at a URL, with the model named or the first that it serves.

    Raises StackError when it is not on this machine, does not answer, or does not serve the model.
    """
    address = _address(url)
    with httpx.Client(
        base_url=f"http://{address}", timeout=ASK_TIMEOUT_S, trust_env=False, transport=transport
    ) as client:
        try:
            listed = client.get("/v1/models").raise_for_status().json()["data"]
            served = [str(one["id"]) for one in listed]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise StackError(
                f"--llm {url}: no OpenAI-compatible server answers there "
                f"(http://{address}/v1/models: {type(error).__name__}: {error})"
            ) from error
        version = _version(client)
    if not served:
        raise StackError(f"--llm {url}: the server serves no model")
    if model is not None and model not in served:
        raise StackError(
            f"--model {model}: the server at {url} does not serve it; it has {', '.join(served)}"
        )
    return ModelServer("url", version, model or served[0], address=address)


def _address(url: str) -> str:
    """HOST:PORT of a URL. Raises StackError unless it is plain HTTP on this machine."""
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port or parts.path.rstrip("/") not in ("", "/v1"):
        raise StackError(
            f"--llm {url}: write the address of a server as http://127.0.0.1:8000 "
            f"(plain HTTP, since the fault proxy passes bytes on; /v1 may follow)"
        )
    if not is_loopback(parts.hostname):
        raise StackError(
            f"--llm {url}: {parts.hostname} is not this machine, and load and faults go to loopback only "
            f"(127.0.0.1, ::1 or localhost); reach it through a tunnel that ends here"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}"


def _version(client: httpx.Client) -> str:
    try:
        return str(client.get("/version").raise_for_status().json()["version"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return "unknown"
