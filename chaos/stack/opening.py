"""The door through which a run gets its stack, and the face that every kind of stack shows it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, Self

from chaos.safety.targets import OWN_IT
from chaos.stack.attach import AttachedStack
from chaos.stack.barrier import Flushed
from chaos.stack.compose import ComposeStack
from chaos.stack.description import StackDescription
from chaos.stack.errors import StackError
from chaos.stack.local import LocalStack
from chaos.stack.model_servers import SIMULATOR, LlmRequest
from chaos.stack.ports import LOOPBACK
from chaos.stack.process import ProcessIdentity
from chaos.stack.proxy_choice import choose_proxy
from chaos.stack.target import AttachedTarget, load_target
from slo.documents import DocumentError, did_you_mean
from slo.receiver import Receiver

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

    def flush(self) -> Flushed: ...

    def adopt(
        self, name: str, process: subprocess.Popen[bytes] | ProcessIdentity, log: Path | None = None
    ) -> None: ...

    def __enter__(self) -> Self: ...


def require_kind(kind: str, *, owned: bool = False) -> AttachedTarget | None:
    """The target of a stack that runs already, its addresses decided; nothing for the other kinds.

    `owned` is --i-own-this-target. Raises DocumentError for an unknown kind and for a target that may not be
    hurt.
    """
    if kind in KINDS:
        if owned:
            raise DocumentError([f"{OWN_IT} goes with a target file (--stack FILE), not with --stack {kind}"])
        return None
    path = Path(kind)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        allowed = f"{', '.join(KINDS)}, or a target file (kind: Target)"
        raise DocumentError(
            [f"--stack {kind}: no stack is called that{did_you_mean(kind, KINDS)}; allowed: {allowed}"]
        )
    return load_target(path, owned=owned)


def require_available(
    kind: str, llm: LlmRequest, state: Path, target: AttachedTarget | None = None
) -> AttachedTarget | None:
    """Raise DocumentError for an unknown kind of stack, StackError for a model server that is not to be had.

    A run asks this before it makes its bundle; whatever else is wrong shows when the stack starts. Returns
    the target of a stack that runs already: decided here, unless it was before.
    """
    if target is None:
        target = require_kind(kind)
    if target is not None and llm != SIMULATOR:
        raise DocumentError(
            [f"--llm {llm.llm}: the target of {kind} has a model server of its own; leave that flag out"]
        )
    if kind == "local":
        llm.resolve(state)
    return target


@contextmanager
def open_receiver(
    spool: Path, target: AttachedTarget | None = None, tap: Callable[[bytes], None] = lambda _body: None
) -> Iterator[Receiver]:
    """Where the service's telemetry arrives: on the port that a target exports to, else on any.

    Raises StackError when that port is taken.
    """
    listen = target.telemetry if target is not None else None
    host, port = (str(listen.ip), listen.port) if listen is not None else (LOOPBACK, 0)
    with ExitStack() as open_:
        try:
            receiver = open_.enter_context(Receiver(spool, host, port, tap))
        except OSError as error:
            where = f"telemetry.listen in {target.path}" if target and listen else "the run's receiver"
            raise StackError(
                f"{where}: {error.strerror or error}; does a collector, or another run, take the spans there?"
            ) from error
        yield receiver


def open_stack(
    kind: str,
    *,
    target: AttachedTarget | None = None,
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
    With a `target` the stack runs already.
    Raises StackError for a model server that is not to be had, and for faults on requests to containers.
    """
    settings = as_environment(service_settings or {})
    target = require_kind(kind) if target is None else target
    if target is not None:
        return AttachedStack(
            folder=folder,
            target=target,
            on_requests=on_requests,
            service_settings=settings,
            runner=ProcessIdentity.of_this_process(),
            on_progress=on_progress,
        )
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
