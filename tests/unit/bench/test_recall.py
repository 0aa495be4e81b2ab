"""What `make recall` holds a change to."""

from __future__ import annotations

import json

import pytest

from bench.recall import BASELINE, Baseline, Figures, load_baseline, main, problems, render, write_baseline


def figures(lexical: int, vector: int, hybrid: int, *, of: int = 100, stamp: str = "s1") -> Figures:
    counts = {"lexical": lexical, "vector": vector, "hybrid": hybrid}
    return Figures(stamp, 50, {leg: (True,) * n + (False,) * (of - n) for leg, n in counts.items()})


def baseline(lexical=0.7, vector=0.8, hybrid=0.85, *, questions=100, stamp="s1") -> Baseline:
    return Baseline(stamp, 50, questions, 5, {"lexical": lexical, "vector": vector, "hybrid": hybrid})


def test_as_good_as_before_is_no_problem():
    """Equal, better and a rounding's worth worse pass."""
    assert problems(figures(70, 80, 85), baseline()) == ()
    assert problems(figures(75, 82, 90), baseline()) == ()
    assert problems(figures(70, 80, 84), baseline()) == ()


def test_a_leg_that_fell_is_named():
    """The lexical leg alone answers when the vector DB is lost, so its fall counts as well."""
    (fell,) = problems(figures(66, 80, 85), baseline())
    assert "lexical fell from 0.700 to 0.660" in fell
    assert "hybrid fell" in problems(figures(70, 80, 82), baseline())[0]


@pytest.mark.parametrize("hybrid", [79, 80])
def test_fusion_has_to_beat_each_leg(hybrid):
    """A hybrid that is no better than its better leg is work for nothing, whatever the baseline says."""
    found = problems(figures(70, 80, hybrid), baseline(hybrid=0.5))
    assert ["does not beat the vector leg" in problem for problem in found] == [True]


def test_another_corpus_is_held_more_loosely():
    """Another Python documents other things; a fall of three in a hundred proves nothing there."""
    assert problems(figures(70, 80, 82, stamp="other"), baseline()) == ()
    assert problems(figures(70, 75, 80, stamp="other"), baseline()) != ()


def test_other_questions_need_another_baseline():
    """A share of other questions is another figure."""
    (problem,) = problems(figures(70, 80, 85), baseline(questions=99))
    assert "--write" in problem


def test_what_is_written_is_what_is_read(tmp_path):
    """The file holds exactly what the check reads."""
    path = tmp_path / "baselines" / "recall.json"
    write_baseline(path, figures(70, 80, 85))
    assert load_baseline(path) == baseline()


@pytest.mark.parametrize("content", ["", "[]", '{"stamp": "x"}', '{"more": 1}'])
def test_a_broken_baseline_is_a_sentence(tmp_path, content):
    """It names the file and what to do."""
    path = tmp_path / "recall.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"recall\.json cannot be read .*--write"):
        load_baseline(path)


def test_the_table_names_every_leg_with_its_count():
    """People read the table; CI reads the exit code."""
    text = render(figures(70, 80, 85))
    assert "hybrid       85   0.850" in text
    assert "hybrid finds 5 that vector alone misses, and misses 0 that it finds" in text


def test_a_missing_index_ends_in_a_sentence(tmp_path, capsys):
    """Exit 2 and the command that builds one, before any model is loaded."""
    assert main(["--index", str(tmp_path / "nowhere")]) == 2
    assert "python -m rag_service.ingest" in capsys.readouterr().err


def test_the_committed_baseline_is_over_the_committed_questions():
    """Whoever adds a question measures again."""
    questions = (BASELINE.parents[2] / "journeys" / "golden_questions.jsonl").read_text().splitlines()
    held = json.loads(BASELINE.read_text())
    assert held["questions"] == len(questions)
    assert held["recall_ratio"]["hybrid"] > max(
        held["recall_ratio"]["vector"], held["recall_ratio"]["lexical"]
    )
