"""Progress: lines that stay at a terminal, lines that are added in a log, and never the end of a run."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from chaos.run.live import Figures
from chaos.run.moment import Moment, Plan
from chaos.run.picture import LOG_WIDTH, log_lines, picture
from chaos.run.progress import TerminalProgress

PLANNED = {
    "at_s": 0.0,
    "event": "run.planned",
    "phases": [
        {"name": "baseline", "start_s": 0.0, "end_s": 40.0, "rate_per_s": 2.0, "faults": []},
        {"name": "fault", "start_s": 40.0, "end_s": 100.0, "rate_per_s": 20.0, "faults": ["slow-vector-db"]},
    ],
}
FIGURES = Figures(50, 10.0, 0.125, 0.96, 1.234, begun_per_s=19.8, in_flight=14)


def moment(elapsed_s: float = 72.0, phase: str = "fault", **changed: Any) -> Moment:
    facts: dict[str, Any] = {
        "planned_rate_per_s": 20.0,
        "figures": FIGURES,
        "faults": ("slow-vector-db",),
        "breakers": {"vector_db": "open", "llm": "closed"},
    }
    return Moment(phase=phase, elapsed_s=elapsed_s, left_s=100.0 - elapsed_s, **facts | changed)


def fact(event: str, at_s: float = 0.0, **facts: Any) -> Mapping[str, Any]:
    return {"at_s": at_s, "event": event, **facts}


def logged(width: int = 200) -> tuple[TerminalProgress, io.StringIO]:
    out = io.StringIO()
    return TerminalProgress(Console(file=out, width=width, force_terminal=False)), out


def drawn(shown: Moment, width: int = 80) -> str:
    plan = Plan()
    plan.read(PLANNED)
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(picture(shown, plan, width))
    return console.export_text()


def test_the_picture_says_how_the_run_stands() -> None:
    """Phase k of n, time left, arrivals intended and come, errors, degraded, p95, breakers, faults."""
    text = drawn(moment())
    for told in (
        "fault  2 of 2  0:28 left in phase, 0:28 in all",
        "20/s intended  19.8/s came  14 in flight",
        "p95 1.23 s  errors 12.5 %  degraded 96 %",
        "llm closed  vector_db open",
        "slow-vector-db",
    ):
        assert told in text
    assert "faults    none" in drawn(moment(faults=()))


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_picture_has_as_many_lines_at_every_moment(width: int) -> None:
    """A display that jumps cannot be read; and no line is wider than the terminal."""
    many = tuple(f"a-fault-with-a-long-name-{number}" for number in range(9))
    breakers = {f"breaker_{number}": "half_open" for number in range(9)}
    counts = set()
    for shown in (
        moment(),
        moment(faults=()),
        moment(0.0, "baseline"),
        moment(faults=many, breakers=breakers),
    ):
        lines = drawn(shown, width).splitlines()
        assert max(map(cell_len, lines)) <= width
        counts.add(len(lines))
    assert counts == {6}


def test_a_log_gets_figures_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """Not at every moment, and none of the escape sequences that redraw a line."""
    progress, out = logged()
    progress.fact(PLANNED)
    progress.fact(fact("phase.started", phase="fault"))
    for tenths in range(400, 1000, 2):
        progress.moment(moment(tenths / 10))
    progress.close()
    lines = out.getvalue().splitlines()
    assert lines[0] == "▸ fault  phase 2 of 2: 20 arrivals/s for 60 s, with slow-vector-db"
    figures = [line.split()[0] for line in lines if "/1:40 fault 2/2" in line]
    assert figures == ["0:50/1:40", "1:00/1:40", "1:10/1:40", "1:20/1:40", "1:30/1:40"]
    assert "\x1b" not in out.getvalue() and "\r" not in out.getvalue()
    assert capsys.readouterr().out == ""


def test_a_line_of_a_log_fits_eighty_columns() -> None:
    """Whatever is in it goes on the next line, unbroken."""
    plan = Plan()
    plan.read(PLANNED)
    many = moment(breakers={f"breaker_{number}": "half_open" for number in range(5)}, faults=("one", "two"))
    lines = log_lines(many, plan)
    assert len(lines) > 1 and max(map(cell_len, lines)) <= LOG_WIDTH
    text = "  ".join(line.strip() for line in lines)
    assert "breaker_4 half_open" in text and "faults one, two" in text and "19.8 of 20/s" in text


def test_what_happens_is_told_once() -> None:
    """Faults in and out, stop conditions; a fault that flaps is not told at every turn."""
    progress, out = logged()
    progress.fact(fact("stop.triggered", condition="errors above 50 %", observed="80 %"))
    for at_s in range(0, 20, 2):
        progress.fact(fact("fault.verified", float(at_s), fault="flapping", read_back={}))
        progress.fact(fact("fault.verified_gone", at_s + 1.0, fault="flapping"))
    progress.fact(fact("undo.declared", fault="flapping", undo={}))
    lines = out.getvalue().splitlines()
    assert "stop condition: errors above 50 %; observed 80 %" in lines[0]
    assert [line.strip() for line in lines[1:]] == [
        "fault flapping is in, and was read back",
        "fault flapping is out, and gone",
    ] * 2


def test_names_are_shown_not_obeyed() -> None:
    """Markup in a fault's name, a step or a condition is text."""
    progress, out = logged()
    progress.step("[bold]x[/nothing]")
    progress.fact(fact("stop.triggered", condition="[red]y", observed="[/]"))
    assert "[bold]x[/nothing]" in out.getvalue() and "[red]y; observed [/]" in out.getvalue()


def terminal(height: int = 24, width: int = 80, **options: Any) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width, height=height, force_terminal=True, **options), out


def test_a_terminal_is_redrawn_and_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines that change are gone when nothing more comes; what happened stays."""
    monkeypatch.setenv("TERM", "xterm")
    console, out = terminal()
    progress = TerminalProgress(console)
    progress.fact(PLANNED)
    progress.step("starting")
    for elapsed_s in range(40, 60):
        progress.moment(moment(float(elapsed_s)))
    progress.fact(fact("fault.verified", fault="slow-vector-db", read_back={}))
    progress.moment(moment(61.0))
    progress.close()
    progress.close()
    assert "slow-vector-db is in" in out.getvalue()
    assert out.getvalue().rstrip("\n").endswith("\x1b[2K") and out.getvalue().count(
        "\x1b[?25l"
    ) == out.getvalue().count("\x1b[?25h")


def test_a_step_becomes_a_line_once_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal it is shown once as under way and once as done, in the order in which things happened."""
    monkeypatch.setenv("TERM", "xterm")
    console, out = terminal(width=30)
    progress = TerminalProgress(console)
    progress.step("waiting for a part with a very long name, indeed")
    progress.fact(fact("stack.ready", took_s=12.0))
    progress.step("judging")
    progress.close()
    done = [line for line in out.getvalue().splitlines() if "· " in line]
    assert [line.partition("· ")[2] for line in done] == [
        "waiting for a part with a very long name, indeed", "the stack is ready after 12 s", "judging"
    ]  # fmt: skip
    assert "…" in out.getvalue()


def test_a_tiny_terminal_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six lines on a screen of five would scroll at each redraw."""
    monkeypatch.setenv("TERM", "xterm")
    console, out = terminal(height=5)
    progress = TerminalProgress(console)
    progress.moment(moment())
    progress.moment(moment(73.0))
    assert "\n" not in out.getvalue()
    progress.close()


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("TERM", "unknown")])
def test_a_dumb_terminal_is_a_log(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a line cannot be redrawn, lines are added."""
    monkeypatch.setenv(name, value)
    console, out = terminal()
    progress = TerminalProgress(console)
    for elapsed_s in range(30, 60):
        progress.moment(moment(float(elapsed_s)))
    progress.close()
    assert out.getvalue().count("/1:40 fault") == 2 and "\x1b" not in out.getvalue()


def test_no_color_takes_the_colour_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is respected; with a terminal and without it there is colour."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for is_wanted in (True, False):
        monkeypatch.delenv("NO_COLOR", raising=False)
        if not is_wanted:
            monkeypatch.setenv("NO_COLOR", "1")
        console, out = terminal()
        progress = TerminalProgress(console)
        progress.fact(fact("stop.triggered", condition="x", observed="y"))
        assert ("\x1b[1;31m" in out.getvalue()) == is_wanted


class _Full(io.StringIO):
    """A log on a disk that is full."""

    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_console_that_cannot_be_written_to_ends_no_run(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The display is given up; the run, which may have a fault in, goes on."""
    monkeypatch.setenv("TERM", "xterm")
    progress = TerminalProgress(Console(file=_Full(), force_terminal=is_terminal, width=80, height=24))
    progress.step("starting")
    for elapsed_s in itertools.islice(itertools.count(30), 30):
        progress.moment(moment(float(elapsed_s)))
    progress.fact(fact("stop.triggered", condition="x", observed="y"))
    progress.close()
