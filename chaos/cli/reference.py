"""The commands of `docs/reference/cli.md`, made from the command itself: `python -m chaos.cli.reference`.

What stands outside the two marks is written by hand and kept. A contract test holds the page to this.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from chaos.cli import app
from chaos.cli.grouped_help import in_sections

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
BEGIN, END = "<!-- made by python -m chaos.cli.reference -->", "<!-- made until here -->"


def page(before: str) -> str:
    """The page with its commands made anew. Raises ValueError when it has lost its marks."""
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no {BEGIN} … {END}")
    return f"{head}{BEGIN}\n\n{commands()}\n{END}{tail}"


def commands() -> str:
    """All commands: a table by what one wants of them, then each with its flags."""
    known: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    sections = in_sections(known)
    lines = ["| to | command | what it does |", "| --- | --- | --- |"]
    for title, names in sections.items():
        for place, name in enumerate(names):
            shown = "" if place else title.lower()
            lines.append(f"| {shown} | [`ragquake {name}`](#ragquake-{name}) | {_first(known[name])} |")
    lines.append("")
    for names in sections.values():
        for name in names:
            lines += _command(name, known[name])
    return "\n".join(lines)


def _command(name: str, command: Any) -> Iterator[str]:
    yield from (f"## ragquake {name}", "", " ".join((command.help or "").split()), "")
    rows = [_row(one) for one in command.params if not one.hidden]
    if rows:
        yield from ("| argument or flag | default | what it is |", "| --- | --- | --- |", *rows, "")
    examples = [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  ")]
    if examples:
        yield from ("```sh", *examples, "```", "")


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        shown = f"`{parameter.name.upper()}`" + ("…" if parameter.nargs == -1 else "")
    else:
        shown = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    default = "required" if parameter.required else _default(parameter)
    return f"| {shown} | {default} | {_cell(parameter.help or '')} |"


def _default(parameter: Any) -> str:
    default = parameter.default
    if default is None or callable(default) or default is False or default == ():
        return ""
    return f"`{default}`"


def _first(command: Any) -> str:
    return _cell((command.help or "").partition("\n\n")[0].rstrip(" .\n"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
