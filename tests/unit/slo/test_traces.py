"""Traces as trees: every span once, whatever its parents say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo import traces
from slo.traces import MOST_SPANS, Span, arrange

IDS = st.sampled_from(["", "a", "b", "c", "d", "e"])
SPANS = st.lists(
    st.builds(
        Span,
        id=IDS.filter(bool),
        parent=IDS,
        name=st.just("x"),
        at_s=st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
        duration_s=st.sampled_from([0.0, 0.5, 3.0]),
    ),
    max_size=12,
)


def span(name: str, parent: str = "", at_s: float = 0.0, duration_s: float = 1.0) -> Span:
    return Span(id=name, parent=parent, name=name, at_s=at_s, duration_s=duration_s)


def drawn(*spans: Span) -> list[str]:
    return [f"{'.' * one.depth}{one.span.name}{'?' if one.orphan else ''}" for one in arrange(spans)]


@given(SPANS)
def test_every_span_stands_once_below_its_parent(spans):
    """Orphans, circles, repeated ids and clocks that differ lose nothing, double nothing and hang nothing."""
    placed = arrange(spans)
    assert sorted(map(repr, (one.span for one in placed))) == sorted(map(repr, spans))
    for place, one in enumerate(placed):
        if one.above is None:
            assert one.depth == 0
            continue
        assert one.above < place
        above = placed[one.above]
        assert (above.span.id, above.depth) == (one.span.parent, one.depth - 1)
        between = placed[one.above + 1 : place]
        assert all(other.depth > above.depth for other in between)


@given(SPANS)
def test_only_what_has_a_lost_parent_is_called_an_orphan(spans):
    """What names no parent is a root; what names one that is there hangs below it, unless it is its own."""
    ids = {one.id for one in spans}
    for one in arrange(spans):
        assert not one.orphan or one.span.parent
        if one.span.parent and one.span.parent not in ids:
            assert one.orphan


@given(SPANS, st.randoms())
def test_the_order_of_arrival_changes_nothing(spans, random):
    """Exporters send spans as they end, in batches, from many threads."""
    unique = list({one.id: one for one in spans}.values())
    shuffled = list(unique)
    random.shuffle(shuffled)
    assert arrange(shuffled) == arrange(unique)


def test_siblings_stand_by_their_start():
    """Whatever ended first, what began first comes first."""
    assert drawn(span("root"), span("b", "root", 0.5), span("a", "root", 0.1), span("c", "b", 0.6)) == [
        "root",
        ".a",
        ".b",
        "..c",
    ]


def test_a_circle_of_parents_is_opened_at_its_earliest_span():
    """What hangs below the circle stays below it."""
    assert drawn(span("a", "c", 2.0), span("b", "a", 1.0), span("c", "b", 3.0), span("d", "c", 0.0)) == [
        "b?",
        ".c",
        "..d",
        "..a",
    ]


def test_a_child_that_begins_before_its_parent_stays_its_child():
    """Clocks of two machines differ; the parent's name does not."""
    assert drawn(span("server", "client", -0.3), span("client", at_s=0.0)) == ["client", ".server"]


def test_a_long_chain_needs_no_recursion():
    """A runaway agent makes thousands of nested spans."""
    chain = [span(str(n), str(n - 1) if n else "", n / 1000) for n in range(5_000)]
    assert arrange(chain)[-1].depth == 4_999


@pytest.mark.parametrize("broke", [{"7"}, {"4900"}, set(), {str(n) for n in range(4_000, 4_999)}])
def test_a_large_tree_is_cut_and_keeps_what_broke_the_rule(broke):
    """The span that the tree is shown for is shown."""
    wide = [span("root", at_s=-1.0), *(span(str(n), "root", n / 1000) for n in range(5_000))]
    placed = arrange(wide)
    shown = traces._most_telling(placed, broke)
    assert len(shown) == MOST_SPANS
    assert shown == sorted(set(shown))
    assert shown[0] == 0
    names = {placed[place].span.name for place in shown}
    assert broke <= names or len(names & broke) == MOST_SPANS - 1
