"""When runs share a stack and when a new one is started, with stand-ins for the stacks themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from chaos.clock import SystemClock
from chaos.errors import EnvironmentFailure
from chaos.run import stacks
from chaos.run.run_stack import RunStack, StackNeed
from chaos.run.stacks import SharedStacks
from chaos.stack.model_servers import SIMULATOR


class Held:
    """A stack that is up, and what was done with it."""

    def __init__(self, need: StackNeed, bundle: Path) -> None:
        self.need = need
        self.lent_to = [bundle.name]
        self.closed = 0
        self.trouble = ""
        self.comes_back = True

    @property
    def on(self) -> RunStack:
        return RunStack(cast(Any, self), cast(Any, None))

    def lend(self, bundle: Path, _tap: object) -> None:
        self.lent_to.append(bundle.name)

    def take_back(self, _say: object) -> bool:
        return self.comes_back

    def unfit(self, need: StackNeed) -> str:
        return self.trouble or ("another need" if need != self.need else "")

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Held]:
    """Every stack that was started, in order."""
    found: list[Held] = []

    def start(need: StackNeed, _folder: Path, bundle: Path, *_: object) -> Held:
        found.append(Held(need, bundle))
        return found[-1]

    monkeypatch.setattr(stacks.HeldStack, "start", start)
    return found


@pytest.fixture
def shared(tmp_path: Path) -> SharedStacks:
    return SharedStacks(tmp_path, SystemClock())


def need(**settings: str) -> StackNeed:
    return StackNeed("local", Path("state"), SIMULATOR, False, settings)


def run(shared: SharedStacks, name: str, wanted: StackNeed, *, reusable: bool = True) -> RunStack:
    with shared.for_run(wanted, Path(name), lambda _line: None) as on:
        on.reusable = reusable
    return on


def test_runs_of_the_same_need_have_one_stack(shared: SharedStacks, started: list[Held]) -> None:
    """It is started once, goes on after each run, and is ended when the last is over."""
    assert not shared.serves(need())
    assert run(shared, "a", need()).goes_on and run(shared, "b", need()).goes_on
    assert [one.lent_to for one in started] == [["a", "b"]] and started[0].closed == 0
    assert shared.serves(need()) and not shared.serves(need(resilience="off"))
    shared.close()
    assert started[0].closed == 1 and not shared.serves(need())


def test_another_need_ends_the_stack_first(shared: SharedStacks, started: list[Held]) -> None:
    """Two stacks at a time would each be the other's noise."""
    run(shared, "a", need())
    run(shared, "b", need(resilience="off"))
    assert [one.lent_to for one in started] == [["a"], ["b"]]
    assert [one.closed for one in started] == [1, 0]


def test_a_stack_that_is_not_at_rest_is_made_anew(shared: SharedStacks, started: list[Held]) -> None:
    """A breaker that is open, a part that died: the next run shall not start with it."""
    run(shared, "a", need())
    started[0].trouble = "the breaker vector_db is open"
    run(shared, "b", need())
    assert [one.closed for one in started] == [1, 0] and started[1].lent_to == ["b"]


def test_a_run_that_did_not_go_to_its_end_takes_the_stack_with_it(
    shared: SharedStacks, started: list[Held]
) -> None:
    """Stopped early, an answer still under way, or an error: nothing is known of the state it left."""
    assert not run(shared, "a", need(), reusable=False).goes_on
    assert started[0].closed == 1
    with shared.for_run(need(), Path("b"), lambda _line: None) as on:
        on.reusable, started[1].comes_back = True, False
    assert not on.goes_on and started[1].closed == 1
    with (
        pytest.raises(EnvironmentFailure),
        shared.for_run(need(), Path("c"), lambda _line: None) as on,
    ):
        on.reusable = True
        raise EnvironmentFailure("the service died")
    assert started[2].closed == 1 and not on.goes_on


def test_containers_are_not_shared() -> None:
    """Their telemetry goes to the folder of one run."""
    assert need().can_be_shared
    assert not StackNeed("compose", Path("state"), SIMULATOR, False, {}).can_be_shared
