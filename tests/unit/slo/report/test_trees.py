"""A counter-example as a tree: the same in every report, whatever its spans are called."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console

from slo.report import html, junit, markdown, terminal, trees
from slo.traces import Span, arrange
from slo.verdict import Assertion, Trace, TraceSpan, Verdict

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=30)
SPANS = st.lists(
    st.builds(
        TraceSpan,
        depth=st.integers(0, 30),
        name=NAMES,
        at_s=st.floats(-5, 100),
        duration_s=st.none() | st.floats(0, 100),
        outcome=NAMES,
        failed=st.booleans(),
        attributes=st.dictionaries(NAMES, NAMES, max_size=3),
        broke=st.booleans(),
        orphan=st.booleans(),
    ),
    min_size=1,
    max_size=8,
).map(tuple)


def of(verdict: Verdict) -> Trace:
    return next(one.trace for one in verdict.assertions if one.trace)


def with_spans(spans: tuple[TraceSpan, ...]) -> Verdict:
    broken = Assertion(
        name="traces",
        verdict="fail",
        message="x",
        exemplars=("a", "b"),
        trace=Trace(id="a", at_s=1.0, spans=spans),
    )
    plain = {
        "schema": "ragquake/verdict/v1",
        "verdict": "fail",
        "exit_code": 1,
        "run": {},
        "sentences": ["x"],
    }
    return Verdict.model_validate(plain).model_copy(update={"assertions": (broken,)})


def printed(verdict: Verdict) -> str:
    out = io.StringIO()
    terminal.render(verdict, Console(file=out, width=100))
    return out.getvalue()


def test_a_tree_is_drawn_as_its_spans_hang(verdict: Verdict) -> None:
    """Offset, duration, branch, name, how it ended and what else; the span that broke the rule is marked."""
    assert trees.text(of(verdict)) == [
        f"trace {of(verdict).id}, begun 79.4 s into the run, in fault",
        "    offset     took  span                               ended",
        "      0 ms   750 ms  journey ask                        degraded",
        "    3.5 ms   746 ms  └─ POST /v1/answers                degraded  rung lexical",
        "    4.1 ms  19.5 ms     ├─ embeddings all-MiniLM-L6-v2  ok",
        "   23.9 ms   302 ms     ├─ retrieval corpus             timeout   legs lexical",
        "►  24.9 ms   300 ms     │  └─ search corpus             timeout   attempt 1",
        "    327 ms   0.4 ms     ├─ context                      ok",
        "    328 ms   419 ms     └─ breaker llm                  success   state closed",
        "    328 ms   419 ms        └─ chat simulator            ok        finish reasons stop",
        "  and 3 more spans",
    ]


def test_every_report_shows_it(verdict: Verdict, page_text: str) -> None:
    """The terminal, the summary, the JUnit failure and the page name the trace, the span and the others."""
    others = next(one.exemplars for one in verdict.assertions if one.trace)[1:]
    for text in (printed(verdict), markdown.render(verdict), junit.render(verdict), page_text):
        assert of(verdict).id in text
        assert "search corpus" in text and "►" in text
        assert all(other in text for other in others)


def test_the_terminal_keeps_its_width(verdict: Verdict) -> None:
    """Nothing of a tree is wider than 100 columns."""
    assert max(len(line.rstrip()) for line in printed(verdict).splitlines()) <= 100


@settings(max_examples=50, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(SPANS)
def test_a_long_name_keeps_the_width(spans: tuple[TraceSpan, ...]) -> None:
    """Names are cut, however deep they hang."""
    assert max(cell_len(line.rstrip()) for line in printed(with_spans(spans)).splitlines()) <= 100


@settings(max_examples=20, deadline=None)
@given(SPANS)
def test_no_name_of_a_span_is_markup(spans: tuple[TraceSpan, ...]) -> None:
    """Markdown, XML and HTML show names as they are written, in one block, one failure, one table."""
    verdict = with_spans(spans)
    tokens = MarkdownIt("commonmark").parse(markdown.render(verdict))
    (fence,) = [token for token in tokens if token.type == "fence"]
    assert len(fence.content.splitlines()) == len(spans) + 2
    ElementTree.fromstring(junit.render(verdict))
    page = html.render(verdict, None)
    assert len(re.findall(r"<script", page)) == 0
    table = re.search(r'<figure class="tree">.*?</figure>', page, re.S)
    assert table
    assert table[0].count("<tr") == len(spans) + 1


@given(st.lists(st.integers(0, 4), max_size=12))
def test_branches_follow_the_depths_of_a_real_tree(parents: list[int]) -> None:
    """A line is drawn to each next sibling and to nothing else."""
    spans = [
        Span(str(n), str(min(parent, n - 1)) if n else "", "x", float(n), 1.0)
        for n, parent in enumerate(parents)
    ]
    placed = arrange(spans)
    shown = tuple(TraceSpan(depth=one.depth, name="x", at_s=0.0) for one in placed)
    for place, line in enumerate(trees.lines(Trace(id="a", at_s=0.0, spans=shown))):
        depth = placed[place].depth
        after = [one.depth for one in placed[place + 1 :]]
        ends = next((at for at, other in enumerate(after) if other < depth), len(after))
        has_sibling = depth in after[:ends]
        assert len(line.branch) == 3 * depth
        assert not depth or line.branch.endswith("├─ " if has_sibling else "└─ ")
