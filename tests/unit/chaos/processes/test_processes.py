"""Whom faults on processes may touch: only parts that ragquake started, and only while they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.processes import Processes, ProcessFaultError
from chaos.stack.description import PartRecord
from chaos.stack.local import LocalStack
from chaos.stack.process import ProcessIdentity
from chaos.stack.proxy_choice import ProxyChoice

NOBODY = 2**22 + 1


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    """A stack with this process as its service, a model server elsewhere and a vector DB that has ended."""
    made = LocalStack(
        folder=tmp_path,
        index_dir=tmp_path,
        proxy=ProxyChoice("toxiproxy", "a test", api="http://127.0.0.1:9"),
    )
    me = ProcessIdentity.of_this_process()
    made.description.parts.update(
        service=PartRecord(pid=me.pid, created_s=me.created_s),
        vector_db=PartRecord(pid=NOBODY, created_s=1.0),
        llm=PartRecord(url="http://127.0.0.1:8000"),
    )
    return made


def test_a_part_that_runs_is_found_with_its_children(stack: LocalStack) -> None:
    """The first member is the part's own process."""
    assert Processes(stack).members("service")[0] == ProcessIdentity.of_this_process()


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("llm", "runs at http://127.0.0.1:8000 and was not started by ragquake"),
        ("vector_db", "does not run any more"),
        ("proxy", "this stack has no part 'proxy'; it has service, vector_db, llm"),
    ],
)
def test_all_others_are_refused_with_the_reason(stack: LocalStack, part: str, words: str) -> None:
    """A part of somebody else, one that has ended, one that is not there."""
    for call in (
        Processes(stack).of,
        Processes(stack).members,
        Processes(stack).freeze,
        Processes(stack).end,
    ):
        with pytest.raises(ProcessFaultError, match=words):
            call(part)


def test_a_pid_that_came_round_again_does_not_count_as_running(stack: LocalStack) -> None:
    """The creation time is another, so it is another process."""
    record = stack.description.parts["service"]
    stack.description.parts["service"] = record.model_copy(update={"created_s": 1.0})
    assert Processes(stack).living("service") == ()
    with pytest.raises(ProcessFaultError, match="does not run any more"):
        Processes(stack).of("service")


def test_without_a_stack_of_our_own_everything_is_refused() -> None:
    """Containers cannot be signalled from here; the message says what can."""
    processes = Processes(why="the parts of a compose stack run in containers")
    for call in (processes.of, processes.end, processes.freeze, processes.own_limit, processes.living):
        with pytest.raises(ProcessFaultError, match=r"run in containers; .* local stack"):
            call("llm")
    with pytest.raises(ProcessFaultError, match="run in containers"):
        processes.hogs.states("mine")


def test_what_no_fault_ended_is_not_started(stack: LocalStack) -> None:
    """Starting is the undoing of an ending, and of nothing else."""
    with pytest.raises(ProcessFaultError, match="was not ended by a fault"):
        Processes(stack).start("service")
