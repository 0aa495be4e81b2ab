"""`junit.xml`: the verdict as a CI system understands it.

One case per objective and phase, per assertion and per gate, and one for the run as a whole, so that a file
without objectives is never green. Only `pass` and `warn` are green. `fail` becomes a failure: the service
missed what was promised. `inconclusive` and `error` become errors, not skips, because CI systems
count a skip as fine and a run that proved nothing must not let a change through.
"""

from __future__ import annotations

from collections.abc import Sequence

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from slo.report import trees, wording
from slo.verdict import Assertion, Gate, Objective, Verdict, Verdicts

FILE = "junit.xml"


def render(verdict: Verdict) -> str:
    """The XML as text; equal verdicts give equal text."""
    shown = wording.legible(verdict)
    experiment = shown.run.experiment or "run"
    document = JUnitXml(f"ragquake {experiment}")
    for name, cases in groups(shown):
        suite = TestSuite(f"{experiment}.{name}")
        for one in cases:
            one.classname = f"ragquake.{experiment}.{name}"
            suite.add_testcase(one)
        document.add_testsuite(suite)
    document.update_statistics()
    return str(document.tostring().decode("utf-8")) + "\n"


def groups(shown: Verdict) -> tuple[tuple[str, list[TestCase]], ...]:
    """The cases of a legible verdict, by what they are about."""
    return (
        ("verdict", [_run(shown)]),
        ("objectives", [_objective(one) for one in shown.objectives]),
        ("assertions", [_assertion(one) for one in shown.assertions]),
        ("gates", [_gate(one) for one in shown.gates]),
    )


def _run(verdict: Verdict) -> TestCase:
    others = verdict.sentences[1:]
    return case("run", verdict.verdict, wording.headline(verdict), others)


def _objective(one: Objective) -> TestCase:
    details = [
        f"objective {one.name}: {one.indicator} of {one.segment} in phase {one.phase}",
        f"wanted    {one.target}" + (f" (warning at {one.warn})" if one.warn else ""),
        f"seen      {wording.seen(one)} in {one.samples} samples",
        *_traces(one.exemplars),
    ]
    return case(f"{one.name} in {one.phase}", one.verdict, one.message, details)


def _assertion(one: Assertion) -> TestCase:
    details = [*wording.facts(one.parameters), *wording.facts(one.facts), *_traces(one.exemplars)]
    details += ["", *trees.text(one.trace)] if one.trace else []
    return case(one.name, one.verdict, one.message, details)


def _gate(one: Gate) -> TestCase:
    return case(one.name, one.verdict, one.message, wording.facts(one.facts))


def case(name: str, verdict: Verdicts, message: str, details: Sequence[str] = ()) -> TestCase:
    """One case: green for `pass` and `warn`, red for `fail`, an error for whatever proved nothing."""
    made = TestCase(name)
    text = "\n".join([message, *details])
    if verdict == "fail":
        result = Failure(message, "fail")
    elif verdict not in wording.PASSING:
        result = Error(message, verdict)
    else:
        if verdict == "warn":
            made.system_out = f"warning: {text}"
        return made
    result.text = text
    made.result = [result]
    return made


def _traces(exemplars: Sequence[str]) -> list[str]:
    return [f"look at   {', '.join(exemplars)}"] if exemplars else []
