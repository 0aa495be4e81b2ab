"""Golden questions: read whole or refused."""

from pathlib import Path

import pytest

from journeys.questions import Question, QuestionsError, load_questions


def test_each_line_is_a_question_with_the_documents_that_answer_it(tmp_path: Path) -> None:
    """Blank lines are passed over, all others are questions in order."""
    path = tmp_path / "golden.jsonl"
    path.write_text(
        '{"question": "What is é?", "relevant": ["a", "b"]}\n\n{"question": "Why?", "relevant": []}\n'
    )
    assert load_questions(path) == (Question("What is é?", ("a", "b")), Question("Why?", ()))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is not JSON"),
        ('{"question": "x"}', "line 2"),
        ('{"question": " ", "relevant": []}', "line 2"),
        ('{"question": "x", "relevant": [1]}', "line 2"),
        ('{"question": "x", "relevant": [], "id": 3}', "line 2"),
        ("[]", "line 2"),
    ],
)
def test_a_broken_line_refuses_the_file_and_is_named(tmp_path: Path, line: str, words: str) -> None:
    """There is no fallback: recall judged on half a file would be a different recall."""
    path = tmp_path / "golden.jsonl"
    path.write_text('{"question": "ok?", "relevant": ["a"]}\n' + line + "\n")
    with pytest.raises(QuestionsError, match=words):
        load_questions(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """No questions means nothing to ask, which is an error and not an empty run."""
    path = tmp_path / "golden.jsonl"
    path.write_text("\n")
    with pytest.raises(QuestionsError, match="holds no question"):
        load_questions(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error names the path that could not be read."""
    with pytest.raises(QuestionsError, match=r"gone\.jsonl"):
        load_questions(tmp_path / "gone.jsonl")
