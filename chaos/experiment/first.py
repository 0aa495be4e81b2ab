"""A first experiment to change: short, whole, with a comment for each part (`ragquake init`).

Its numbers are those of the bundled `smoke`: as few arrivals as a verdict needs, and a recovery long enough
to see one fail.
"""

from __future__ import annotations

import getpass
import re
from pathlib import Path

from slo.documents import DocumentError

SCHEMA = Path(".ragquake") / "experiment.schema.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")

_TEXT = """\
# yaml-language-server: $schema={schema}
# What does it prove, and what does good look like? Write it here, for whoever sees it fail.
apiVersion: ragquake/v1
kind: Experiment
name: {name}
title: The vector DB answers two seconds late
owner: {owner} # who is asked when it fails
hypothesis: >- # what you claim will hold, in words
  Users keep getting answers, some of them degraded and saying so; after it the service is itself again.

# Who arrives, how often; users do not wait for each other. docs/reference/experiment.md has what else
# there is: rates that change ({{ramp: [1x, 10x]}}), variables, experiments that extend others.
load:
  baseline_rate: 5/s
  journeys: {{ask: 8, follow_up: 2}}

# What can be done to a dependency, by names of your own: `ragquake list faults`, `ragquake explain latency`.
faults:
  slow-vector-db: {{on: vector_db, kind: latency, latency: 2s}}

# Stretches of the run, laid end to end. A p95 needs 72 answers in each judged phase.
phases:
  - {{name: warmup, for: 5s, judged: false}}
  - {{name: baseline, for: 22s, rate: 1x}} # what is normal here?
  - {{name: fault, for: 22s, rate: 1x, faults: [slow-vector-db]}}
  - {{name: recovery, for: 41s, rate: 1x}} # does it come back?

# When to give up early, for the users' sake.
stop_when:
  - {{segment: journey, indicator: error_ratio, above: 50%, for: 10s}}

# What must hold, in numbers; `objectives: default` takes those that come with ragquake.
objectives:
  - {{name: answered, segment: journey, indicator: good_ratio, target: ">= 99%", in: {{fault: ">= 95%"}}}}
  - {{name: first-word, segment: journey, indicator: ttft_p95, target: "<= 1.5s"}}
  - {{name: honest-degradation, segment: request, indicator: undeclared_degraded_ratio, target: "= 0%"}}
  - {{name: recovered, segment: journey, indicator: recovery_time, target: "<= 30s"}}

# What the traces must show.
assertions:
  - breaker_opens: {{breaker: vector_db, within: 10s}}
  - breaker_closes: {{breaker: vector_db, within: 20s, after: fault}}
  - every_degraded_answer_says_so: {{}}

# Without the mechanism that it is about it must fail, or it cannot fail: `ragquake run FILE --control`.
negative_control:
  mechanism: circuit breaker
  service: {{breaker.min_calls: 100000}}
  expect: fail
  because: [breaker_opens]
"""


def write_first(name: str, folder: Path) -> Path:
    """Write NAME.yaml into a folder; a file that is there stays. Raises DocumentError."""
    if not _NAME.fullmatch(name):
        rule = "begin with a letter or digit; use a-z, 0-9, - and _, at most 60"
        raise DocumentError([f"{name!r} cannot name an experiment; {rule}"])
    path = folder / f"{name}.yaml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(first_experiment(name))
    except FileExistsError:
        raise DocumentError([f"{path} is there already and was left as it is; give another name"]) from None
    return path


def first_experiment(name: str) -> str:
    """Its text."""
    return _TEXT.format(name=name, owner=_owner(), schema=SCHEMA.as_posix())


def _owner() -> str:
    """Who writes it, as the system knows them."""
    try:
        found = getpass.getuser()
    except OSError:
        found = ""
    return found if re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,60}", found) else "me"
