"""From a bundle to its verdict and reports: one way, for a run that has just ended and for any old one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from slo import evaluator, report, store
from slo.history import FILE, History, HistoryBusyError
from slo.verdict import Verdict


def judge(bundle: Path, runs: Path | None = None) -> Verdict:
    """Evaluate a bundle and write its reports; with `runs`, keep the verdict in the history beside it."""
    store.build(bundle)
    verdict = evaluator.evaluate(bundle)
    report.write(bundle, verdict)
    if runs is not None:
        # A history that another run is writing costs this run its row, not its verdict.
        with suppress(HistoryBusyError):
            History(runs / FILE).record(verdict, bundle)
    return verdict
