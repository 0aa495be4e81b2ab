"""The rules of stack.json."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.stack.description import PartRecord, ProxyRecord, StackDescription, read_description
from chaos.stack.errors import StackError
from chaos.stack.process import ProcessIdentity


def _described() -> StackDescription:
    me = ProcessIdentity.of_this_process()
    return StackDescription(
        proxy=ProxyRecord(kind="builtin", version="1", api="http://127.0.0.1:1", why="a test", owned=True),
        parts={
            "service": PartRecord(url="http://127.0.0.1:2", pid=me.pid, created_s=me.created_s),
            "llm": PartRecord(pid=me.pid, created_s=me.created_s - 3600),
            "elsewhere": PartRecord(url="http://127.0.0.1:3"),
        },
    )


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Writing and reading stack.json loses nothing and leaves no temporary file."""
    _described().write(tmp_path / "stack.json")
    assert read_description(tmp_path / "stack.json") == _described()
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]


def test_the_file_has_the_keys_that_others_rely_on(tmp_path: Path) -> None:
    """The names of docs/design/0001, section 6, are those on disk."""
    _described().write(tmp_path / "stack.json")
    raw = json.loads((tmp_path / "stack.json").read_text())
    assert raw["schema"] == "ragquake/stack/v1"
    assert set(raw) == {
        *("schema", "kind", "proxy", "requests_proxy", "parts", "dependencies", "model_server", "service"),
        *("versions", "machine", "lent_by", "lent_to", "target"),
    }
    assert set(raw["parts"]["service"]) == {"url", "pid", "created_s", "command", "log"}
    assert set(raw["proxy"]) == {"kind", "version", "api", "why", "owned"}


def test_a_pid_with_another_creation_time_is_not_the_part() -> None:
    """A pid that somebody else got since is not counted as living."""
    assert set(_described().identities()) == {"service", "llm"}
    assert set(_described().living()) == {"service"}


def test_no_file_is_no_stack(tmp_path: Path) -> None:
    """A missing stack.json is nothing, not an error."""
    assert read_description(tmp_path / "stack.json") is None


def test_what_is_no_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    """The mark of a process may name a folder or a picture; whoever looks for stacks passes over it."""
    picture = tmp_path / "picture"
    picture.write_bytes(b"\xff\xd8")
    for path in (tmp_path, picture):
        with pytest.raises(StackError, match=str(path)):
            read_description(path)


@given(cut=st.integers(min_value=0, max_value=400))
def test_a_damaged_file_is_an_error_that_names_it(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Half a stack.json, cut anywhere, is refused with its path and a way to find the processes."""
    path = tmp_path_factory.getbasetemp() / f"cut-{os.getpid()}.json"
    text = _described().to_json()
    path.write_text(text[: min(cut, len(text) - 3)])
    with pytest.raises(StackError, match="ps -ef") as refused:
        read_description(path)
    assert str(path) in str(refused.value)
