"""Each gate has a run that it stops and, in the healthy run, a run that it lets through."""

from __future__ import annotations

import pytest

T0_S = 1_800_000_000.0


def gates(verdict):
    return {one.name: one for one in verdict.gates}


def test_late_starts_are_a_dishonest_load(healthy, judge):
    """A generator that falls behind hides what users would have felt."""
    for attempt in healthy.attempts[100:200]:
        attempt["start_s"] += 0.2
    verdict = judge(healthy)
    assert "lag p99" in gates(verdict)["load"].message
    assert verdict.verdict == "inconclusive"


def test_arrivals_that_were_not_driven_are_a_dishonest_load(healthy, judge):
    """Less than 95 % of the schedule in any phase is not the load that was planned."""
    for attempt in healthy.attempts[400:430]:
        attempt.update(dropped=True, trace_id=None, start_s=None, status=None, outcome=None)
    verdict = judge(healthy)
    assert "only 270 of 300" in gates(verdict)["load"].message
    assert next(one for one in verdict.phases if one.name == "fault").dropped == 30


def test_a_saturated_generator_is_a_dishonest_load(healthy, judge):
    """Above 90 % of a core the generator measures itself."""
    for sample in healthy.resources:
        sample["cpu_ratio"] = 0.97
    assert gates(judge(healthy))["load"].verdict == "inconclusive"


def test_a_failed_generator_is_a_dishonest_load(healthy, judge):
    """An exit code other than 0 means that nobody knows what was driven."""
    healthy.event("load.ended")["exit_code"] = 1
    assert "ended with code 1" in gates(judge(healthy))["load"].message


def test_an_answer_without_a_trace_is_missing_evidence(healthy, judge):
    """The join by trace id is the only sign that catches a process that died with all it had."""
    trace = healthy.attempts[300]["trace_id"]
    healthy.spans = [one for one in healthy.spans if one["trace_id"] != trace]
    healthy.attempts[301].update(outcome="timeout", status=None)
    facts = gates(judge(healthy))["evidence"].facts
    assert facts["answers"] == {"missing": 1, "of": 1099}
    assert facts["sequence"]["missing"] == 1


def test_a_span_that_lost_its_parent_is_missing_evidence(healthy, judge):
    """A request span that vanished leaves its children behind."""
    requests = healthy.segment("request")[200:220]
    healthy.spans = [one for one in healthy.spans if one not in requests]
    gate = gates(judge(healthy))["evidence"]
    assert gate.verdict == "inconclusive"
    assert gate.facts["orphans"]["missing"] > 20


def test_a_lost_tail_is_seen_through_the_barrier(healthy, judge):
    """The service said at the end how many requests it had numbered."""
    healthy.event("barrier.passed")["last_seq"] += 10
    assert "request spans are missing" in gates(judge(healthy))["evidence"].message


def test_an_arrival_that_left_no_line_is_missing_evidence(healthy, judge):
    """Every planned arrival is an attempt or a dropped one; silence is a loss."""
    healthy.attempts = healthy.attempts[:300] + healthy.attempts[303:]
    assert "planned arrivals left no line" in gates(judge(healthy))["evidence"].message


def test_repeated_exports_are_no_loss_and_no_surplus(healthy, judge):
    """An exporter that sends a batch again changes nothing."""
    before = judge(healthy).to_json()
    healthy.spans += healthy.spans[:500]
    assert judge(healthy).to_json() == before


@pytest.mark.parametrize(
    ("search_s", "error", "bitten"),
    [
        (0.3, "timeout", "pass"),
        (1.9, "", "pass"),
        (0.3, "", "inconclusive"),
        (0.3, "http_500", "inconclusive"),
    ],
)
def test_a_latency_fault_bites_when_spans_are_long_or_cut_off(healthy, judge, search_s, error, bitten):
    """A span shorter than the shift counts only when a timeout ended it."""
    for span in healthy.segment("search"):
        if span.get("failed"):
            span["duration_s"], span["failed"] = search_s, bool(error)
            span["attributes"]["error.type"] = error
    verdict = judge(healthy)
    assert gates(verdict)["bite"].verdict == bitten
    assert verdict.faults[0].bite.spans > 20


def test_a_cancelled_span_says_nothing_about_the_fault(healthy, judge):
    """Whoever hung up before the shift could show is left out, not counted against the fault."""
    failed = [span for span in healthy.segment("search") if span.get("failed")]
    for span in failed[:15]:
        span["duration_s"], span["attributes"]["error.type"] = 0.05, "cancelled"
    assert gates(judge(healthy))["bite"].verdict == "pass"


def test_a_fault_that_no_span_met_did_not_bite(healthy, judge):
    """No traffic behind the fault, no proof."""
    healthy.spans = [one for one in healthy.spans if one["segment"] != "search" or not 35 <= one["at_s"] < 65]
    assert "only 0 spans met it" in gates(judge(healthy))["bite"].message


def test_a_fault_of_errors_bites_when_spans_fail(healthy, judge):
    """`errors: true` wants errors, not delay."""
    healthy.event("run.planned")["faults"]["slow"]["expects"] = {"segment": "search", "errors": True}
    assert gates(judge(healthy))["bite"].verdict == "pass"
    for span in healthy.segment("search"):
        span["failed"] = False
    assert gates(judge(healthy))["bite"].verdict == "inconclusive"


def test_a_call_of_what_stands_still_fails_or_is_held_until_the_end(healthy, judge):
    """`held: true` takes a call that was answered once the fault was out, none that was answered before."""
    healthy.event("run.planned")["faults"]["slow"]["expects"] = {"segment": "search", "held": True}
    met = [one for one in healthy.segment("search") if 35.01 <= one["at_s"] < 65]
    for span in met[: len(met) // 2]:
        span["failed"], span["duration_s"] = False, 65.1 - span["at_s"]
    assert gates(judge(healthy))["bite"].verdict == "pass"
    for span in met[: len(met) // 2]:
        span["duration_s"] = 0.1
    assert gates(judge(healthy))["bite"].verdict == "inconclusive"


@pytest.mark.parametrize(
    ("observed", "verdict", "words"),
    [
        (
            {"bit": True, "pid_after": 7, "ended_at_s": 1795375789.7, "away_s": 1.22},
            "pass",
            "acted: pid after 7, away 1.22 s",
        ),
        ({"bit": True, "cores": 1.9}, "pass", "it was seen where it acted: cores 1.9"),
        (
            {"bit": False, "cores": 0.1},
            "inconclusive",
            "where it acted, and not felt: cores 0.1",
        ),
        ({"cores": 1.9}, "inconclusive", "nobody saw what it did"),
        (None, "inconclusive", "nobody saw what it did"),
        ({"unknown": "Toxiproxy does not tell"}, "inconclusive", "whether it bit: Toxiproxy does not tell"),
    ],
)
def test_a_fault_that_no_span_must_show_is_proved_by_what_was_observed(
    healthy, judge, observed, verdict, words
):
    """`evidence: true` wants the word of whoever took the fault out, and takes no word for no."""
    healthy.event("run.planned")["faults"]["slow"]["expects"] = {"segment": "search", "evidence": True}
    if observed:
        healthy.event("fault.removed")["observed"] = observed
    gate = gates(judge(healthy))["bite"]
    assert gate.verdict == verdict and words in gate.message


@pytest.mark.parametrize(("hits", "bitten"), [(None, "inconclusive"), (2, "inconclusive"), (3, "pass")])
def test_a_fault_that_is_counted_bites_by_its_count(healthy, judge, hits, bitten):
    """Whoever carried it out says on how many answers it acted; two are chance, and no word is no proof."""
    healthy.event("run.planned")["faults"]["slow"]["expects"] = {"segment": "generate", "hits": True}
    if hits is not None:
        healthy.event("fault.removed")["observed"] = {"hits": hits}
    assert gates(judge(healthy))["bite"].verdict == bitten


@pytest.mark.parametrize(("hits", "bitten"), [(0, "inconclusive"), (1, "pass")])
def test_a_fault_of_one_request_needs_no_more_than_that(healthy, judge, hits, bitten):
    """`count: 1` asks for one hit, so three cannot be asked of it."""
    planned = healthy.event("run.planned")["faults"]["slow"]
    planned["expects"], planned["parameters"] = {"segment": "generate", "hits": True}, {"count": 1}
    healthy.event("fault.removed")["observed"] = {"hits": hits}
    assert gates(judge(healthy))["bite"].verdict == bitten


@pytest.mark.parametrize("expects", [{"errors": True}, {"held": True}])
def test_errors_are_no_proof_where_most_calls_failed_before(healthy, judge, expects):
    """A dependency that was broken in the baseline shows nothing of a fault that breaks it."""
    healthy.event("run.planned")["faults"]["slow"]["expects"] = {"segment": "search", **expects}
    assert gates(judge(healthy))["bite"].verdict == "pass"
    for span in healthy.segment("search"):
        span["failed"] = True
    gate = gates(judge(healthy))["bite"]
    assert gate.verdict == "inconclusive" and "errors prove nothing" in gate.message


@pytest.mark.parametrize(("bit", "bitten"), [(True, "pass"), (False, "inconclusive")])
def test_spans_do_not_outvote_whoever_took_the_fault_out(healthy, judge, bit, bitten):
    """A part that somebody else set going again did not stand still, whatever failed meanwhile."""
    healthy.event("run.planned")["faults"]["slow"]["expects"] = {"segment": "search", "held": True}
    healthy.event("fault.removed")["observed"] = {"standing": int(bit), "bit": bit}
    assert gates(judge(healthy))["bite"].verdict == bitten


def test_a_path_that_no_request_has_is_suspected(healthy, judge):
    """A fault that met nothing most often has a glob that matches nothing; without one that is not said."""
    planned = healthy.event("run.planned")["faults"]["slow"]
    planned |= {"expects": {"segment": "search", "hits": True}, "parameters": {"path": "/v1/search"}}
    healthy.event("fault.removed")["observed"] = {"hits": 0}
    assert gates(judge(healthy))["bite"].message.endswith("does any request have its path /v1/search?")
    planned["parameters"] = {}
    assert gates(judge(healthy))["bite"].message.endswith("must")


def test_a_journey_that_never_ran_proves_nothing(healthy, judge):
    """Every journey of the experiment must have been seen."""
    for attempt in healthy.attempts:
        attempt["journey"] = "ask"
    verdict = judge(healthy)
    assert "follow_up" in gates(verdict)["proved"].message
    assert verdict.verdict == "inconclusive"


def test_an_assertion_without_anything_to_test_proves_nothing(steady, judge):
    """A breaker that never opened cannot have leaked."""
    steady.assertions = [{"no_calls_while_open": {"breaker": "vector_db"}}]
    verdict = judge(steady)
    assert gates(verdict)["proved"].verdict == "inconclusive"
    assert verdict.verdict == "inconclusive"


def test_a_fault_that_cannot_show_proves_nothing(healthy, judge):
    """Where nothing says how a fault would be seen, nobody knows whether it bit, and that is not a pass."""
    planned = next(entry for entry in healthy.journal if entry["event"] == "run.planned")
    planned["faults"]["slow"]["expects"] = {}
    verdict = judge(healthy)
    assert gates(verdict)["bite"].verdict == "inconclusive"
    assert verdict.verdict == "inconclusive"


def test_two_spans_are_chance_and_three_are_a_bite(healthy, judge):
    """A fault is proved by several calls, not by one that happened to be slow."""
    met = [one for one in healthy.spans if one["segment"] == "search" and 35 <= one["at_s"] < 65]
    caught = [one for one in met if one["failed"]]
    others = [one for one in healthy.spans if one not in met]
    healthy.spans = others + caught[:2]
    assert gates(judge(healthy))["bite"].verdict == "inconclusive"
    healthy.spans = others + caught[:3]
    assert gates(judge(healthy))["bite"].verdict == "pass"


def in_phase(run, start_s, end_s):
    return [one for one in run.segment("search") if start_s <= one["at_s"] < end_s]


def test_timeouts_are_no_proof_where_they_were_usual(healthy, judge):
    """A dependency that never answered in time shows nothing of a latency on the way to it."""
    for span in in_phase(healthy, 5, 35):
        span["duration_s"], span["failed"] = 0.3, True
        span["attributes"]["error.type"] = "timeout"
    gate = gates(judge(healthy))["bite"]
    assert gate.verdict == "inconclusive" and "timeouts were usual" in gate.message


def test_a_delay_that_the_load_alone_had_caused_is_no_proof(healthy, judge):
    """Where a spike without the fault made the calls as slow, the fault need not have been there."""
    planned = healthy.event("run.planned")
    planned["phases"][1]["end_s"] = 20
    planned["phases"].insert(2, {**planned["phases"][1], "name": "spike", "start_s": 20, "end_s": 35})
    planned["arrivals"] |= {"baseline": 150, "spike": 150}
    for span in in_phase(healthy, 35, 65):
        span["duration_s"], span["failed"] = 1.9, False
        span["attributes"].pop("error.type", None)
    assert gates(judge(healthy))["bite"].verdict == "pass"
    for span in in_phase(healthy, 20, 35):
        span["duration_s"] = 1.8
    assert gates(judge(healthy))["bite"].verdict == "inconclusive"


def test_a_breaker_that_nothing_should_have_opened_is_not_to_blame(healthy, judge):
    """Past the proxy, nothing bites and nothing opens: that is no failure of the service, and no pass."""
    healthy.logs = []
    for span in healthy.segment("search"):
        span["duration_s"], span["failed"] = 0.01, False
        span["attributes"].pop("error.type", None)
    verdict = judge(healthy)
    opens = next(one for one in verdict.assertions if one.name == "breaker_opens")
    assert (opens.verdict, verdict.exit_code) == ("inconclusive", 3)
    assert "slow did not bite, so nothing should have opened it" in opens.message


def test_a_phase_in_which_nobody_was_to_arrive_is_not_judged_by_its_silence(healthy, judge):
    """No objective need mention it; a judged phase without a single user proves nothing."""
    phases = healthy.event("run.planned")["phases"]
    phases[3]["end_s"] = 109.9
    phases.append({**phases[3], "name": "empty", "start_s": 109.9, "end_s": 110.0})
    arrivals = healthy.event("run.planned")["arrivals"]
    arrivals["empty"] = 0
    healthy.objectives = [one | {"phases": ["baseline", "recovery"]} for one in healthy.objectives[:1]]
    verdict = judge(healthy)
    assert "nobody was to arrive in empty" in gates(verdict)["load"].message
    assert verdict.exit_code == 3
    phases[4]["judged"] = False
    assert gates(judge(healthy))["load"].verdict == "pass"


def test_a_generator_that_stood_still_in_one_phase_is_a_dishonest_load(healthy, judge):
    """Three seconds of lateness are under a hundredth of a long run, and half of its shortest phase."""
    planned = healthy.event("run.planned")
    planned["phases"][0] |= {"judged": True}
    late = [one for one in healthy.attempts if one["intended_start_s"] - T0_S < 1.0]
    for attempt in late:
        attempt["start_s"] += 0.2
    gate = gates(judge(healthy))["load"]
    assert gate.verdict == "inconclusive" and "attempts of warmup started late" in gate.message
    planned["phases"][0] |= {"judged": False}
    assert gates(judge(healthy))["load"].verdict == "pass"


def test_a_generator_that_was_told_to_stop_has_not_failed(healthy, judge):
    """Where a stop condition held, its exit code 130 is an order carried out; elsewhere it is not."""
    healthy.event("load.ended")["exit_code"] = 130
    assert gates(judge(healthy))["load"].verdict == "inconclusive"
    stop = {"at_s": T0_S + 100, "event": "stop.triggered", "condition": "c", "observed": "o"}
    healthy.journal.insert(-3, stop)
    verdict = judge(healthy)
    assert gates(verdict)["load"].verdict == "pass" and verdict.verdict == "fail"


def test_what_a_breaker_does_when_the_users_are_gone_proves_nothing(healthy, judge):
    """The runner asks at the end whether the service is well, and its questions are a breaker's probes."""
    for log in healthy.logs:
        if log["at_s"] > 65:
            log["at_s"] += 48  # after load.ended
    closes = next(one for one in judge(healthy).assertions if one.name == "breaker_closes")
    assert closes.verdict == "fail" and "still" in closes.message


def test_what_the_service_says_it_lost_is_missing_evidence(healthy, judge):
    """Spans below a request leave no gap in the requests' numbers, and the slow ones may be among them."""
    barrier = healthy.event("barrier.passed")
    barrier["lost"] = 1
    assert gates(judge(healthy))["evidence"].verdict == "pass"
    barrier["lost"] = 50
    gate = gates(judge(healthy))["evidence"]
    assert gate.verdict == "inconclusive" and "lost by the service itself" in gate.message
    assert gate.facts["lost"]["missing"] == 50
