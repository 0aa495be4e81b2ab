"""The verdict and its precedence, on synthetic runs of which one thing at a time is spoilt."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from slo import store
from slo.bundle import BundleError
from slo.evaluator import evaluate
from slo.verdict import Verdict


def gate(verdict: Verdict, name: str) -> str:
    return next(one.verdict for one in verdict.gates if one.name == name)


def message(verdict: Verdict, name: str) -> str:
    return next(one.message for one in (*verdict.gates, *verdict.assertions) if one.name == name)


def test_a_healthy_run_passes(healthy, judge):
    """A run that kept its objectives, whose fault bit and whose evidence is whole, passes."""
    verdict = judge(healthy)
    assert (verdict.verdict, verdict.exit_code) == ("pass", 0)
    assert {one.verdict for one in (*verdict.gates, *verdict.objectives, *verdict.assertions)} == {"pass"}
    assert set(verdict.segments) == {
        "journey", "request", "embed", "retrieve", "search", "context", "generate",
    }  # fmt: skip
    assert all(
        set(cells) == {"warmup", "baseline", "fault", "recovery"} for cells in verdict.segments.values()
    )
    assert verdict.segments["search"]["fault"].lived_p95_s == pytest.approx(0.3, abs=0.01)


def test_a_steady_run_passes_without_recovery(steady, judge):
    """Where no fault is planned, the question of recovery does not arise and nothing is missing."""
    verdict = judge(steady)
    assert verdict.verdict == "pass"
    assert "recovered" not in {one.name for one in verdict.objectives}


def test_the_same_bundle_gives_the_same_bytes(healthy, tmp_path: Path):
    """Evaluating is pure: twice the same, the same again from Parquet, and nothing is written."""
    bundle = healthy.write(tmp_path / "run")

    def state() -> dict[str, str]:
        files = (path for path in bundle.rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = state()
    first = evaluate(bundle).to_json()
    assert state() == before
    assert evaluate(bundle).to_json() == first
    store.build(bundle)
    assert evaluate(bundle).to_json() == first
    assert Verdict.from_json(first).to_json() == first


def test_the_order_of_lines_and_batches_does_not_matter(healthy, tmp_path: Path):
    """Exporters and clients write when they like; the verdict is about what happened."""
    first = evaluate(healthy.write(tmp_path / "a")).to_json()
    healthy.spans.reverse()
    healthy.attempts.reverse()
    assert evaluate(healthy.write(tmp_path / "b", batch=77)).to_json() == first


def test_lost_spans_are_never_a_pass(healthy, judge):
    """Half of the telemetry is gone: nothing can be believed, not even that objectives failed."""
    healthy.spans = healthy.spans[::2]
    verdict = judge(healthy)
    assert verdict.verdict == "inconclusive"
    assert gate(verdict, "evidence") == "inconclusive"
    assert verdict.sentences[0].startswith("Inconclusive: evidence is missing. ")


def test_an_error_of_the_harness_comes_first(healthy, judge):
    """When the harness failed, no other finding matters."""
    healthy.event("run.finished").update(status="error", message="the proxy died")
    healthy.spans = healthy.spans[::2]
    verdict = judge(healthy)
    assert (verdict.verdict, verdict.exit_code) == ("error", 4)


def test_missing_evidence_comes_before_failure(healthy, judge):
    """A failed objective in a run that lost evidence is not believed."""
    for attempt in healthy.attempts[400:600]:
        attempt["outcome"] = "error"
    assert judge(healthy).verdict == "fail"
    healthy.spans = healthy.spans[::2]
    assert judge(healthy).verdict == "inconclusive"


def test_failure_comes_before_a_fault_that_did_not_bite(healthy, judge):
    """Users without answers are a failure, whatever caused it."""
    for attempt in healthy.attempts[400:600]:
        attempt["outcome"] = "error"
    healthy.drop_events("fault.injected")
    verdict = judge(healthy)
    assert gate(verdict, "bite") == "inconclusive"
    assert verdict.verdict == "fail"
    assert verdict.sentences[0].startswith("Failed: answered in fault. Journey good_ratio was ")


def test_a_stop_condition_is_a_failure(healthy, judge):
    """The experiment was ended because users suffered: that is a finding."""
    stop = {
        "at_s": 1_800_000_050.0,
        "event": "stop.triggered",
        "condition": "error_ratio > 50%",
        "observed": 0.7,
    }
    healthy.journal.insert(-3, stop)
    healthy.event("run.finished").update(status="stopped")
    healthy.attempts = [one for one in healthy.attempts if one["start_s"] < 1_800_000_050.0]
    verdict = judge(healthy)
    assert verdict.verdict == "fail"
    assert verdict.sentences[0].startswith("Failed: a stop condition ended the run: error_ratio > 50%")


def test_a_person_who_ends_a_run_leaves_it_inconclusive(healthy, judge):
    """Ctrl-C proves nothing, not even a failure."""
    healthy.event("run.finished").update(status="interrupted")
    for attempt in healthy.attempts[400:600]:
        attempt["outcome"] = "error"
    assert judge(healthy).verdict == "inconclusive"


def test_a_killed_run_is_inconclusive(healthy, judge):
    """A journal that just ends belongs to a runner that was killed."""
    healthy.drop_events("run.finished", "barrier.passed", "load.ended")
    verdict = judge(healthy)
    assert verdict.verdict == "inconclusive"
    assert gate(verdict, "finished") == "inconclusive"


def test_an_empty_phase_is_inconclusive(steady, judge):
    """An objective in a phase without any request is open, never kept."""
    steady.attempts = [one for one in steady.attempts if one["arrival"] < 650]
    steady.spans = [one for one in steady.spans if one["at_s"] < 65]
    steady.event("run.planned")["arrivals"]["recovery"] = 0
    steady.event("barrier.passed")["last_seq"] = 650
    verdict = judge(steady)
    assert verdict.verdict == "inconclusive"
    assert [one.verdict for one in verdict.objectives if one.phase == "recovery"] == ["inconclusive"] * 5


def test_too_few_samples_are_inconclusive_and_say_what_would_decide(steady, judge):
    """p95 of 60 samples has no interval; the gate says how much more load would give one."""
    steady.event("run.planned")["phases"][1].update(start_s=29.0)
    verdict = judge(steady)
    assert verdict.verdict == "inconclusive"
    open_one = next(
        one for one in verdict.objectives if one.name == "first-token" and one.phase == "baseline"
    )
    assert open_one.samples == 60
    assert "needs 72 samples; about 2 s more" in open_one.message


def test_a_warning_is_no_failure(steady, judge):
    """An objective that meets its target but not its warning level warns, and the run with it."""
    steady.objectives[2]["warn"] = "<= 50ms"
    verdict = judge(steady)
    assert (verdict.verdict, verdict.exit_code) == ("warn", 0)


def test_an_unreadable_assertion_is_inconclusive(steady, judge):
    """What cannot be understood was not proved."""
    steady.assertions = [{"breaker_opened": {}}, "nonsense"]
    verdict = judge(steady)
    assert verdict.verdict == "inconclusive"
    assert "did you mean breaker_opens?" in message(verdict, "breaker_opened")


def test_no_objectives_are_inconclusive(steady, tmp_path: Path):
    """A bundle whose objectives were lost proves nothing."""
    bundle = steady.write(tmp_path / "run")
    (bundle / "objectives.yaml").unlink()
    assert evaluate(bundle).verdict == "inconclusive"


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path):
    """The complaint names the folder and what a bundle is."""
    with pytest.raises(BundleError, match=r"journal\.jsonl"):
        evaluate(tmp_path)


@pytest.mark.parametrize("name", ["attempts.jsonl", "journal.jsonl", "otlp/traces.binpb", "otlp/logs.binpb"])
def test_a_bundle_cut_off_anywhere_still_evaluates_and_never_passes(healthy, tmp_path: Path, name: str):
    """A crash at any byte leaves a readable bundle, and what was lost is not forgiven."""
    healthy.attempts = healthy.attempts[:60]
    healthy.spans = [one for one in healthy.spans if one["at_s"] < 6]
    path = healthy.write(tmp_path / "run") / name
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1 if name.endswith("jsonl") else 0
    step = max(1, (len(whole) - last) // 6)
    for end in [*range(last, len(whole), step), len(whole) - 2]:
        path.write_bytes(whole[:end])
        assert evaluate(path.parents[name.count("/")]).verdict in ("inconclusive", "fail")


def test_a_cut_off_last_attempt_alone_makes_a_passing_run_inconclusive(healthy, tmp_path: Path):
    """The negative control of the test above: only the cut separates this bundle from a pass."""
    path = healthy.write(tmp_path / "run") / "attempts.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert evaluate(path.parent).verdict == "pass"  # only the newline is gone: nothing is lost
    path.write_bytes(whole[:-2])
    assert evaluate(path.parent).verdict == "inconclusive"


def test_two_faults_on_one_segment_are_told_once(healthy, judge):
    """The segment moved once, whoever moved it; a reader has room for five more sentences."""
    planned = healthy.event("run.planned")
    planned["faults"]["also"] = dict(planned["faults"]["slow"])
    for phase in planned["phases"]:
        phase["faults"] = ["slow", "also"] if phase["faults"] else []
    sentences = judge(healthy).sentences
    assert sum("Search p95 rose from" in one for one in sentences) == 1
    assert len(set(sentences)) == len(sentences)


def test_the_first_sentences_say_what_happened(healthy, judge):
    """A reader of the sentences alone learns what moved, how the breaker answered and what users got."""
    text = " ".join(judge(healthy).sentences)
    assert "Search p95 rose from" in text
    assert "The breaker vector_db opened 2 s after the fault." in text
    assert "of answers were degraded and said so" in text


def test_what_failed_is_told_also_where_no_latency_moved(healthy, judge):
    """Calls that fail at their usual pace are no calls that stayed as they were."""
    planned = healthy.event("run.planned")["faults"]["slow"]
    near = "Search p95 in fault stayed near its baseline"
    for span in healthy.segment("search"):
        span |= {"duration_s": 0.02, "failed": False}
    assert near in " ".join(judge(healthy).sentences)

    planned["expects"] = {"segment": "search"}
    for span in healthy.segment("search"):
        span["failed"] = 35 <= span["at_s"] < 65
    sentences = " ".join(judge(healthy).sentences)
    assert "100 % of search spans failed in fault." in sentences and near not in sentences
