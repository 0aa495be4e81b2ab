"""Markdown: what a pull request shows, with text from a run shown as text."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from slo.report import markdown
from slo.verdict import Verdict

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs")), max_size=80)


def visible(text: str) -> str:
    """The text that a reader of the rendered Markdown sees."""
    found = []
    for token in READER.parse(text):
        for child in token.children or []:
            assert child.type in ("text", "softbreak", "text_special"), f"{child.type} in {text!r}"
            found.append(child.content)
    return "".join(found)


@given(TEXT)
def test_escaped_text_reads_as_it_was_written(text: str) -> None:
    """No emphasis, link, heading, list or code comes out of a name, in a list or in a table."""
    wanted = " ".join(text.split())
    read = visible(f"- {markdown.escape(text)}").replace("\u2060", "")
    assert read == wanted.replace("\u2060", "")
    if wanted:
        table = f"| a | b |\n| --- | --- |\n| x{markdown.escape(text)} | y |"
        cells = [token.content for token in READER.parse(table) if token.type == "inline"]
        assert len(cells) == 4
        assert cells[3] == "y"


def test_nobody_is_mentioned_and_nothing_is_linked() -> None:
    """An @name notifies nobody, and an address is not clickable."""
    escaped = markdown.escape("ask @somebody at https://evil.test [x](y) #12")
    assert "@somebody" not in escaped
    assert "https://" not in escaped
    assert "<a" not in READER.render(escaped)


def test_the_first_line_is_the_verdict(verdict: Verdict) -> None:
    """The comment opens with mark and word, then the most important sentence."""
    lines = markdown.render(verdict).splitlines()
    assert lines[0] == "## ❌ Fail: spike"
    assert lines[2].startswith("**2 of 24 objectives failed")


def test_all_tables_are_read_as_tables(verdict: Verdict) -> None:
    """Faults, objectives, assertions and segments render with every row, failures first."""
    page = READER.render(markdown.render(verdict))
    assert page.count("<table>") == 4
    assert page.count("<tr>") == (1 + 1) + (1 + 24) + (1 + 3) + (1 + 7)
    first = re.search(r"<h3>Objectives</h3>.*?<tbody>\s*<tr>(.*?)</tr>", page, re.S)
    assert first
    assert "answered" in first[1]
    assert "97.02 %" in first[1]


def test_each_fault_has_a_row_that_says_what_it_did(verdict: Verdict) -> None:
    """A reviewer sees from the comment alone whether the faults bit."""
    row = "| ✅ bit | slow-vector-db | latency on vector\\_db, jitter 200 ms, latency 2 s | 94 of 94 search"
    assert row in markdown.render(verdict)


def test_missing_evidence_comes_before_the_numbers(verdict: Verdict) -> None:
    """A gate that did not hold is named above the objectives; a run without one has no such section."""
    broken = verdict.gates[0].model_copy(update={"verdict": "inconclusive", "message": "Load lagged."})
    text = markdown.render(verdict.model_copy(update={"gates": (broken, *verdict.gates[1:])}))
    assert text.index("Load lagged") < text.index("### Objectives")
    assert "Evidence that is missing" not in markdown.render(verdict)


def test_the_report_is_named(verdict: Verdict) -> None:
    """The last line says which file holds the rest."""
    assert markdown.render(verdict).rstrip().endswith("`report.html`.")
