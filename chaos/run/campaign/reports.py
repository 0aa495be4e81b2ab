"""What a campaign leaves for people and for CI: one JUnit file with a suite for each run, and one summary.

A negative control has one case, which is green when it failed as it should: its objectives are meant to fail.
A run that was not made is an error, not a skip, because CI systems count a skip as fine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from junitparser import JUnitXml, TestCase, TestSuite

from chaos.run.campaign.record import CampaignRecord, RunRecord
from slo.report import junit, markdown, wording
from slo.report.markdown import MARKS, escape, table
from slo.units import format_duration
from slo.verdict import Objective, Verdict, Verdicts

TWO = 2


def write(folder: Path, record: CampaignRecord, verdicts: Mapping[int, Verdict]) -> None:
    """`junit.xml` and `summary.md`; a reader sees the old file or the new one, never a half."""
    texts = {
        junit.FILE: junit_of(record, verdicts),
        markdown.FILE: summary_of(record, verdicts),
    }
    for name, text in texts.items():
        beside = folder / f"{name}.part"
        beside.write_text(text, encoding="utf-8")
        beside.replace(folder / name)


def junit_of(record: CampaignRecord, verdicts: Mapping[int, Verdict]) -> str:
    """The XML as text."""
    document = JUnitXml(f"ragquake {record.name}")
    for index, run in enumerate(record.runs):
        suite = TestSuite(wording.clean(run.name))
        suite.time = run.took_s or 0.0
        for case in _cases(run, verdicts.get(index)):
            suite.add_testcase(case)
        document.add_testsuite(suite)
    document.update_statistics()
    return str(document.tostring().decode("utf-8")) + "\n"


def _cases(run: RunRecord, verdict: Verdict | None) -> Iterator[TestCase]:
    place = f"ragquake.{wording.clean(run.name)}"
    if verdict is None or run.role == "control":
        name = "failed as it should" if run.role == "control" else "run"
        one = junit.case(name, run.counts_as or "inconclusive", wording.clean(run.sentence))
        one.classname = place
        yield one
        return
    for group, cases in junit.groups(wording.legible(verdict)):
        for one in cases:
            one.classname = f"{place}.{group}"
            yield one


def summary_of(record: CampaignRecord, verdicts: Mapping[int, Verdict]) -> str:
    """The summary as Markdown; bundles lie beside the campaign's folder."""
    word = wording.JUDGEMENTS[record.verdict].word
    blocks = [f"## {MARKS[record.verdict]} {word}: {_text(record.name)}"]
    if record.sentences:
        blocks.append(f"**{_text(record.sentences[0])}**")
        blocks.append("\n".join(f"- {_text(one)}" for one in record.sentences[1:]))
    blocks += ["### Runs", _runs(record)]
    if compared := _comparison(record, verdicts):
        blocks += ["### Objectives over all runs", compared]
    spent = f"{format_duration(record.took_s or 0.0)} in all"
    budget = f", of a budget of {format_duration(record.budget_s)}" if record.budget_s is not None else ""
    blocks.append(spent + budget + ".")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _runs(record: CampaignRecord) -> str:
    rows = []
    for run in record.runs:
        counts: Verdicts = run.counts_as or "inconclusive"
        rows.append(
            [
                f"{MARKS[counts]} {counts}",
                _text(run.name),
                run.verdict or run.status or "not started",
                "fail" if run.expect == "fail" else "pass",
                format_duration(run.took_s) if run.took_s is not None else wording.NOTHING,
                _text(run.sentence),
                f"`../{run.bundle}`" if run.bundle else wording.NOTHING,
            ]
        )
    heads = ["Counts as", "Run", "Verdict", "Expected", "Took", "In short", "Bundle"]
    return table(heads, rows, right={4})


def _comparison(record: CampaignRecord, verdicts: Mapping[int, Verdict]) -> str:
    """Each objective in each phase, arm beside arm; nothing where nothing was run twice, or of a suite."""
    counted = {index: verdict for index, verdict in verdicts.items() if record.runs[index].role != "control"}
    arms = list(dict.fromkeys(record.runs[index].arm for index in counted))
    if record.kind == "suite" or len(counted) < TWO:
        return ""
    seen: dict[tuple[str, str], dict[str, list[Objective]]] = {}
    for index, verdict in counted.items():
        for one in verdict.objectives:
            seen.setdefault((one.name, one.phase), {}).setdefault(record.runs[index].arm, []).append(one)
    rows = [
        [_text(name), _text(phase), *(_of_arm(by_arm.get(arm, [])) for arm in arms)]
        for (name, phase), by_arm in seen.items()
    ]
    heads = ["Objective", "Phase", *map(_text, arms)]
    return table(heads, rows, right=set(range(TWO, len(heads)))) if rows else ""


def _of_arm(found: list[Objective]) -> str:
    """`310 ms (290 ms … 340 ms) pass`: the median of the arm's runs, the extremes, how they came out."""
    values = [one.value for one in found if one.value is not None]
    if not values:
        return wording.NOTHING
    unit = found[0].unit
    spread = f" ({wording.interval((min(values), max(values)), unit)})" if min(values) < max(values) else ""
    came_out = ", ".join(dict.fromkeys(one.verdict for one in found))
    return _text(f"{wording.value(median(values), unit)}{spread} {came_out}")


def _text(text: str) -> str:
    return escape(wording.clean(text))
