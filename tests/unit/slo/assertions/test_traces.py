"""The general rule over traces: what is counted, what a pass needs, and how mistakes are told."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo.assertions import parse, problems_of
from slo.segments import default_table
from slo.segments.selection import SpanSelector


@pytest.fixture
def told(story):
    """Three answers in baseline, three in fault: one of each kind of trouble in the latter."""
    for number in range(6):
        at_s = 10.0 + number if number < 3 else 40.0 + number
        request = story.request(number, at_s, rag__outcome="degraded" if number == 4 else "full")
        story.generate(number, at_s + 0.1, 2.5 if number == 5 else 0.3, request, failed=number == 3)
        if number != 3:
            story.span(number, "context", at_s + 0.05, 0.01, request)
    return story


BLIND = {"select": {"segment": "generate", "status": "error"}, "without": {"segment": "context"}}


def test_what_must_not_be_is_counted_where_it_began(told, assess):
    """A failed generation without a context: one in fault, none in baseline, where nothing was tested."""
    found = assess(told, "traces", **BLIND, count="= 0", in_="fault")
    assert (found.verdict, found.exemplars, found.facts["counted"]) == ("fail", (told.trace(3),), 1)
    assert [span.name for span in found.trace.spans if span.broke] == ["chat m"]
    assert assess(told, "traces", **BLIND, count="= 0", in_="baseline").verdict == "inconclusive"
    assert assess(told, "traces", **BLIND, count="= 0", in_=["baseline", "fault"]).verdict == "fail"
    assert assess(told, "traces", **BLIND, count="<= 1").verdict == "pass"


@pytest.mark.parametrize(
    ("count", "verdict"),
    [
        ("= 1", "pass"),
        (">= 1", "pass"),
        ("> 0", "pass"),
        ("< 2", "pass"),
        ("> 1", "fail"),
        ("< 1", "fail"),
        ("=2", "fail"),
    ],
)
def test_every_operator_counts(told, assess, count, verdict):
    """One trace of the run is degraded."""
    select = {"segment": "request", "attributes": {"rag.outcome": "degraded"}}
    assert assess(told, "traces", select=select, count=count).verdict == verdict


def test_with_asks_for_another_span_of_the_same_trace(told, assess):
    """Slow generations that had their context: the second selector may match any span of the trace."""
    select, other = {"segment": "generate", "longer_than": "2s"}, {"name": "con*", "kind": "Internal"}
    assert assess(told, "traces", select=select, with_=other, count="= 1").verdict == "pass"


def test_too_few_are_shown_by_those_that_come_near(told, assess):
    """What was selected and did not count comes before what was not even selected."""
    select, other = {"segment": "generate", "status": "error"}, {"segment": "context"}
    found = assess(told, "traces", select=select, with_=other, count=">= 1")
    assert (found.verdict, found.exemplars[0]) == ("fail", told.trace(3))


@pytest.mark.parametrize(
    "select",
    [
        {"name": "serach *"},
        {"segment": "request", "attributes": {"rag.outcom": "error"}},
        {"segment": "retrieve", "status": "error"},
    ],
)
def test_what_was_never_seen_cannot_be_absent(told, assess, select):
    """A misspelt name, an attribute that nothing carries, a segment without a span: nothing was tested."""
    found = assess(told, "traces", select=select, count="= 0")
    assert found.verdict == "inconclusive"
    assert "no span of the whole run is" in found.message


def test_a_misspelt_attribute_is_told_its_likely_name(told, assess):
    """The names that the service's spans carry are known."""
    select = {"attributes": {"rag.outcom": "error"}}
    assert "did you mean rag.outcome?" in assess(told, "traces", select=select, count="= 0").message


def test_what_could_have_been_seen_and_was_not_is_absent(told, assess):
    """No request ended in an error, though each of them says how it ended."""
    select = {"segment": "request", "attributes": {"rag.outcome": ["error", "refused"], "error.type": "*"}}
    assert assess(told, "traces", select=select, count="= 0").verdict == "pass"


def test_without_a_misspelt_selector_nothing_passes(told, assess):
    """`without` something that never exists holds for every trace."""
    rule = {"select": {"segment": "generate"}, "without": {"name": "contxt"}, "count": ">= 1"}
    assert assess(told, "traces", **rule).verdict == "inconclusive"


def test_an_empty_phase_proves_nothing(told, assess):
    """No trace began in recovery; nor is there a phase of another name."""
    select = {"segment": "generate", "status": "error"}
    assert assess(told, "traces", select=select, count="= 0", in_="recovery").verdict == "inconclusive"
    assert "no phase 'outage'" in assess(told, "traces", select=select, count="= 0", in_="outage").message


def test_a_rule_with_a_name_is_called_by_it(told, assess):
    """Two rules over traces in one report are told apart."""
    found = assess(told, "traces", name_="no-blind-answers", select={"segment": "request"}, count=">= 1")
    assert (found.name, found.parameters["name"]) == ("no-blind-answers", "no-blind-answers")


RULE = {"select": {"segment": "generate"}, "count": "= 0"}


@pytest.mark.parametrize(
    ("change", "at", "says"),
    [
        ({"select": {"segmnet": "generate"}}, ("select", "segmnet"), "did you mean segment?); allowed are"),
        ({"select": {"segment": "genrate"}}, ("select", "segment"), "did you mean generate?); allowed are"),
        ({"select": {"status": "eror"}}, ("select", "status"), "did you mean error?); allowed are error, ok"),
        ({"select": {"kind": "Sever"}}, ("select", "kind"), "did you mean Server?); allowed are Internal"),
        ({"select": {"longer_than": 2}}, ("select", "longer_than"), "write a number and a unit"),
        ({"select": {"longer_than": "-1s"}}, ("select", "longer_than"), "write for example 2s"),
        ({"select": {"attributes": {"a": None}}}, ("select", "attributes", "a"), "asked by `without`"),
        ({"select": {"attributes": {"a": {"b": 1}}}}, ("select", "attributes", "a"), "write a value"),
        ({"select": {"name": []}}, ("select", "name"), "at least 1 item"),
        ({"select": {}}, ("select",), "give one of name, kind, attributes, segment"),
        ({"select": "generate"}, ("select",), "such as {segment: generate}"),
        ({"without": {"segment": "journey"}}, ("without", "segment"), "allowed are request"),
        ({"count": 0}, ("count",), "such as = 0 or >= 1"),
        ({"count": "= 0%"}, ("count",), "such as = 0 or >= 1"),
        ({"count": "!= 0"}, ("count",), "write =, <, <=, > or >= and a number"),
        ({"in": "fualt"}, ("in",), "did you mean fault?); allowed are baseline, fault"),
        ({"at": "fault"}, ("at",), "allowed are count, in, name, select, with, without"),
        ({"name": "No Blind"}, ("name",), "pattern"),
    ],
)  # fmt: skip
def test_mistakes_are_told_where_they_stand_and_what_is_allowed(change, at, says):
    """The key, the value, what is allowed, and the likely meaning."""
    found = dict(problems_of({"traces": RULE | change}, ["baseline", "fault"], ["vector_db"]))
    assert list(found) == [("traces", *at)]
    assert says in found["traces", *at]


def test_numbers_and_booleans_are_written_as_spans_have_them():
    """`2`, `true` and `0.5` in YAML are the texts that telemetry carries."""
    values = {"a": 2, "b": True, "c": [0.5, "x*"]}
    parsed = parse({"traces": RULE | {"select": {"attributes": values}}})
    assert parsed.select.attributes == {"a": ("2",), "b": ("true",), "c": ("0.5", "x*")}


KEYS = ("select", "with", "without", "count", "in", "name", "segment", "status", "attributes", "longer_than")
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(KEYS)
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(parameters=VALUES)
def test_whatever_is_written_is_a_rule_or_a_list_of_problems(parameters):
    """No selector, however wrong, ends in a traceback."""
    for where, message in problems_of({"traces": parameters}, ["fault"], ["llm"]):
        assert all(isinstance(step, str | int) for step in where)
        assert message


PATTERN = st.text(st.sampled_from("ab*%_\\"), min_size=1, max_size=5)
SPAN = st.fixed_dictionaries(
    {
        "name": st.text(st.sampled_from("ab%_\\"), max_size=4),
        "kind": st.sampled_from(["Internal", "Server", "Client"]),
        "failed": st.booleans(),
        "took_s": st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        "attributes": st.dictionaries(
            st.sampled_from("xy"), st.text(st.sampled_from("ab"), max_size=2), max_size=2
        ),
    }
)
SELECTOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.lists(PATTERN, min_size=1, max_size=2),
        "kind": st.sampled_from(["Internal", "Server", "Client"]),
        "status": st.sampled_from(["error", "ok"]),
        "longer_than": st.sampled_from(["0s", "500ms", "1s"]),
        "attributes": st.dictionaries(st.sampled_from("xy"), PATTERN, min_size=1, max_size=2),
    },
).filter(bool)


def fits(pattern: str, text: str) -> bool:
    """What `*` means, without SQL."""
    head, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    if not text.startswith(head):
        return False
    text = text[len(head) :]
    for part in rest[:-1]:
        place = text.find(part)
        if place < 0:
            return False
        text = text[place + len(part) :]
    return text.endswith(rest[-1])


def takes(selector: dict, span: dict) -> bool:
    """What a selector means, without SQL."""
    lengths = {"0s": 0.0, "500ms": 0.5, "1s": 1.0}
    return all(
        (
            "name" not in selector or any(fits(one, span["name"]) for one in selector["name"]),
            selector.get("kind") in (None, span["kind"]),
            selector.get("status") in (None, "error" if span["failed"] else "ok"),
            "longer_than" not in selector or span["took_s"] > lengths[selector["longer_than"]],
            all(
                key in span["attributes"] and fits(pattern, span["attributes"][key])
                for key, pattern in selector.get("attributes", {}).items()
            ),
        )
    )


@settings(max_examples=100, deadline=None)
@given(spans=st.lists(SPAN, min_size=1, max_size=8), selector=SELECTOR)
def test_a_selector_takes_what_its_parts_say(spans, selector):
    """SQL and the words of the reference agree on every span."""
    where = SpanSelector.model_validate(selector).spans(default_table())
    rows = [
        "SELECT ? AS SpanName, ? AS SpanKind, ? AS StatusCode, ?::BIGINT AS Duration,"
        " ?::MAP(VARCHAR, VARCHAR) AS SpanAttributes"
    ] * len(spans)
    values = [
        value
        for one in spans
        for value in (
            one["name"],
            one["kind"],
            "Error" if one["failed"] else "Unset",
            int(one["took_s"] * 1e9),
            one["attributes"],
        )
    ]
    with duckdb.connect(":memory:") as sql:
        found = sql.execute(
            f"WITH spans AS MATERIALIZED ({' UNION ALL '.join(rows)})"
            f" SELECT count(*) FILTER ({where.sql}) FROM spans",
            [*values, *where.parameters],
        ).fetchall()[0][0]
    assert found == sum(takes(selector, one) for one in spans)


@pytest.mark.parametrize("count", [">= 0", ">=0", " >= 00"])
def test_a_count_that_always_holds_is_refused(count):
    """It would be a rule that nothing can break."""
    with pytest.raises(ValueError, match="holds whatever happens"):
        parse({"traces": {"select": {"segment": "search"}, "count": count}})
