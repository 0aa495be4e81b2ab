"""A new corpus while questions are being answered: no answer mixes the old and the new one."""

from __future__ import annotations

import shutil
import time

import httpx
import pytest

from tests.scenario.behaviour import corpus
from tests.scenario.behaviour.client import Ask, steady
from tests.scenario.behaviour.evidence import Evidence
from tests.scenario.behaviour.invariants import assert_invariants
from tests.scenario.behaviour.lab import Lab
from tests.scenario.behaviour.parts import Proxy
from tests.scenario.behaviour.service import Service

pytestmark = pytest.mark.slow
NEW_QUESTION = "How do I make a temporary directory that is removed afterwards?"


def _update(lab: Lab, proxy: Proxy, name: str, **settings: object) -> Evidence:
    index = lab.copy_of_index(name)
    vector_db = lab.start_vector_db(name, index)
    grown = corpus.write(lab.folder / f"{name}.jsonl", corpus.documents((*corpus.MODULES, "tempfile")))
    with (
        lab.service(proxy, index_dir=index, **settings) as service,
        proxy.upstream("vector_db", vector_db.address),
    ):
        service.mark("old")
        with service.ask_aside(*steady(8, 6.0, patience_s=2.0)):
            time.sleep(0.5)
            before = service.readiness()["corpus"]["stamp"]
            lab.ingest(grown, index)
            _wait_for_another_stamp(service, before)
            time.sleep(0.5)  # the service has the new folder, the vector DB has not
            service.mark("reload")
            answer = httpx.post(
                f"{vector_db.url}/v1/collections/corpus/reload", timeout=10.0, trust_env=False
            )
            assert answer.status_code == 200, answer.text
        service.mark("new")
        service.ask(Ask(question=NEW_QUESTION, stream=False), *steady(8, 0.5))
    shutil.rmtree(index)
    return service.evidence


def _wait_for_another_stamp(service: Service, before: str, limit_s: float = 2.0) -> None:
    """Until the service has looked at the new folder; one that never looks is not waited for for ever."""
    for _ in range(int(limit_s / 0.05)):
        if service.readiness()["corpus"]["stamp"] != before:
            return
        time.sleep(0.05)


def _changed_over(evidence: Evidence) -> None:
    """Always an answer; lexical and saying so while the stamps differ; then full, from the new documents."""
    assert all(one.answered for one in evidence.attempts), evidence.told()
    during = evidence.between("old", "new")
    assert {reason for one in during for reason in one.reasons} == {"stamp_mismatch"}
    assert during[0].outcome == "full"
    after = evidence.between("new")
    assert evidence.outcomes(after) == {"full": len(after)}, f"not full again: {evidence.told(after)}"
    cited = [citation["id"] for citation in after[0].body["citations"]]
    assert any(document.startswith("tempfile.") for document in cited), cited
    assert not evidence.opened("vector_db")


def test_a_corpus_update_in_the_middle(lab: Lab, builtin: Proxy) -> None:
    """Both sides change over, each in its own time. A service that never looks stays degraded."""
    on = _update(lab, builtin, "updated", corpus_poll_s=0.2)
    _changed_over(on)
    assert_invariants(on)
    unseen = _update(lab, builtin, "unseen", corpus_poll_s=300)
    with pytest.raises(AssertionError, match="not full again"):
        _changed_over(unseen)
