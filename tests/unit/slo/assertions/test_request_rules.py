"""Rules about single requests: what went on too long, too often, or without a last word."""

from __future__ import annotations

import pytest


def test_a_third_attempt_is_found_and_marked(story, assess):
    """Two are allowed: the third span is the one too many, in the trace that has it."""
    for number in range(50):
        request = story.request(number, 40.0 + number / 10)
        for attempt in range(3 if number == 17 else 2):
            story.search(number, 40.1 + number / 10 + attempt / 100, parent=request, failed=True)
    found = assess(story, "attempts_per_request_at_most", segment="search", attempts=2)
    assert (found.verdict, found.exemplars, found.facts["most"]) == ("fail", (story.trace(17),), 3)
    spans = [span for span in found.trace.spans if span.name == "search corpus"]
    assert [span.broke for span in spans] == [False, False, True]


def test_attempts_need_a_reason_to_try_again(story, assess):
    """Where every first call was good, nothing asked for a second; one failure is a reason."""
    for number in range(5):
        story.search(number, 40.0 + number)
    assert (
        assess(story, "attempts_per_request_at_most", segment="search", attempts=2).verdict == "inconclusive"
    )
    assert (
        assess(story, "attempts_per_request_at_most", segment="generate", attempts=2).verdict
        == "inconclusive"
    )
    story.search(9, 50.0, failed=True)
    assert assess(story, "attempts_per_request_at_most", segment="search", attempts=2).verdict == "pass"


@pytest.mark.parametrize(("events", "verdict"), [(1, "pass"), (0, "fail"), (2, "fail")])
def test_a_stream_has_one_terminal_event(story, assess, events, verdict):
    """None leaves its reader guessing, and after one there is nothing to say."""
    for number in range(20):
        story.request(number, 10.0 + number)
        story.attempt(number, 10.0 + number)
    story.request(20, 50.0)
    story.attempt(20, 50.0, outcome="truncated" if events == 0 else "full", terminal_events=events)
    found = assess(story, "one_terminal_event")
    assert found.verdict == verdict
    if verdict == "fail":
        assert found.exemplars == (story.trace(20),)
        assert [span.name for span in found.trace.spans] == ["journey ask", "POST /v1/answers"]


@pytest.mark.parametrize("outcome", ["abandoned", "timeout"])
def test_who_left_could_not_see_the_last_word(story, assess, outcome):
    """A stream that its reader left is no evidence either way."""
    story.attempt(1, 10.0, outcome=outcome, terminal_events=0)
    assert assess(story, "one_terminal_event").verdict == "inconclusive"


def test_what_was_not_streamed_has_no_terminal_event(story, assess):
    """JSON answers and bundles without the count prove nothing about streams."""
    story.attempt(1, 10.0, stream=False, terminal_events=None)
    assert assess(story, "one_terminal_event").verdict == "inconclusive"


def late(story, by_s, patience_s=2.0):
    """A healthy request, and one whose search ends after its deadline."""
    story.request(1, 10.0, 0.5, rag__deadline=patience_s)
    request = story.request(2, 40.0, patience_s, rag__deadline=patience_s)
    story.search(2, 40.1, patience_s - 0.1 + by_s, request)


def test_a_span_that_outlives_its_deadline_is_found(story, assess):
    """The request ended in time; the search below it did not."""
    late(story, 0.4)
    found = assess(story, "no_span_outlives_deadline")
    assert (found.verdict, found.exemplars) == ("fail", (story.trace(2),))
    assert found.facts["latest_s"] == pytest.approx(0.4, abs=1e-6)
    assert [span.name for span in found.trace.spans if span.broke] == ["search corpus"]


def test_what_a_span_may_overrun_is_a_parameter(story, assess):
    """A quarter of a second is allowed by itself."""
    late(story, 0.2)
    assert assess(story, "no_span_outlives_deadline").verdict == "pass"
    assert assess(story, "no_span_outlives_deadline", allow="100ms").verdict == "fail"


def test_requests_that_are_done_in_time_prove_nothing_about_deadlines(story, assess):
    """Nothing had to be stopped; nor is there a rule for a service that names no deadline."""
    story.request(1, 10.0, 0.5, rag__deadline=10.0)
    assert assess(story, "no_span_outlives_deadline").verdict == "inconclusive"
    story.request(2, 40.0, 9.6, rag__deadline=10.0)
    assert assess(story, "no_span_outlives_deadline").verdict == "pass"


def test_without_a_deadline_on_the_span_there_is_no_rule(story, assess):
    """A service that does not say how long its caller waits cannot be judged by it."""
    story.request(1, 10.0, 60.0)
    found = assess(story, "no_span_outlives_deadline")
    assert (found.verdict, found.message) == ("inconclusive", "no request span has a deadline (rag.deadline)")


def leave(story, number, at_s, after_s, freed_s):
    """A user who leaves after a while, and the generation that goes on for `freed_s`."""
    story.attempt(number, at_s, after_s, "abandoned", terminal_events=0)
    request = story.request(number, at_s, after_s + freed_s)
    story.generate(number, at_s + 0.1, after_s + freed_s - 0.1, request)


def test_a_generation_for_nobody_is_found(story, assess):
    """Three left; for one of them the model went on for two seconds."""
    for number, freed_s in enumerate((0.05, 2.0, 0.1)):
        leave(story, number, 40.0 + number, 1.0, freed_s)
    found = assess(story, "slots_freed_after_abandon", within="1s")
    assert (found.verdict, found.exemplars, found.facts["late"]) == ("fail", (story.trace(1),), 1)
    assert {span.name for span in found.trace.spans if span.broke} == {"POST /v1/answers", "chat m"}
    assert assess(story, "slots_freed_after_abandon", within="3s").verdict == "pass"


def test_who_left_when_all_was_done_proves_nothing(story, assess):
    """Nothing was under way any more, so nothing had to end."""
    story.attempt(1, 40.0, 1.0, "abandoned")
    story.request(1, 40.0, 0.5)
    story.attempt(2, 41.0, 1.0, "timeout")
    assert assess(story, "slots_freed_after_abandon", within="1s").verdict == "inconclusive"


def test_nobody_left_proves_nothing(story, assess):
    """Without a hang-up there is nothing to free."""
    story.attempt(1, 40.0)
    story.request(1, 40.0)
    assert assess(story, "slots_freed_after_abandon", within="1s").verdict == "inconclusive"


def test_a_request_that_never_ended_is_no_pass(story, assess):
    """Its span was never exported; the spans below it tell that it was there."""
    leave(story, 1, 40.0, 1.0, 0.1)
    story.attempt(2, 45.0, 1.0, "abandoned")
    story.search(2, 45.1)
    found = assess(story, "slots_freed_after_abandon", within="1s")
    assert (found.verdict, found.facts["unended"]) == ("inconclusive", 1)


def test_who_leaves_after_the_load_is_not_judged(story, assess):
    """Then the service itself is about to be stopped."""
    leave(story, 1, 109.5, 1.0, 5.0)
    assert assess(story, "slots_freed_after_abandon", within="1s").verdict == "inconclusive"


def test_a_request_that_never_ended_has_not_kept_its_deadline(story, assess):
    """A span is exported when it ends; of one that hangs only the spans below it are there."""
    story.attempt(1, 40.0, 2.0)
    story.request(1, 40.0, 1.9, rag__deadline=2.0)
    assert assess(story, "no_span_outlives_deadline").verdict == "pass"
    story.attempt(2, 41.0, 2.0, "timeout")
    story.search(2, 41.1)
    found = assess(story, "no_span_outlives_deadline")
    assert (found.verdict, found.facts["unended"]) == ("inconclusive", 1)


def test_what_is_asked_after_the_load_proves_nothing(story, assess):
    """The runner's own questions, which look whether all is well again, are not the users'."""
    story.search(1, 40.0, failed=True)
    for _ in range(3):
        story.search(2, 112.5, failed=True)
    found = assess(story, "attempts_per_request_at_most", segment="search", attempts=2)
    assert (found.verdict, found.facts["requests"]) == ("pass", 1)


@pytest.mark.parametrize(
    ("rule", "parameters"),
    [("no_span_outlives_deadline", {}), ("slots_freed_after_abandon", {"within": "1s"})],
)
def test_a_request_of_which_nothing_ever_ended_is_no_pass(story, assess, rule, parameters):
    """One that hangs in its first step has no span at all; its user waited, so the service had taken it."""
    leave(story, 1, 40.0, 1.9, 0.1)
    story.run.spans[0]["attributes"]["rag.deadline"] = 2.0
    story.attempt(2, 45.0, 0.2, "abandoned", status=None)
    assert assess(story, rule, **parameters).verdict == "pass"
    story.attempt(3, 46.0, 2.0, "timeout", status=None)
    found = assess(story, rule, **parameters)
    assert (found.verdict, found.facts["unended"]) == ("inconclusive", 1)


def test_what_is_asked_before_the_load_proves_nothing(story, assess):
    """A question of the steady state that went wrong once gives no reason to try again."""
    story.search(1, -4.0, failed=True)
    story.search(2, 40.0)
    found = assess(story, "attempts_per_request_at_most", segment="search", attempts=2)
    assert (found.verdict, found.facts["requests"]) == ("inconclusive", 1)
