"""Commands on parts that stand by themselves: `up`, `down`, `proxy`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from chaos.cli.shared import Llm, Model, State, app, console, example


@app.command(epilog=example("ragquake up", "ragquake up --port service=8080"))
def up(
    port: Annotated[
        list[str] | None, typer.Option("--port", help="PART=NUMBER, e.g. service=8080; others are free ones.")
    ] = None,
    telemetry: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT on this machine to which the service sends its spans: for runs that attach to it."
        ),
    ] = None,
    llm: Llm = "simulator",
    model: Model = None,
    state: State = Path(".ragquake"),
) -> None:
    """Start the stack and leave it running.

    To try things by hand, or to keep it warm; ragquake down stops it.
    """
    from chaos.run.progress import TerminalProgress
    from chaos.safety.interruption import interruptible
    from chaos.stack.model_servers import LlmRequest
    from chaos.stack.ports import parse_ports
    from chaos.stack.up import up as bring_up

    ports = parse_ports(port or ())
    endpoint = _exported_to(telemetry) if telemetry is not None else None
    model_server = LlmRequest.parse(llm, model).resolve(state)
    progress = TerminalProgress(console)
    try:
        with interruptible():  # a start of half a minute is ended by whoever closes the terminal, too
            result = bring_up(
                state,
                otlp_endpoint=endpoint,
                model_server=model_server,
                ports=ports,
                on_progress=progress.step,
            )
    finally:
        progress.close()
    console.print(escape(result.sentence()), highlight=False)


def _exported_to(text: str) -> str:
    """The URL of a HOST:PORT on this machine. Raises DocumentError: a run that attaches listens there."""
    from chaos.safety.targets import TargetRefused, decide_address
    from slo.documents import DocumentError

    try:
        return decide_address("--telemetry", text).url
    except TargetRefused:
        named = re.findall(r"(?:^|:)([1-9]\d{0,4})(?=/|$)", text)
        port = named[0] if named else "4318"
        raise DocumentError(
            [
                f"--telemetry {text}: the service is to send its spans to this machine, where a run that "
                f"attaches listens for them (telemetry.listen of the target file); write HOST:PORT on "
                f"loopback, such as 127.0.0.1:{port}"
            ]
        ) from None


@app.command(epilog=example("ragquake down"))
def down(state: State = Path(".ragquake")) -> None:
    """Stop the stack that `ragquake up` started."""
    from chaos.stack.up import down as bring_down

    console.print(escape(bring_down(state).sentence()), highlight=False)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def proxy(context: typer.Context) -> int:
    """Run the built-in fault proxy, with Toxiproxy's API."""
    from chaos.proxy.__main__ import main as proxy_main

    return proxy_main(context.args, prog="ragquake proxy")
