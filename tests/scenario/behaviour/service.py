"""One running service: ask it, watch it, and have its evidence once it has ended."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx

from rag_service import settings as service_settings
from tests.scenario.behaviour.client import Ask, drive
from tests.scenario.behaviour.evidence import Attempt, Evidence, Reading
from tests.scenario.behaviour.parts import ModelServer

_SAMPLE_S = 0.05


class Service:
    """One running service and what has been seen of it."""

    def __init__(self, arm: str, url: str, settings: service_settings.Settings, model: ModelServer) -> None:
        self.arm = arm
        self.url = url
        self.settings = settings
        self.attempts: list[Attempt] = []
        self.marks: dict[str, float] = {}
        self.notes: dict[str, Any] = {}
        self._model = model
        self.readings: list[Reading] = []
        self.sampled = threading.Event()
        self.found: Evidence | None = None

    def ask(self, *asks: Ask) -> tuple[Attempt, ...]:
        """Drive these callers to their end."""
        done = asyncio.run(drive(self.url, asks, len(self.attempts)))
        self.attempts += done
        return done

    def ask_aside(self, *asks: Ask) -> Aside:
        """The same in a thread, so that faults can come and go meanwhile."""
        return Aside(self, asks)

    def mark(self, name: str) -> None:
        """Name this moment."""
        self.marks[name] = time.time()

    def breakers(self) -> dict[str, str]:
        listed = httpx.get(f"{self.url}/v1/breakers", trust_env=False).json()["breakers"]
        return {breaker["name"]: breaker["state"] for breaker in listed}

    def readiness(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/readyz", trust_env=False)
        return {"status": answer.status_code, **answer.json()}

    def ask_until_full(self, limit_s: float) -> float:
        """Ask one question after the other until one is answered in full; the time that took."""
        started = time.monotonic()
        while time.monotonic() - started < limit_s:
            (attempt,) = self.ask(Ask(stream=False))
            if attempt.outcome == "full":
                return time.monotonic() - started
            time.sleep(0.05)
        return float("inf")

    @property
    def evidence(self) -> Evidence:
        """All of it, once the service has ended."""
        assert self.found is not None, "leave the service's block first"
        return self.found

    def sample(self) -> None:
        """Watch the model server's places until `sampled`."""
        while not self.sampled.wait(_SAMPLE_S):
            with suppress(httpx.HTTPError):
                self.readings.append(self._model.read())


class Aside:
    """Callers in another thread; leaving the block waits for them."""

    def __init__(self, service: Service, asks: Sequence[Ask]) -> None:
        self._error: BaseException | None = None

        def work() -> None:
            try:
                service.ask(*asks)
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=work, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error
