"""`python -m bench.catalogue`: does every experiment of the catalogue pass, and can it fail?

Each experiment is run as it stands, and once more for each of its negative controls, with the mechanism that
it is about switched off. One arm after the other, each in a process and a bundle of its own. What came of
them is kept in OUT/arms.jsonl, so that an interrupted round goes on where it was: an arm is run again
only when its experiment has changed, or with --again. What an arm counts as is what it would count as in a
campaign (`ragquake run --control`). The table of experiment x mechanism is made from that file alone and
stands between two marks in docs/explanation/catalogue.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from chaos.experiment import BUNDLED, LoadedExperiment, NegativeControl, load_experiment
from chaos.run.campaign.counting import count, failed_names
from chaos.run.judgement import judge
from slo.documents import DocumentError
from slo.verdict import Verdict

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "explanation" / "catalogue.md"
BEGIN, END = "<!-- begin: python -m bench.catalogue -->", "<!-- end -->"
RECORDS = "arms.jsonl"
ARM_LIMIT_S = 1200.0
"""A stack that starts, two minutes of load, the verdict: three minutes here. Beyond this it hangs."""
_PASSED = ("pass", "warn")
_TOLD = ("title", "owner", "hypothesis", "incidents", "negative_control")


@dataclass(frozen=True, slots=True)
class Arm:
    """One run that is to be made: an experiment as it is, or with one mechanism switched off."""

    experiment: str
    overrides: tuple[str, ...]
    digest: str
    control: NegativeControl | None = field(default=None, compare=False)

    @property
    def mechanism(self) -> str:
        return self.control.mechanism if self.control else ""

    @property
    def is_control(self) -> bool:
        return self.control is not None

    @property
    def name(self) -> str:
        return f"{self.experiment} without {self.mechanism}" if self.is_control else self.experiment


@dataclass(frozen=True, slots=True)
class Record:
    """How an arm ended."""

    experiment: str
    mechanism: str
    digest: str
    verdict: str
    failed: tuple[str, ...]
    said: str
    took_s: float
    at: str
    command: str
    bundle: str
    expected: bool = False
    """It passed as it stands; or failed as a control, and for a reason that it names."""
    load: float | None = None
    """The system's load average when it ended: on two cores, much above 3 means that others were at work."""


def arms_of(loaded: LoadedExperiment) -> Iterator[Arm]:
    """The experiment, then its negative controls."""
    name = loaded.experiment.name
    yield Arm(name, (), _digest(loaded, ()))
    for control in loaded.experiment.negative_controls:
        overrides = tuple(f"service.{key}={_written(value)}" for key, value in control.service.items())
        yield Arm(name, overrides, _digest(loaded, overrides), control)


def _digest(loaded: LoadedExperiment, overrides: Sequence[str]) -> str:
    """Of what decides how an arm ends, as it is written; other words for it are no other experiment."""
    written = {key: value for key, value in loaded.document.data.items() if key not in _TOLD}
    decides = json.dumps([written, list(overrides)], sort_keys=True, default=str)
    return hashlib.sha256(decides.encode()).hexdigest()[:12]


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def run(arm: Arm, runs: Path, state: Path, extra: Sequence[str] = ()) -> Record:
    """Run an arm to its verdict; what gives none is told as an error."""
    settings = [word for override in (*arm.overrides, *extra) for word in ("--set", override)]
    command = ["run", arm.experiment, *settings]
    own = folder_of(arm, runs)
    started = time.monotonic()
    done = subprocess.run(
        [Path(sys.executable).with_name("ragquake"), *command, "--runs", own, "--state", state, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=ARM_LIMIT_S,
        check=False,
    )
    took_s = time.monotonic() - started
    verdict = verdict_in(own / "latest", since_s=time.time() - took_s)
    said = f"exit {done.returncode}: {' '.join((done.stderr or done.stdout).split())[-300:]}"
    record = Record(
        experiment=arm.experiment,
        mechanism=arm.mechanism,
        digest=arm.digest,
        verdict="error",
        failed=(),
        said=said,
        took_s=round(took_s, 1),
        at=time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        command="ragquake " + shlex.join(command),
        bundle="",
        load=round(os.getloadavg()[0], 1),
    )
    return record if verdict is None else judged(record, arm, verdict)


def folder_of(arm: Arm, runs: Path) -> Path:
    """Where the bundles of an arm are."""
    return runs / arm.name.replace(" ", "-")


def judge_again(arm: Arm, record: Record | None, runs: Path) -> Record | None:
    """By today's rules, from the bundle of its run; none where there is no such bundle."""
    if record is None or not record.bundle or not (bundle := folder_of(arm, runs) / record.bundle).is_dir():
        return None
    return judged(record, arm, judge(bundle))


def verdict_in(bundle: Path, since_s: float = 0.0) -> Verdict | None:
    """A bundle's verdict; none when it has none that was made since."""
    file = bundle / "verdict.json"
    if not file.exists() or file.stat().st_mtime < since_s:
        return None
    return Verdict.read(file)


def judged(record: Record, arm: Arm, verdict: Verdict) -> Record:
    """The record with what the verdict says in short, and with what it counts as."""
    counted = count(verdict, arm.control)
    bad = [one.message for one in verdict.objectives if one.verdict == "fail"]
    bad += [one.message for one in verdict.assertions if one.verdict == "fail"]
    open_gates = [gate.message for gate in verdict.gates if gate.verdict != "pass"]
    expected = counted.verdict in _PASSED
    told = [*bad, *open_gates] if expected or not arm.is_control else [counted.sentence]
    return replace(
        record,
        verdict=verdict.verdict,
        failed=failed_names(verdict),
        said=next(iter(told), ""),
        bundle=verdict.run.id or "",
        expected=expected,
    )


def records(path: Path) -> dict[tuple[str, str], Record]:
    """The newest record of each arm."""
    if not path.exists():
        return {}
    found = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    newest = [Record(**{**one, "failed": tuple(one["failed"])}) for one in found]
    return {(one.experiment, one.mechanism): one for one in newest}


def table(arms: Sequence[Arm], known: Mapping[tuple[str, str], Record]) -> str:
    """Experiment x mechanism, in Markdown; what has not been run as it is now says so."""
    rows = [
        "| experiment | as it stands | mechanism switched off | then | failed | measured (UTC) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for arm in arms:
        record = known.get((arm.experiment, arm.mechanism))
        if record is not None and record.digest != arm.digest:
            record = None
        ended = record.verdict if record else "not run"
        if record and not record.expected:
            ended = f"**{ended}**"
        when = f"{record.at}, {record.took_s:.0f} s" if record else ""
        when += f", load {record.load}" if record and record.load is not None else ""
        failed = ", ".join(f"`{name}`" for name in record.failed) if record else ""
        if arm.is_control:
            settings = " ".join(f"`{one}`" for one in arm.overrides)
            rows.append(f"| | | {arm.mechanism}: {settings} | {ended} | {failed} | {when} |")
        else:
            rows.append(f"| `{arm.experiment}` | {ended} | | | {failed} | {when} |")
    return "\n".join(rows)


def write_table(page: Path, text: str) -> None:
    """Put the table between the page's marks."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page} has no line {BEGIN} with {END} behind it, so nowhere to put the table")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def catalogue() -> list[LoadedExperiment]:
    """All experiments that can be run; one that is not valid ends the command."""
    loaded = []
    for path in sorted(BUNDLED.glob("*.yaml")):
        one = load_experiment(path)
        if not getattr(one.experiment, "abstract", False):
            loaded.append(one)
    return loaded


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.catalogue", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this experiment; repeatable"
    )
    parser.add_argument(
        "--arm", metavar="MECHANISM", help='of those this arm; "" is the experiment as it stands'
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every arm")
    parser.add_argument("--again", action="store_true", help="run what has been run, too")
    parser.add_argument("--table", action="store_true", help="run nothing; write the table")
    parser.add_argument(
        "--judge", action="store_true", help="run nothing; judge the bundles that are kept again"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / ".ragquake" / "catalogue", help="records and bundles"
    )
    parser.add_argument("--state", type=Path, default=ROOT / ".ragquake", help="index, proxy, lock")
    asked = parser.parse_args(arguments)
    try:
        arms = [arm for loaded in catalogue() for arm in arms_of(loaded)]
    except DocumentError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    if unknown := sorted(set(asked.only) - {arm.experiment for arm in arms}):
        print(f"the catalogue has no {', '.join(unknown)}", file=sys.stderr)
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    kept = asked.out / RECORDS
    known = records(kept)
    for arm in arms:
        last = known.get((arm.experiment, arm.mechanism))
        done = last is not None and last.digest == arm.digest and last.expected
        wanted = not asked.only or arm.experiment in asked.only
        wanted = wanted and (asked.arm is None or asked.arm == arm.mechanism)
        if asked.table or not wanted or (done and not (asked.again or asked.judge)):
            continue
        print(f"{time.strftime('%H:%M:%S')}  {arm.name}", flush=True)
        runs = asked.out / "runs"
        record = judge_again(arm, last, runs) if asked.judge else run(arm, runs, asked.state, asked.set)
        if record is None:
            print("          no bundle of it is left")
            continue
        if not asked.set:  # what was changed for once is no record of the catalogue
            with kept.open("a") as out:
                out.write(json.dumps(asdict(record)) + "\n")
            known[arm.experiment, arm.mechanism] = record
        verdict = record.verdict if record.expected else f"{record.verdict.upper()} (not as expected)"
        print(
            f"          {verdict} in {record.took_s:.0f} s  {', '.join(record.failed)}  {record.said[:200]}",
            flush=True,
        )
    write_table(PAGE, table(arms, known))
    ended = {arm: known.get((arm.experiment, arm.mechanism)) for arm in arms}
    missing = [arm for arm, record in ended.items() if record is None or record.digest != arm.digest]
    wrong = [arm for arm, record in ended.items() if arm not in missing and record and not record.expected]
    print(f"of {len(arms)} arms {len(wrong)} did not end as expected, {len(missing)} have yet to be run")
    return 1 if wrong or missing else 0


if __name__ == "__main__":
    sys.exit(main())
