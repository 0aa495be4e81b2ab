"""The door through which a run gets its stack, and the face that every kind of stack shows it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, Self

from chaos.stack.compose import ComposeStack
from chaos.stack.description import StackDescription
from chaos.stack.errors import StackError
from chaos.stack.local import LocalStack
from chaos.stack.model_servers import SIMULATOR, LlmRequest
from chaos.stack.process import ProcessIdentity
from chaos.stack.proxy_choice import choose_proxy
from slo.documents import DocumentError

KINDS = ("local", "compose")


class Stack(AbstractContextManager["Stack"], Protocol):
    """What a run needs of a stack; entering starts it and waits until it is ready, leaving ends it."""

    @property
    def description(self) -> StackDescription: ...

    @property
    def service_url(self) -> str: ...

    @property
    def proxy_api(self) -> str: ...

    def require_alive(self) -> None: ...

    def child_environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]: ...

    def breaker_states(self) -> dict[str, str]: ...

    def flush(self) -> int: ...

    def adopt(
        self, name: str, process: subprocess.Popen[bytes] | ProcessIdentity, log: Path | None = None
    ) -> None: ...

    def __enter__(self) -> Self: ...


def require_kind(kind: str) -> None:
    """Raise DocumentError for an unknown kind of stack."""
    if kind not in KINDS:
        raise DocumentError([f"--stack {kind}: no stack is called that; allowed: {', '.join(KINDS)}"])


def require_available(kind: str, llm: LlmRequest, state: Path) -> None:
    """Raise DocumentError for an unknown kind of stack, StackError for a model server that is not to be had.

    A run asks this before it makes its bundle; whatever else is wrong shows when the stack starts.
    """
    require_kind(kind)
    if kind == "local":
        llm.resolve(state)


def open_stack(
    kind: str,
    *,
    folder: Path,
    state: Path,
    llm: LlmRequest = SIMULATOR,
    on_requests: bool = False,
    otlp_endpoint: str | None = None,
    service_settings: Mapping[str, str | int | float | bool] | None = None,
    on_progress: Callable[[str], None] = lambda _line: None,
) -> Stack:
    """A stack for a run whose runner is this process, not yet started.

    `folder` gets stack.json and the logs; `state` (`.ragquake`) holds index and Toxiproxy. Settings are
    named as in an experiment (`resilience`, `llm.timeout`). `on_requests` makes faults on requests possible.
    Raises StackError for a model server that is not to be had, and for faults on requests to containers.
    """
    settings = as_environment(service_settings or {})
    if kind == "compose":
        if on_requests:
            raise StackError(
                "before containers stands Toxiproxy alone, which reads no requests; use --stack local"
            )
        return ComposeStack(
            folder=folder, service_settings=settings, llm=llm.llm, model=llm.model, on_progress=on_progress
        )
    return LocalStack(
        folder=folder,
        index_dir=state / "index",
        proxy=choose_proxy(os.environ, state),
        on_requests=on_requests,
        otlp_endpoint=otlp_endpoint,
        service_settings=settings,
        model_server=llm.resolve(state),
        runner=ProcessIdentity.of_this_process(),
        home=state,
        on_progress=on_progress,
    )


def as_environment(settings: Mapping[str, str | int | float | bool]) -> dict[str, str]:
    """Settings as an experiment writes them, as the service reads them: `llm.timeout` is RAG_LLM__TIMEOUT."""
    return {f"RAG_{name.replace('.', '__').upper()}": _text(value) for name, value in settings.items()}


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
