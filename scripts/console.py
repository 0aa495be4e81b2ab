"""What set-up says and how it keeps its keys: one line per fact, so that a person can follow it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


class SetupError(Exception):
    """Set-up cannot go on; the message says what is wrong and what to do about it."""


def say(step: str, text: str) -> None:
    """One line of progress, whole even when two steps speak at the same time."""
    print(f"{step:>9} │ {text}\n", end="", flush=True)


def key_of(*parts: str | Path) -> str:
    """A hash over texts and files, in order: equal keys mean that a step has nothing to do."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def read_stamp(path: Path) -> dict[str, str]:
    """What an earlier set-up left behind; empty when there is nothing or nothing readable."""
    try:
        stamp = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in stamp.items()} if isinstance(stamp, dict) else {}


def write_stamp(path: Path, stamp: dict[str, str]) -> None:
    """Written whole or not at all, so that a set-up that was cut off is never taken for a finished one."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(stamp, indent=1, sort_keys=True) + "\n")
    draft.replace(path)
