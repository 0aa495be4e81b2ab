"""What this machine offers, and what follows from it for a run, before anybody waits for one.

The examinations are in `chaos.examinations`; here they are put in the order in which a person reads
them (what a run stands on first, what would make it better last) and shown.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chaos import examinations
from chaos.examinations import Finding, Level

HOME = Path(".ragquake")
_MARKS: Mapping[Level, Text] = {
    "ok": Text("✓", style="green"),
    "note": Text("•", style="yellow"),
    "problem": Text("✗", style="bold red"),
}


def examine(home: Path = HOME, environment: Mapping[str, str] | None = None) -> list[Finding]:
    """Look at the machine; takes a second or two and changes nothing."""
    environment = os.environ if environment is None else environment
    sizes = examinations.installed_sizes()
    gpu = examinations.gpu()
    has_gpu = gpu.value != "none"
    return [
        examinations.python(sys.version_info[:3]),
        examinations.cores(psutil.cpu_count() or 1),
        examinations.memory(psutil.virtual_memory().available),
        examinations.disk(shutil.disk_usage(Path.cwd()).free),
        examinations.ports(),
        examinations.index(home / "index"),
        examinations.fault_proxy(environment, home),
        examinations.go(),
        examinations.torch(sizes, has_gpu),
        examinations.faiss(sizes),
        gpu,
        examinations.vllm(home),
        examinations.container_engine(),
    ]


def as_record(finding: Finding) -> dict[str, str]:
    """A finding for machines."""
    return asdict(finding)


def render(findings: Sequence[Finding], console: Console) -> None:
    """A finding a line: mark, name, value, and what follows from it."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=2)
    table.add_column(overflow="fold", ratio=3)
    for finding in findings:
        name = Text(finding.name, style="bold")
        table.add_row(_MARKS[finding.level], name, Text(finding.value), Text(finding.consequence))
    console.print(table)
