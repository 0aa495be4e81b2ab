"""A model server that runs already: the stack puts its proxy before it, and leaves it alone otherwise.

The proxy passes bytes on, so the address is plain HTTP: behind TLS the host name would not fit. And it is
loopback: load and faults go to nobody's machine by mistake. The service sends no key, so a server that asks
for one cannot be used; what stands in a URL before the @ is never repeated, since it may be a password.
"""

from __future__ import annotations

import httpx

from chaos.safety.targets import TargetRefused, decide_url
from chaos.stack.errors import StackError
from chaos.stack.model_servers.model_server import ModelServer
from slo.documents import DocumentError

ASK_TIMEOUT_S = 10.0
HOW_TO_WRITE_IT = (
    "write the address of a server as http://127.0.0.1:8000 "
    "(plain HTTP, since the fault proxy passes bytes on; /v1 may follow)"
)


def elsewhere(
    url: str, model: str | None = None, transport: httpx.BaseTransport | None = None
) -> ModelServer:
    """The model server at a URL, with the model named or the first that it serves.

    Raises DocumentError for what is no address on this machine, StackError when no server answers there, or
    it does not serve the model.
    """
    address = address_of(url)
    with httpx.Client(
        base_url=f"http://{address}", timeout=ASK_TIMEOUT_S, trust_env=False, transport=transport
    ) as client:
        try:
            answer = client.get("/v1/models")
            if answer.status_code in (401, 403):
                raise StackError(
                    f"--llm {url}: the server asks for a key (HTTP {answer.status_code}), and the service "
                    f"has none to send; start the server without one (it listens on loopback)"
                )
            served = [str(one["id"]) for one in answer.raise_for_status().json()["data"]]
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


def address_of(url: str) -> str:
    """HOST:PORT of a URL, decided. Raises DocumentError unless it is plain HTTP on this machine."""
    try:
        target = decide_url("--llm", url)
    except TargetRefused as refused:
        raise DocumentError([f"{refused}; {HOW_TO_WRITE_IT}"]) from None
    if target.path not in ("", "/v1"):
        raise DocumentError([f"--llm: {url!r} has a path; {HOW_TO_WRITE_IT}"])
    return target.address


def _version(client: httpx.Client) -> str:
    try:
        return str(client.get("/version").raise_for_status().json()["version"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return "unknown"
