"""`ragquake --help`: the commands by what one wants of them, in the order in which one meets them.

Plain text, not rich's panels: those cost more CPU time than all else that the command imports, and a list
without frames can be read in any terminal, and searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from typer.core import TyperGroup

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Look around": ("doctor", "list", "explain", "history", "version"),
    "Run": ("run", "suite", "breaking-point", "gameday"),
    "Judge": ("evaluate", "report", "compare"),
    "Write experiments": ("init", "validate", "schema"),
    "By hand": ("up", "down", "stop", "rollback", "proxy", "calibrate"),
}
"""A command that stands in none of them is shown last, under `More`."""


def in_sections(names: Iterable[str]) -> dict[str, list[str]]:
    """The names by section, in its order."""
    known = set(names)
    named = {name for section in SECTIONS.values() for name in section}
    sections = {**SECTIONS, "More": tuple(sorted(known - named))}
    found = {title: [name for name in section if name in known] for title, section in sections.items()}
    return {title: section for title, section in found.items() if section}


class GroupedCommands(TyperGroup):
    """The group of all commands."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A section for each purpose, columns in line."""
        del ctx
        shown = {name: command for name, command in self.commands.items() if not command.hidden}
        longest = max(map(len, shown))
        for title, names in in_sections(shown).items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (f"{name:<{longest}}", shown[name].get_short_help_str(formatter.width - longest - 6))
                        for name in names
                    ]
                )
