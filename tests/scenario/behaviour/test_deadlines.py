"""The rule `no_span_outlives_deadline`, put to a service that keeps deadlines and to one that knows none.

No setting switches deadlines off, so no experiment of the catalogue can have this control: it is here.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slo import assertions, verdict
from slo.bundle import Bundle
from slo.evidence import read_evidence
from slo.segments import default_table
from tests.scenario.behaviour.client import at_once
from tests.scenario.behaviour.evidence import Evidence
from tests.scenario.behaviour.lab import Lab
from tests.scenario.behaviour.parts import ModelServer, Proxy

pytestmark = pytest.mark.slow
PATIENCE_S = 2.0


def _silence(lab: Lab, proxy: Proxy, model: ModelServer, sabotage: str | None = None) -> Evidence:
    """A model server that says nothing, and callers who stay beyond their deadline, too few for a breaker."""
    with (
        lab.service(proxy, sabotage=sabotage, generate__first_token_s=3.0) as service,
        model.faults({"kind": "slow_first_token", "delay_s": 20.0}),
    ):
        service.ask(*at_once(4, patience_s=PATIENCE_S, hang_up_s=3 * PATIENCE_S))
    return service.evidence


def _judged(evidence: Evidence, received: Path, folder: Path) -> verdict.Assertion:
    """The rule's word on what the service exported, as it would be in a bundle."""
    t0_s = min(one.started_s for one in evidence.attempts) - 1.0
    phase = {"name": "fault", "start_s": 0.0, "end_s": 60.0, "rate_per_s": 1.0, "faults": [], "judged": True}
    journal = [
        {"at_s": t0_s, "event": "run.planned", "phases": [phase], "faults": {}, "arrivals": {"fault": 4}},
        {"at_s": t0_s, "event": "load.started", "t0_s": t0_s},
    ]
    attempts = [
        {
            "trace_id": one.trace_id,
            "journey": "ask",
            "arrival": one.number,
            "outcome": one.outcome or "timeout",
            "intended_start_s": one.started_s,
            "start_s": one.started_s,
            "end_s": one.ended_s,
            "status": one.status,
        }
        for one in evidence.attempts
    ]
    folder.mkdir()
    for name, lines in (("journal", journal), ("attempts", attempts)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "otlp").symlink_to(received)
    rule = assertions.parse({"no_span_outlives_deadline": {}})
    return rule.check(read_evidence(Bundle.at(folder), default_table()))


def test_no_span_outlives_its_deadline_unless_nobody_knows_it(
    lab: Lab, builtin: Proxy, model: ModelServer, tmp_path: Path
) -> None:
    """Cut by its deadline, each answer comes from the documents; without one the call goes on for nobody."""
    kept = _silence(lab, builtin, model)
    found = _judged(kept, lab.received, tmp_path / "kept")
    assert (found.verdict, found.facts["met_their_deadline"]) == ("pass", 4), found.message
    forgotten = _silence(lab, builtin, model, sabotage="forget_deadlines")
    found = _judged(forgotten, lab.received, tmp_path / "forgotten")
    assert (found.verdict, found.facts["over"]) == ("fail", 4), found.message
