"""The page: complete, offline, safe to open whatever a run's names hold, and always the same."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from bokeh.models import Range1d

from slo.report import html
from slo.timeline import Timeline
from slo.verdict import Verdict

HOSTILE = "</script><script>alert(1)</script><img src=//evil.test onerror=alert(1)>\"'{{7*7}}"
FETCHING = {"script", "link", "img", "iframe", "object", "embed", "source", "video", "audio", "base", "form"}


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] == "script":
            self.scripts[-1] += data
        elif self._inside and self._inside[-1] != "style":
            self.text.append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def poison(content: Any) -> Any:
    """The same structure with every free text made hostile."""
    if isinstance(content, dict):
        return {key: poison(item) for key, item in content.items()}
    if isinstance(content, list | tuple):
        return [poison(item) for item in content]
    return content + HOSTILE if isinstance(content, str) else content


def poisoned(verdict: Verdict) -> Verdict:
    plain = verdict.model_dump(by_alias=True)
    for part in ("sentences", "run", "environment"):
        plain[part] = poison(plain[part])
    for part in ("gates", "objectives", "assertions"):
        for one in plain[part]:
            one["message"] += HOSTILE
    for one in plain["objectives"]:
        one["phase"] += HOSTILE
        one["exemplars"] = [HOSTILE]
    plain["segments"] = {key + HOSTILE: item for key, item in plain["segments"].items()}
    plain["outcomes"]["fault"][HOSTILE] = 3
    return Verdict.model_validate(plain)


def test_nothing_is_fetched(page_text: str) -> None:
    """No element that could load something has an address, and links point only to public issues."""
    page = Page(page_text)
    for tag, attributes in page.elements:
        if tag in FETCHING:
            assert not attributes.get("src"), tag
            assert not attributes.get("href"), tag
    assert [link["href"] for link in page.attributes("a")] == ["https://github.com/bolna-ai/bolna/issues/489"]
    style = re.search(r"<style>(.*?)</style>", page_text, re.S)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_the_policy_allows_exactly_the_scripts_on_the_page(page_text: str) -> None:
    """The content security policy forbids every fetch and names each running script by its hash."""
    page = Page(page_text)
    (policy,) = [meta["content"] for meta in page.attributes("meta") if "http-equiv" in meta]
    running = [
        text
        for text, attributes in zip(page.scripts, page.attributes("script"), strict=True)
        if attributes.get("type") != "application/json"
    ]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running]
    assert policy
    assert "default-src 'none'" in policy
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert "unsafe-eval" not in policy


def test_the_page_is_small_enough_to_mail(page_text: str) -> None:
    """The page with its charting library stays under 3 MB."""
    assert len(page_text.encode()) < 3_000_000


def test_rendering_twice_gives_the_same_bytes(page_text: str, verdict: Verdict, timeline: Timeline) -> None:
    """Bokeh's running ids do not reach the page: a process that has drawn before draws the same."""
    for _ in range(7):
        Range1d(0, 1)
    assert html.render(verdict, timeline) == page_text


def test_hostile_text_adds_no_element(page_text: str, verdict: Verdict, timeline: Timeline) -> None:
    """Whatever names and messages hold, the page has no more scripts and images than without them."""
    page = Page(html.render(poisoned(verdict), timeline))
    clean = Page(page_text)
    assert len(page.attributes("script")) == len(clean.attributes("script"))
    assert not page.attributes("img")
    assert page.scripts[-2:] == clean.scripts[-2:]
    shown = "".join(page.text)
    assert HOSTILE in shown  # it is shown as it is written, templates included


def test_hostile_names_cannot_leave_the_chart_data(verdict: Verdict, timeline: Timeline) -> None:
    """A segment named like the end of a script stays inside the JSON that describes the chart."""
    named = Timeline(
        timeline.bucket_s, timeline.at_s, timeline.phases, timeline.faults,
        {HOSTILE: timeline.segments["journey"]}, {HOSTILE: timeline.arrivals}, timeline.arrivals,
        {HOSTILE: timeline.breakers["llm"]},
    )  # fmt: skip
    page = Page(html.render(verdict, named))
    assert len(page.scripts) == 4
    assert "<" not in page.scripts[1]


@pytest.mark.parametrize("incident", ["javascript:alert(1)", "https://evil.test/x", "a/b#1 onclick=x", "a/b"])
def test_only_issue_references_become_links(verdict: Verdict, incident: str) -> None:
    """An incident that is not owner/name#number is shown as text."""
    run = verdict.run.model_copy(update={"incidents": (incident,)})
    page = Page(html.render(verdict.model_copy(update={"run": run}), None))
    assert not page.attributes("a")
    assert incident in "".join(page.text)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("pass", "Pass"),
        ("warn", "Pass with warnings"),
        ("fail", "Fail"),
        ("inconclusive", "Inconclusive"),
        ("error", "Error"),
    ],
)
def test_a_verdict_is_a_word_and_a_mark_not_only_a_colour(verdict: Verdict, name: str, word: str) -> None:
    """The first heading says the verdict in words and draws a mark of its own."""
    text = html.render(verdict.model_copy(update={"verdict": name}), None)
    heading = re.search(r"<h1>(.*?)</h1>", text, re.S)
    assert heading
    assert f">{word}<" in heading[1]
    assert f"#mark-{name}" in heading[1]
    assert f'id="mark-{name}"' in text


def test_the_sections_come_in_the_order_of_questions(page_text: str) -> None:
    """Verdict, picture, the faults in it, numbers, then what the run proved."""
    headings = re.findall(r"<h[12]>\s*(?:<svg.*?</svg>)?(?:<span>)?\s*([A-Z][^<]+?)\s*<", page_text, re.S)
    assert headings == [
        "Fail", "Timeline", "Faults", "Objectives", "Segments", "Assertions", "What the run proved",
        "Outcomes", "Recovery", "Breaker transitions", "Traces to look at", "Environment",
    ]  # fmt: skip


def test_a_fault_is_shown_with_when_it_was_in_and_what_it_did(verdict: Verdict, timeline: Timeline) -> None:
    """Its badge says `bit`, not `pass`, which is a word for verdicts; one that did not bite says so."""
    section = _faults(html.render(verdict, timeline))
    assert "bit</span>" in section and "pass</span>" not in section
    assert "latency on vector_db, jitter 200 ms, latency 2 s" in section
    assert "94 of 94 search spans" in section
    assert "in fault, 70.1 s to 110.2 s" in section

    plain = verdict.model_dump(by_alias=True)
    plain["faults"][0]["bite"] |= {"verdict": "inconclusive", "message": "it was never injected"}
    plain["faults"][0].update(injected_s=None, removed_s=None)
    section = _faults(html.render(Verdict.model_validate(plain), timeline))
    assert "inconclusive</span>" in section and "it was never injected" in section
    assert "planned in fault<" in section


def _faults(page: str) -> str:
    found = re.search(r"<h2>Faults</h2>.*?</section>", page, re.S)
    assert found
    return found[0]


def test_an_empty_verdict_renders_and_admits_it() -> None:
    """A run that died at once still gets a page, without a script, that says what is missing."""
    text = html.render(
        Verdict.model_validate(
            {"schema": "ragquake/verdict/v1", "verdict": "error", "exit_code": 4, "run": {}}
        ),
        None,
    )
    assert "There is no timeline" in text
    assert "No objective was judged" in text
    assert "nothing here can be believed" in text
    assert "<script" not in text


def test_failed_requests_show_as_infinity_and_nothing_as_a_dash(verdict: Verdict) -> None:
    """A percentile that lies in the failures reads ∞; one that does not exist reads –."""
    plain = verdict.model_dump(by_alias=True)
    plain["objectives"] = list(plain["objectives"])
    plain["objectives"][0] |= {"value": math.inf, "interval": [1.0, math.inf], "unit": "s"}
    plain["objectives"][1] |= {"value": None, "interval": [None, None]}
    text = html.render(Verdict.model_validate(plain), None)
    assert ">∞<" in text
    assert "1 s … ∞" in text
    assert ">–<" in text


def test_objectives_in_trouble_come_first(verdict: Verdict) -> None:
    """Groups are sorted by their worst phase, otherwise as the file has them."""
    names = [group.name for group in html.objective_groups(verdict.objectives)]
    assert names == ["answered", "first-token", "retrieve-p95", "honest-degradation", "search-p95", "recall"]


def test_a_segment_is_compared_with_its_baseline(verdict: Verdict) -> None:
    """The search segment's fault phase says how many times slower it is; the baseline says nothing."""
    (search,) = [group for group in html.segment_groups(verdict) if group.name == "search"]
    changes = {row.phase: row.change for row in search.rows}
    assert changes["fault"] == "×49"
    assert changes["baseline"] == ""
    assert [row.phase for row in search.rows] == ["warmup", "baseline", "spike", "fault", "recovery"]


def test_a_trace_is_listed_once_with_all_that_it_shows(verdict: Verdict) -> None:
    """The trace that breaks two objectives has one line that names both."""
    found = html.exemplars(verdict)
    assert len({one.trace_id for one in found}) == len(found) == 5
    assert found[0].shows == ("answered in fault", "first-token in fault")
