"""The terminal: verdict first, verdict last, nothing wider than 100 columns, nothing said by colour alone."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from slo.report import terminal
from slo.verdict import Verdict, Verdicts


def shown(verdict: Verdict, width: int = 140, colour: bool = False, bundle: Path | None = None) -> list[str]:
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=colour, color_system="truecolor" if colour else None
    )
    terminal.render(verdict, console, bundle)
    return out.getvalue().rstrip("\n").split("\n")


def test_the_verdict_is_the_first_and_the_last_line(verdict: Verdict) -> None:
    """Whoever sees only the top or only the bottom of the screen knows how the run ended."""
    lines = shown(verdict)
    assert "✗ FAIL" in lines[0]
    assert "2 of 24 objectives failed" in lines[0]
    assert "✗ FAIL" in lines[-1]
    assert "exit 1" in lines[-1]


@pytest.mark.parametrize("width", [80, 100, 240])
def test_it_fits(verdict: Verdict, width: int) -> None:
    """No line is longer than the console or than 100 columns, whichever is less."""
    assert max(cell_len(line) for line in shown(verdict, width)) <= min(width, 100)


def test_there_is_colour_only_in_a_terminal(verdict: Verdict) -> None:
    """A file or a pipe gets no escape sequence; a terminal does."""
    assert "\x1b" not in "".join(shown(verdict))
    assert "\x1b[" in "".join(shown(verdict, colour=True))


@pytest.mark.parametrize("name", ["pass", "warn", "fail", "inconclusive", "error"])
def test_every_verdict_has_its_own_word(verdict: Verdict, name: Verdicts) -> None:
    """Without colour the five verdicts still differ."""
    words = {"pass": "PASS ", "warn": "PASS WITH WARNINGS", "fail": "FAIL", "inconclusive": "INCONCLUSIVE"}
    last = shown(verdict.model_copy(update={"verdict": name}))[-1]
    assert words.get(name, "ERROR") in last


def test_markup_and_escapes_in_names_are_shown_not_obeyed(verdict: Verdict) -> None:
    """`[red]` is text, and an escape sequence in a sentence never reaches the terminal."""
    lines = shown(verdict.model_copy(update={"sentences": ("[red]a[/red] \x1b[2J", "[/nothing]")}))
    assert "[red]a[/red]" in lines[0]
    assert "[/nothing]" in lines[1]
    assert "\x1b" not in "".join(lines)


def test_a_missed_objective_is_explained(verdict: Verdict) -> None:
    """The table shows that it failed; below stands what was wanted and why."""
    text = " ".join(" ".join(shown(verdict)).split())
    assert "✗ 97.02 %" in text
    assert "wanted >= 98%" in text
    assert "62 attempts failed or timed out" in text


def test_it_ends_with_commands_to_go_on_with(verdict: Verdict) -> None:
    """To open the report, to judge the bundle again, and which trace to look at; fit to be copied."""
    lines = [" ".join(line.split()) for line in shown(verdict, bundle=Path("my runs/x"))]
    assert any(line.endswith("open 'my runs/x/report.html'") for line in lines)
    assert "judge again ragquake evaluate 'my runs/x'" in lines
    assert f"look at trace {verdict.objectives[2].exemplars[0]}" in lines
    failed = verdict.model_copy(update={"verdict": "error"})
    assert "runs/x/logs" in "\n".join(shown(failed, bundle=Path("runs/x")))


def test_the_reason_stands_beside_the_verdict(verdict: Verdict) -> None:
    """The word that the badge has is not said again."""
    told = (
        "Failed: answered in fault. Journey good_ratio was 62 %.",
        "In fault, 3 % of users got no answer.",
    )
    lines = shown(verdict.model_copy(update={"sentences": told}))
    assert lines[0].strip() == "✗ FAIL   spike: answered in fault. Journey good_ratio was 62 %."
    assert "In fault, 3 % of users got no answer." in lines[1]


def test_each_fault_is_shown_with_what_it_did(verdict: Verdict) -> None:
    """Also in a run that passed: whoever reads the verdict sees that the fault was felt."""
    text = " ".join(" ".join(shown(verdict)).split())
    assert "✓ slow-vector-db latency on vector_db, jitter 200 ms, latency 2 s: 94 of 94 search spans" in text


def test_a_gate_that_did_not_hold_comes_before_the_numbers(verdict: Verdict) -> None:
    """Numbers from a run that cannot be believed are not what one should read first."""
    broken = verdict.gates[1].model_copy(update={"verdict": "inconclusive", "message": "Spans are missing."})
    text = "\n".join(shown(verdict.model_copy(update={"gates": (broken,)})))
    assert text.index("Spans are missing.") < text.index("Objectives")
    assert "What the run did not prove" not in "\n".join(shown(verdict))


def test_an_empty_verdict_can_be_shown() -> None:
    """A harness that failed at once still ends in a verdict and a next step."""
    plain = {"schema": "ragquake/verdict/v1", "verdict": "error", "exit_code": 4, "run": {}}
    lines = shown(Verdict.model_validate(plain))
    assert "ERROR" in lines[0]
    assert "exit 4" in lines[-1]


def test_what_failed_comes_first_and_once(verdict: Verdict) -> None:
    """Among many objectives without enough data the failed one is not lost, and no value is said twice."""
    open_one = verdict.objectives[0].model_copy(
        update={
            "verdict": "inconclusive",
            "target": ">= 95%",
            "message": "90 %; target >= 95% needs 72 samples",
        }
    )
    failed = next(one for one in verdict.objectives if one.verdict == "fail")
    several = [open_one.model_copy(update={"name": f"open-{number}"}) for number in range(20)]
    lines = shown(verdict.model_copy(update={"objectives": (*several, failed)}))
    told = [line for line in lines if line.strip().startswith(("?", "✗")) and " in " in line]
    assert failed.name in told[0]
    assert len([line for line in told if "target >= 95% needs 72 samples" in line]) == 7
    assert not any("wanted >= 95%" in line for line in told)
    assert "and 13 more, all in the report" in "\n".join(lines)


def test_a_command_is_not_broken_by_a_narrow_terminal(verdict: Verdict) -> None:
    """It can be copied, however long the folder's name is."""
    bundle = Path("/tmp") / "a-folder-with-a-long-name" / "20261122T234448Z-vector-db-flapping-9d48d7"
    assert any(str(bundle / "report.html") in line for line in shown(verdict, 40, bundle=bundle))


def test_the_last_line_has_the_exit_code_of_the_command(verdict: Verdict) -> None:
    """A run that a person stopped ends with 130, whatever its evidence comes to."""
    out = io.StringIO()
    terminal.render(verdict, Console(file=out, width=100), exit_code=130)
    assert out.getvalue().rstrip().endswith("exit 130")
