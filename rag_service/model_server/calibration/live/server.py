"""The server that is measured: where it is, what it serves, what it says about itself, and asking it.

Loopback only: load goes to nobody's machine by mistake. A server elsewhere is reached through a tunnel that
ends here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from rag_service.loopback import is_loopback
from rag_service.model_server.calibration.live import prompts
from rag_service.model_server.calibration.live.answers import Answer, read
from rag_service.model_server.calibration.live.errors import CalibrationError

_CONNECT_S = 10.0
_SILENCE_S = 120.0
_FEW_WORDS, _MANY_WORDS = 20, 220
_PROBE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Described:
    """What a server says about itself; None where it does not."""

    model: str
    version: str | None
    max_model_len: int | None
    kv_blocks: int | None
    block_tokens: int | None


def parse_url(url: str) -> str:
    """`http://HOST:PORT` of a URL. Raises ValueError unless it is plain HTTP on this machine."""
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port or parts.path.rstrip("/") not in ("", "/v1"):
        raise ValueError(f"{url!r} is no address of a server; write http://127.0.0.1:8000 (/v1 may follow)")
    if not is_loopback(parts.hostname):
        raise ValueError(
            f"{url!r}: {parts.hostname} is not this machine, and load goes to loopback only (127.0.0.1, ::1 "
            f"or localhost); reach it through a tunnel that ends here"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"http://{host}:{port}"


class Server:
    """One model of one server, asked over connections that stay open. Use it with `async with`."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url = url
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._model = ""
        self._forced = True
        self.tokens = prompts.Tokens(0.0, 1.0)

    async def __aenter__(self) -> Server:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S),
            headers={"accept-encoding": "identity", "authorization": "Bearer none"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def lengths_are_forced(self) -> bool:
        """Whether answers are as long as is asked for; else as long as the model makes them."""
        return self._forced

    async def describe(self, model: str | None) -> Described:
        """Choose a model, the first one unless named. Raises CalibrationError."""
        listed = await self._get_json("/v1/models")
        try:
            cards = {str(card["id"]): card for card in listed["data"]}
        except (KeyError, TypeError):
            raise CalibrationError(f"{self._url}/v1/models lists no models; is it OpenAI's API?") from None
        if not cards or (model is not None and model not in cards):
            there = ", ".join(cards) or "none"
            raise CalibrationError(f"the server does not serve the model {model!r}; it has {there}")
        self._model = model or next(iter(cards))
        length = cards[self._model].get("max_model_len")
        cache = await self._cache()
        return Described(
            model=self._model,
            version=await self._version(),
            max_model_len=length if isinstance(length, int) else None,
            kv_blocks=_count(cache.get("num_gpu_blocks")),
            block_tokens=_count(cache.get("block_size")),
        )

    async def probe(self, seed: int) -> None:
        """Learn what words cost here, and that answers come in pieces. Raises CalibrationError."""
        random, found = Random(f"probe {seed}"), []
        for number, words in enumerate((_FEW_WORDS, _MANY_WORDS)):
            answer = await self.ask(prompts.text(seed * 10 + number, words, random), _PROBE_TOKENS)
            found.append((words, answer.prompt_tokens))
            if answer.pieces < 2 and answer.output_tokens > 1:
                raise CalibrationError(
                    f"the server gave {answer.output_tokens} tokens in one piece: it does not stream, or "
                    f"something before it holds the stream back"
                )
        try:
            self.tokens = prompts.line(found[0], found[1])
        except ValueError as error:
            raise CalibrationError(f"the server's usage makes no sense: {error}") from None

    async def ask(self, text: str, output_tokens: int) -> Answer:
        """One streamed chat completion. Raises CalibrationError."""
        try:
            return await self._ask(text, output_tokens)
        except _Refused as refused:
            if not self._forced or refused.status not in (400, 422):
                raise CalibrationError(str(refused)) from None
        self._forced = False  # perhaps it does not know vLLM's parameters
        try:
            return await self._ask(text, output_tokens)
        except _Refused as refused:
            raise CalibrationError(str(refused)) from None

    async def _ask(self, text: str, output_tokens: int) -> Answer:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": text}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": output_tokens,
            "temperature": 0.0,
        }
        if self._forced:
            body |= {"ignore_eos": True, "min_tokens": output_tokens}
        content = json.dumps(body).encode()
        received: list[tuple[float, bytes]] = []
        asked_s = self._clock()
        try:
            async with self._open.post(
                f"{self._url}/v1/chat/completions", data=content, headers={"content-type": "application/json"}
            ) as response:
                if response.status != 200:
                    raise _Refused(response.status, (await response.text())[:300])
                if response.content_type != "text/event-stream":
                    raise CalibrationError(
                        f"the server answers a request for a stream with {response.content_type}; only "
                        f"streamed answers have a first token"
                    )
                async for data in response.content.iter_any():
                    received.append((self._clock(), data))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CalibrationError(self._unreachable(error)) from error
        return read(asked_s, received)

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("a Server is used with `async with`")
        return self._session

    async def _get_json(self, path: str) -> Any:
        try:
            async with self._open.get(self._url + path) as response:
                response.raise_for_status()
                return await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise CalibrationError(self._unreachable(error, path)) from error

    async def _version(self) -> str | None:
        try:
            return str((await self._get_json("/version"))["version"])
        except (CalibrationError, KeyError, TypeError):
            return None

    async def _cache(self) -> dict[str, str]:
        """What vLLM's metrics say about its KV cache."""
        try:
            async with self._open.get(f"{self._url}/metrics") as response:
                for family in text_string_to_metric_families(await response.text()):
                    for sample in family.samples:
                        if sample.name == "vllm:cache_config_info":
                            return dict(sample.labels)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            pass
        return {}

    def _unreachable(self, error: BaseException, path: str = "") -> str:
        what = str(error) or type(error).__name__
        return f"no OpenAI-compatible server answers at {self._url}{path}: {what}"


class _Refused(Exception):
    """Another status than 200."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"the server answered {status}: {said}")
        self.status = status


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isdecimal() and int(value) > 0 else None
