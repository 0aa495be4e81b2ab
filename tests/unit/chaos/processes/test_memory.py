"""What is available: the machine's figure, or less where a control group says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.processes import memory
from chaos.processes.memory import MIB, available_bytes, reserve_bytes


class Machine:
    """What psutil says of a machine with 8 GiB, of which 6 are available."""

    total = 8192 * MIB
    available = 6144 * MIB


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.psutil, "virtual_memory", Machine)


def _group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_without_a_limit_the_machine_decides(tmp_path: Path) -> None:
    """No control groups, no limit, or a file that nobody can read: the machine's own figure."""
    assert available_bytes("", tmp_path) == Machine.available
    _group(tmp_path / "a", memory__max="max", memory__current=10)
    assert available_bytes("0::/a\n", tmp_path) == Machine.available


def test_the_tightest_group_above_decides(tmp_path: Path) -> None:
    """A container may have less left than the machine, and so may what it stands in."""
    _group(tmp_path / "a" / "b", memory__max=4096 * MIB, memory__current=1024 * MIB)
    assert available_bytes("0::/a/b\n", tmp_path) == 3072 * MIB
    _group(tmp_path / "a", memory__max=2048 * MIB, memory__current=1024 * MIB)
    assert available_bytes("0::/a/b\n", tmp_path) == 1024 * MIB


def test_files_in_the_cache_of_a_group_are_available(tmp_path: Path) -> None:
    """The kernel drops them when somebody needs the room."""
    _group(tmp_path / "a", memory__max=1024 * MIB, memory__current=1000 * MIB)
    (tmp_path / "a" / "memory.stat").write_text(f"anon 1\ninactive_file {500 * MIB}\n")
    assert available_bytes("0::/a\n", tmp_path) == 524 * MIB


def test_version_1_of_control_groups_is_read_as_well(tmp_path: Path) -> None:
    """Other files, another folder, and a number near 2**63 for no limit."""
    folder = tmp_path / "memory" / "a"
    _group(folder, memory__limit_in_bytes=512 * MIB, memory__usage_in_bytes=100 * MIB)
    assert available_bytes("4:memory:/a\n3:cpuset:/\n0::/\n", tmp_path) == 412 * MIB
    _group(folder, memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=100 * MIB)
    assert available_bytes("4:memory:/a\n", tmp_path) == Machine.available


def test_a_tenth_of_the_machine_stays_free() -> None:
    """More on a large machine, never less than half a GiB."""
    assert reserve_bytes() == 8192 * MIB // 10
