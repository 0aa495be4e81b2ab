"""How much memory can be taken without the machine swapping or killing somebody.

The least of what the machine says is available and what each control group above this process has left:
inside a container the machine's figure is somebody else's memory.
"""

from __future__ import annotations

from pathlib import Path

import psutil

MIB = 1024 * 1024
RESERVE_RATIO = 0.1
RESERVE_BYTES = 512 * MIB
"""What stays free at least: the parts go on allocating while the pressure is on."""
NO_LIMIT = 1 << 60
"""Above it a control group's limit means none; version 1 writes a number near 2**63."""


def available_bytes(cgroup: str | None = None, root: Path = Path("/sys/fs/cgroup")) -> int:
    """What is available to this process; `cgroup` is the text of /proc/self/cgroup."""
    machine = int(psutil.virtual_memory().available)
    return min([machine, *_left_in_groups(_own_groups() if cgroup is None else cgroup, root)])


def reserve_bytes() -> int:
    """What must stay free."""
    return max(RESERVE_BYTES, int(RESERVE_RATIO * psutil.virtual_memory().total))


def _own_groups() -> str:
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""


def _left_in_groups(text: str, root: Path) -> list[int]:
    left = []
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, limit, used, cache = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        folder = top / path.strip("/")
        while True:
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None and most < NO_LIMIT:
                left.append(max(0, most - now + _line(folder / "memory.stat", cache)))
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent
    return left


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _line(path: Path, name: str) -> int:
    """Files in the page cache count as used until somebody needs the room."""
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return 0
    return next((int(line[1]) for line in words if len(line) == 2 and line[0] == name), 0)
