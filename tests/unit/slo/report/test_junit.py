"""JUnit: a CI system is red for everything that is neither pass nor warn."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.report import junit
from slo.verdict import Verdict, Verdicts


def with_verdict(verdict: Verdict, name: Verdicts) -> Verdict:
    """The same run, with this verdict on the run and on its first objective."""
    first, *others = verdict.objectives
    changed = first.model_copy(update={"verdict": name})
    return verdict.model_copy(update={"verdict": name, "objectives": (changed, *others)})


def case(text: str, name: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    return next(one for one in root.iter("testcase") if one.get("name") == name)


def test_there_is_a_case_for_everything_that_was_judged(verdict: Verdict) -> None:
    """One for the run, one per objective and phase, per assertion and per gate, in suites of their own."""
    root = ElementTree.fromstring(junit.render(verdict))
    sizes = {suite.get("name"): len(suite.findall("testcase")) for suite in root.iter("testsuite")}
    assert sizes == {"spike.verdict": 1, "spike.objectives": 24, "spike.assertions": 3, "spike.gates": 6}
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("34", "4", "0")


@pytest.mark.parametrize(
    ("name", "element"),
    [("pass", None), ("warn", None), ("fail", "failure"), ("inconclusive", "error"), ("error", "error")],
)
def test_only_pass_and_warn_are_green(verdict: Verdict, name: Verdicts, element: str | None) -> None:
    """A run that proved nothing is an error, because a skipped case would let a change through."""
    text = junit.render(with_verdict(verdict, name))
    for one in (case(text, "run"), case(text, "answered in baseline")):
        red = [child.tag for child in one if child.tag != "system-out"]
        assert red == ([element] if element else [])


def test_a_failure_says_what_was_wanted_seen_and_where_to_look(verdict: Verdict) -> None:
    """Whoever reads the CI page needs no second page to know what broke."""
    failure = case(junit.render(verdict), "answered in fault").find("failure")
    assert failure is not None
    assert failure.text
    for part in (">= 98%", "97.02 %", "2080 samples", verdict.objectives[2].exemplars[0], "62 attempts"):
        assert part in failure.text


def test_a_warning_is_green_and_heard(verdict: Verdict) -> None:
    """The case passes, and its output holds the message."""
    out = case(junit.render(verdict), "retrieve-p95 in fault").find("system-out")
    assert out is not None
    assert "above the warning level" in (out.text or "")


def test_a_run_without_objectives_is_not_green() -> None:
    """An empty file would pass in most CI systems; the run's own case prevents that."""
    empty = {"schema": "ragquake/verdict/v1", "verdict": "error", "exit_code": 4, "run": {}}
    root = ElementTree.fromstring(junit.render(Verdict.model_validate(empty)))
    assert root.get("errors") == "1"


@given(st.text(st.characters(), max_size=60))
def test_any_text_makes_valid_xml(text: str) -> None:
    """Control characters, surrogates and markup in a message never make a file that cannot be parsed."""
    plain = {
        "schema": "ragquake/verdict/v1",
        "verdict": "fail",
        "exit_code": 1,
        "run": {"experiment": text},
        "sentences": [text],
        "assertions": [{"name": text, "verdict": "fail", "message": text}],
    }
    root = ElementTree.fromstring(junit.render(Verdict.model_construct(**_built(plain))).encode())
    assert root.get("failures") == "2"


def _built(plain: dict[str, object]) -> dict[str, object]:
    return {name: getattr(Verdict.model_validate(plain), name) for name in Verdict.model_fields}
