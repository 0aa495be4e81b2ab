"""Runs that look well and prove nothing: each of them passed once, and none does any more.

Every test takes the healthy run, which passes, and takes from it or puts into it one thing.
"""

from __future__ import annotations

import pytest

from slo import store
from slo.evaluator import evaluate

T0_S = 1_800_000_000.0


def gate(verdict, name):
    return next(one for one in verdict.gates if one.name == name)


def rule(verdict, name):
    return next(one for one in verdict.assertions if one.name == name)


def phase(run, name):
    return next(one for one in run.event("run.planned")["phases"] if one["name"] == name)


def test_the_run_that_all_others_are_made_of_passes(healthy, judge):
    """Or what follows would be inconclusive for reasons of its own."""
    assert judge(healthy).verdict == "pass"


# The bundle itself


@pytest.mark.parametrize("file", ["attempts.jsonl", "journal.jsonl", "resources.jsonl"])
def test_a_line_with_nan_is_no_evidence(healthy, tmp_path, file):
    """Nothing is larger than NaN, so a lag or a latency of NaN would be within every limit."""
    bundle = healthy.write(tmp_path / "bundle")
    with (bundle / file).open("a") as lines:
        lines.write('{"at_s": 1.0, "event": "x", "intended_start_s": NaN}\n')
    verdict = evaluate(bundle)
    assert verdict.verdict == "inconclusive" and "cut off or unreadable" in gate(verdict, "evidence").message


@pytest.mark.parametrize("table", store.TABLES)
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_table_that_is_cut_off_or_gone_is_missing_evidence(healthy, tmp_path, table, how):
    """A breaker whose log records are gone never opened; a generator without figures was never busy."""
    bundle = healthy.write(tmp_path / "bundle")
    store.build(bundle)
    assert evaluate(bundle).verdict == "pass"
    file = bundle / f"{table}.parquet"
    file.write_bytes(file.read_bytes()[:-7]) if how == "cut" else file.unlink()
    verdict = evaluate(bundle)
    assert verdict.verdict == "inconclusive"
    assert f"of {table} cut off or unreadable" in gate(verdict, "evidence").message
    store.build(bundle)  # what is built again does not forget it
    assert evaluate(bundle).verdict == "inconclusive"


@pytest.mark.parametrize("what", ["", "name: made\nassertions: [", "- nothing"])
def test_without_a_readable_experiment_nobody_knows_what_was_claimed(healthy, tmp_path, what):
    """Its assertions would be gone, and all that is left would hold."""
    bundle = healthy.write(tmp_path / "bundle")
    (bundle / "experiment.yaml").write_text(what)
    verdict = evaluate(bundle)
    assert verdict.verdict == "inconclusive" and "experiment.yaml" in gate(verdict, "proved").message


@pytest.mark.parametrize("kind", ["assertion", "objective"])
def test_a_claim_that_the_journal_names_and_the_bundle_lost_is_missed(healthy, judge, kind):
    """A file that is cut off at the end of a line reads well, with fewer claims."""
    planned = healthy.event("run.planned")
    planned["assertions"] = [next(iter(one)) for one in healthy.assertions]
    planned["objectives"] = [one["name"] for one in healthy.objectives]
    assert judge(healthy).verdict == "pass"
    lost = healthy.assertions.pop() if kind == "assertion" else healthy.objectives.pop()
    name = next(iter(lost)) if kind == "assertion" else lost["name"]
    verdict = judge(healthy)
    assert verdict.verdict == "inconclusive"
    assert f"the run had the {kind} {name}" in gate(verdict, "proved").message


# The load


def test_a_phase_of_which_nobody_says_how_many_were_to_come_is_not_driven(healthy, judge):
    """Of an unknown number any number is enough."""
    del healthy.event("run.planned")["arrivals"]["recovery"]
    verdict = judge(healthy)
    assert verdict.verdict == "inconclusive" and "were to arrive in recovery" in gate(verdict, "load").message


@pytest.mark.parametrize(("until_s", "verdict"), [(0, "inconclusive"), (40, "inconclusive"), (80, "pass")])
def test_a_generator_that_nobody_watched_may_have_been_saturated(healthy, judge, until_s, verdict):
    """No figures are no sign of rest; those of the baseline alone say nothing of the spike."""
    healthy.resources = [one for one in healthy.resources if one["at_s"] < T0_S + until_s]
    judged = judge(healthy)
    assert judged.verdict == verdict
    assert ("generator's CPU time" in gate(judged, "load").message) == (verdict != "pass")


def test_a_journey_that_stood_still_in_one_phase_proves_nothing_there(healthy, judge):
    """It ran at the baseline; of ninety that were to come under the fault there was none."""
    for attempt in healthy.attempts:
        if 35 <= attempt["intended_start_s"] - T0_S < 65:
            attempt["journey"] = "ask"
    verdict = judge(healthy)
    assert verdict.verdict == "inconclusive"
    assert "no journey of follow_up ran in fault" in gate(verdict, "proved").message


# The evidence


@pytest.mark.parametrize("ahead_s", [-30.0, 4.0])
def test_a_service_by_another_clock_tells_of_other_phases(healthy, judge, ahead_s):
    """Its spans of the fault would be judged as those of the baseline, or of the recovery."""
    healthy.assertions, healthy.objectives = [], healthy.objectives[:2]
    healthy.event("run.planned")["faults"]["slow"]["expects"] = {"evidence": True}
    healthy.event("fault.removed")["observed"] = {"bit": True}
    assert judge(healthy).verdict == "pass"
    for span in healthy.spans:
        span["at_s"] += ahead_s
    verdict = judge(healthy)
    assert verdict.verdict == "inconclusive"
    assert "answers began before their question, or after their end" in gate(verdict, "evidence").message


def test_without_the_last_barrier_spans_may_still_be_on_their_way(healthy, judge):
    """A service that did not hand them over, and a run that never asked: nobody knows what is missing."""
    barrier = healthy.event("barrier.passed")
    earlier = dict(barrier) | {"phase": "recovery"}
    barrier.update(event="barrier.failed", reason="ReadTimeout")
    healthy.journal.insert(-3, earlier)
    verdict = judge(healthy)
    assert verdict.verdict == "inconclusive" and "ReadTimeout" in gate(verdict, "evidence").message
    healthy.drop_events("barrier.failed")
    assert "nobody asked it to" in gate(judge(healthy), "evidence").message


# The fault


@pytest.mark.parametrize("expects", [{"errors": True}, {"held": True}])
def test_errors_need_something_to_compare_them_with(healthy, judge, expects):
    """Without a single call before the fault nobody knows that they usually succeed."""
    healthy.event("run.planned")["faults"]["slow"]["expects"] = {"segment": "search", **expects}
    assert gate(judge(healthy), "bite").verdict == "pass"
    healthy.spans = [one for one in healthy.spans if one["segment"] != "search" or one["at_s"] >= 35]
    found = gate(judge(healthy), "bite")
    assert found.verdict == "inconclusive" and "no search span before it" in found.message


def test_a_baseline_with_a_fault_is_none(healthy, judge):
    """Who is compared with a sick service has recovered at once, and is never slower."""
    healthy.objectives = [
        {"name": "as-before", "segment": "retrieve", "indicator": "p95", "target": "<= +10%"},
    ]
    phase(healthy, "fault")["name"] = "baseline"
    phase(healthy, "baseline")["name"] = "before"
    planned = healthy.event("run.planned")
    planned["phases"][1]["name"], planned["phases"][2]["name"] = "before", "baseline"
    planned["arrivals"] = {one["name"]: 1 for one in planned["phases"]} | {"before": 300}
    judged = {one.phase: one for one in judge(healthy).objectives}
    assert "before" not in judged and "baseline" in judged


# The judgements


def test_a_recovery_that_nobody_saw_is_no_warning(healthy, judge):
    """`> 5 s` is within 30 s so far; a warning would end with exit 0."""
    healthy.objectives = [
        {"name": "recovered", "segment": "journey", "indicator": "recovery_time", "target": "<= 60s"}
        | {"warn": "<= 50s"}
    ]
    for attempt in healthy.attempts:
        if attempt["intended_start_s"] - T0_S >= 65:
            attempt["outcome"] = "degraded"
    verdict = judge(healthy)
    assert [one.verdict for one in verdict.objectives] == ["inconclusive"]
    assert verdict.exit_code == 3


def test_an_objective_that_no_judged_phase_could_show_is_not_met(healthy, judge):
    """The recovery is asked of the phases after the fault, and none of them is judged."""
    assert judge(healthy).verdict == "pass"
    for name in ("fault", "recovery"):
        phase(healthy, name)["judged"] = False
    verdict = judge(healthy)
    assert verdict.verdict == "inconclusive"
    assert "recovered was asked in no phase" in gate(verdict, "proved").message


def test_the_runners_own_questions_are_no_answers_to_users(healthy, judge):
    """What they lost, before the load or after it, tests no promise to anybody, and fills no empty phase."""
    request = next(one for one in healthy.segment("request") if 40 < one["at_s"] < 41)
    lesser = [one for one in healthy.spans if one["trace_id"] == request["trace_id"]]
    for outcome in healthy.attempts:
        outcome["outcome"] = "full"
    for span in healthy.segment("request"):
        span["attributes"]["rag.outcome"] = "full"
    for span in healthy.segment("retrieve"):
        span["attributes"]["rag.retrieval.legs"] = ["vector", "lexical"]
    healthy.assertions = [{"every_degraded_answer_says_so": {}}]
    for number, shift_s in enumerate((-45.0, 73.0)):
        for span in lesser:
            own = {
                "trace_id": f"{0xFFFF0000 + number:032x}",
                "span_id": f"{0xEE00 + len(healthy.spans):016x}",
            }
            legs = {"rag.outcome": "degraded", "rag.span.seq": 1, "rag.retrieval.legs": ["lexical"]}
            asked = {"at_s": span["at_s"] + shift_s, "attributes": span["attributes"] | legs, "parent": None}
            healthy.spans.append(span | own | asked)
    found = rule(judge(healthy), "every_degraded_answer_says_so")
    assert (found.verdict, found.facts["degraded"]) == ("inconclusive", 0)


def test_a_service_whose_answers_cannot_be_followed_has_not_been_honest(steady, judge):
    """Without a request span there is no answer that could have hidden anything, fault or none."""
    steady.assertions = [{"every_degraded_answer_says_so": {}}]
    assert rule(judge(steady), "every_degraded_answer_says_so").verdict == "pass"
    steady.spans = [one for one in steady.spans if one["segment"] != "request"]
    assert rule(judge(steady), "every_degraded_answer_says_so").verdict == "inconclusive"


@pytest.mark.parametrize(
    ("event", "missed", "words"),
    [
        ("load.ended", "load", "nobody knows how the load generator ended"),
        ("fault.injected", "bite", "it was never injected"),
        ("barrier.passed", "evidence", "nobody asked it to"),
        ("run.finished", "finished", "its runner was killed"),
    ],
)
def test_a_fact_that_the_journal_promises_and_does_not_have_is_missed(healthy, judge, event, missed, words):
    """Each of them is what somebody relies on."""
    healthy.drop_events(event)
    verdict = judge(healthy)
    assert verdict.verdict == "inconclusive" and words in gate(verdict, missed).message
