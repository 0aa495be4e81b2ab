"""Drives a RAG service with users who arrive on schedule, inside Locust.

Alone, against any service with `POST /v1/answers`; attempts go to `.ragquake/journeys/attempts.jsonl`:

    locust -f journeys/locustfile.py --host http://127.0.0.1:8080            # with Locust's web page
    locust -f journeys/locustfile.py --host http://127.0.0.1:8080 --headless --only-summary

With a plan (docs/design/0001 §3), as the runner does it:

    RAGQUAKE_JOURNEYS_PLAN=plan.json python -m locust -f journeys/locustfile.py \\
        --headless --only-summary --loglevel WARNING

Exit codes: 0 the schedule was driven to its end, whatever became of the answers; 2 the plan is wrong;
4 the harness failed (unreachable target, no start, a journey crashed); 130 stopped from outside.

One Locust user, the conductor, owns the whole schedule. What Locust shows as response time counts from
the intended start, and a request is a failure there when its user got no answer.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import gevent
from locust import User, events
from locust import log as locust_log
from locust.exception import StopUser

from journeys.attempts import Attempt, AttemptLog, Begun
from journeys.clock import SteadyClock
from journeys.conductor import Conductor
from journeys.exchange import AnswerClient
from journeys.handshake import HandshakeError, await_start, say_ready
from journeys.journey import journeys_of
from journeys.outcome import ANSWERED, Ending
from journeys.plan import Phase, Plan, PlanError, load_plan
from journeys.questions import GOLDEN, QuestionsError, load_questions
from journeys.schedule import Arrival, arrivals_per_phase, schedule
from journeys.visitor import Surroundings, Visitor, dropped

PLAN_VARIABLE = "RAGQUAKE_JOURNEYS_PLAN"
WARM_UP_WITHIN_S = 10.0
WRONG_INPUT, HARNESS_FAILED, STOPPED = 2, 4, 130

log = logging.getLogger("journeys")


def _untold(_begun: Begun) -> None:
    """Nobody watches the run while it goes."""


class NoAnswer(Exception):
    """What Locust's statistics show for an attempt that gave its user no answer."""


def default_plan(host: str) -> Plan:
    """A gentle look at a service: a minute and a half, with a spike of ten times the traffic."""
    return Plan(
        run_id=f"alone-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}",
        target=host,
        seed=1,
        phases=(
            Phase(name="baseline", start_s=0, end_s=30, rate_per_s=2),
            Phase(name="spike", start_s=30, end_s=60, rate_per_s=20),
            Phase(name="recovery", start_s=60, end_s=90, rate_per_s=2),
        ),
        journeys={"ask": 6, "follow_up": 3, "impatient": 1},
        attempts=Path(".ragquake/journeys/attempts.jsonl"),
    )


def plan_from_environment() -> Plan | None:
    """The plan that the environment names; None leaves it to the default plan."""
    path = os.environ.get(PLAN_VARIABLE)
    return load_plan(Path(path)) if path else None


class Conducted(User):  # type: ignore[misc]
    """The only Locust user: it lets the visitors in, waits for them, and ends the test."""

    fixed_count = 1
    plan: Plan | None = None

    def conduct(self) -> None:
        code = HARNESS_FAILED
        try:
            if self.plan is None and not self.host:
                raise PlanError(
                    f"no target; pass --host http://HOST:PORT or set {PLAN_VARIABLE} to a plan file"
                )
            code = self._drive(self.plan or default_plan(self.host))
        except (PlanError, QuestionsError) as error:
            log.error("%s", error)
            code = WRONG_INPUT
        except (HandshakeError, OSError) as error:
            log.error("%s", error)
        except Exception:  # Locust would log it and start the whole schedule again
            log.exception("the journeys failed; this is a fault of the harness")
        self._finish(code)

    tasks = [conduct]  # noqa: RUF012

    def _drive(self, plan: Plan) -> int:
        clock = SteadyClock.anchored()
        known = journeys_of(plan)
        questions = load_questions(plan.questions or GOLDEN)
        arrivals = schedule(plan, questions, {name: one.questions for name, one in known.items()})
        client = AnswerClient(plan.target, connections=plan.max_in_flight + 1, clock=clock)
        self._greet(client, plan.target)
        with AttemptLog(plan.attempts, redact=plan.redact) as attempts, ExitStack() as context:
            begin = context.enter_context(AttemptLog(plan.started)).write if plan.started else _untold

            def record(attempt: Attempt) -> None:
                attempts.write(attempt)
                self._show(attempt)

            gc.collect()
            gc.freeze()
            if plan.ready:
                say_ready(plan.ready, arrivals_per_phase(plan, arrivals), os.getpid())
            t0_s = await_start(plan.start, clock, gevent.sleep) if plan.start else clock.now_s()
            around = Surroundings(plan, t0_s, client, clock, gevent.sleep, record, begin)

            def live(arrival: Arrival) -> None:
                known[arrival.journey].live(Visitor(arrival, around))

            conductor = Conductor(
                live=live,
                drop=lambda arrival: record(dropped(arrival, t0_s)),
                max_in_flight=plan.max_in_flight,
                clock=clock,
                sleep=gevent.sleep,
            )
            try:
                conductor.conduct(arrivals, t0_s)
                conductor.drain(t0_s + plan.end_s, plan.drain_s)
            finally:
                conductor.close(Ending.RUN_STOPPED)
        if conductor.crashed:
            log.error("%d journeys crashed; their tracebacks are above", conductor.crashed)
        return HARNESS_FAILED if conductor.crashed else 0

    def _greet(self, client: AnswerClient, target: str) -> None:
        try:
            client.greet(WARM_UP_WITHIN_S)
        except OSError as error:
            raise ConnectionError(
                f"cannot reach {target}/healthz: {error}; start the service or correct the address"
            ) from error

    def _show(self, attempt: Attempt) -> None:
        """Tell Locust's statistics; a dropped arrival is a request that failed at once."""
        answered = attempt.outcome in ANSWERED
        self.environment.events.request.fire(
            request_type="SSE" if attempt.stream else "JSON",
            name=f"{attempt.journey}/{attempt.step}",
            response_time=(attempt.latency_s or 0.0) * 1000,
            response_length=attempt.tokens or 0,
            context={},
            exception=None if answered else NoAnswer(attempt.outcome or "dropped"),
        )

    def _finish(self, code: int) -> NoReturn:
        """End the process when headless; leave Locust's page up when there is one."""
        runner: Any = self.environment.runner
        self.environment.process_exit_code = code
        gevent.spawn(runner.stop if self.environment.web_ui else runner.quit)
        raise StopUser


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def stopped_from_outside(environment: Any, **_facts: Any) -> None:
    """A stop before the end is no success, and Locust must not call refused answers a failed run.

    Locust also ends when its own monitor dies, for want of a file descriptor say: nobody stopped it then.
    """
    if environment.process_exit_code is None:
        environment.runner.quit()
        broke_down = locust_log.unhandled_greenlet_exception
        environment.process_exit_code = HARNESS_FAILED if broke_down else STOPPED


@events.quit.add_listener  # type: ignore[untyped-decorator]
def say_why(exit_code: int, **_facts: Any) -> None:
    """Below Locust's tables, so that whoever reads the end of the log finds it."""
    if exit_code == STOPPED:
        log.error("stopped from outside: somebody sent SIGTERM or SIGINT")
    elif locust_log.unhandled_greenlet_exception:
        log.error("Locust itself broke down; its error is above the tables")


try:
    Conducted.plan = plan_from_environment()
    if Conducted.plan:
        journeys_of(Conducted.plan)
except PlanError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(WRONG_INPUT)
