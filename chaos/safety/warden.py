"""The dead man's switch: a process that outlives its runner just long enough to clean up after it.

A runner that is killed with SIGKILL runs no `finally`. The warden holds the read end of a pipe whose
write end only the runner has: the kernel closes it however the runner ends, within the same instant and
without polling. As a second opinion it looks at the runner's pid and creation time. A runner that ended
well writes "done" first; without that word, the warden undoes the faults and stops the stack. So it does when
the runner has been suspended (Ctrl-Z, SIGSTOP) for as long as a lease lasts: a run that stands still watches
over nothing, and a paused or killed part has no lease of its own. And when the safety lever is pulled and the
runner does not heed it in time.

The runner waits until its warden says that it is at its post, so no fault ever goes in unguarded. The
warden ignores Ctrl-C and hang-ups, because a terminal sends those to everybody at once. When runner and
warden are both killed, `ragquake rollback` does the same work from the same files.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from chaos.errors import EnvironmentFailure
from chaos.run.journal import FILE_NAME as JOURNAL_NAME
from chaos.run.journal import read
from chaos.safety.lever import pulled
from chaos.safety.rollback import RollbackReport, rollback
from chaos.stack.errors import StackError
from chaos.stack.process import ProcessIdentity, spawned

DONE = b"done\n"
AT_ITS_POST = b"at its post\n"
START_TIMEOUT_S = 30.0
"""It imports the rollback first, a second at most on a machine that is not swapping."""
LOOK_EVERY_S = 0.5
SUSPENDED_FOR_S = 10.0
"""As long as a lease on the fault proxy: what it holds is gone by then, and so should the rest be."""
HEED_THE_LEVER_WITHIN_S = 8.0
"""A run rolls back in 2 s, a slow one in 5; no fault stays in for 10 s."""
DONE_WAIT_S = 5.0
"""After "done" the warden has nothing left to do but to exit; longer than that, it is stuck."""


@dataclass(frozen=True, slots=True)
class Warden:
    """The runner's handle on its warden; call `done` when faults are undone and the stack is stopped."""

    process: subprocess.Popen[bytes]
    identity: ProcessIdentity
    command: tuple[str, ...]
    log: Path

    def require_alive(self) -> None:
        """Raises EnvironmentFailure when it has ended: nobody would clean up after a killed runner."""
        code = self.process.poll()
        if code is not None:
            raise EnvironmentFailure(
                f"the run's warden (pid {self.identity.pid}) ended (exit {code}), and without one no fault "
                f"stays in: nobody would clean up after a killed run; its log is {self.log}; run it again"
            )

    def done(self) -> None:
        """Dismiss the warden and wait until it is gone; may be called again."""
        pipe = self.process.stdin
        if pipe is not None and not pipe.closed:
            try:
                pipe.write(DONE)
                pipe.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(DONE_WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_warden(bundle: Path, environment: Mapping[str, str] | None = None) -> Warden:
    """Start a warden for this process and a bundle, before the first part of the stack starts.

    Returns when it is at its post. Raises StackError when it does not get there.
    """
    runner = ProcessIdentity.of_this_process()
    command = (
        *(sys.executable, "-m", "chaos.safety.warden", "--bundle", str(bundle.absolute())),
        *("--runner-pid", str(runner.pid), "--runner-created", str(runner.created_s)),
    )
    log = bundle.absolute() / "logs" / "warden.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=dict(os.environ if environment is None else environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
    warden = Warden(process=process, identity=spawned(process), command=command, log=log)
    try:
        _wait_for_post(warden)
    except BaseException:
        warden.process.kill()
        warden.process.wait()
        raise
    return warden


def _wait_for_post(warden: Warden) -> None:
    with cast(IO[bytes], warden.process.stdout) as said:
        heard = said.readline() if select.select([said], [], [], START_TIMEOUT_S)[0] else b""
    if heard != AT_ITS_POST:
        raise StackError(
            f"the warden (pid {warden.identity.pid}) did not come to its post in {START_TIMEOUT_S:.0f} s, "
            f"so nobody would clean up after a killed run; its log is {warden.log}"
        )


def has_acted(bundle: Path) -> bool:
    """Whether a warden has begun to clean up behind the run's back."""
    entries = read(bundle / JOURNAL_NAME)
    return any(entry["event"] == "rollback.started" and entry.get("by") == "warden" for entry in entries)


def watch(
    pipe: int,
    runner: ProcessIdentity,
    look_every_s: float = LOOK_EVERY_S,
    suspended_for_s: float = SUSPENDED_FOR_S,
) -> bool:
    """Wait until the runner says "done" (true), or leaves the cleaning up to its warden (false).

    That is when it is gone without a word, stands still for long, or does not heed the safety lever.
    """
    heard = b""
    suspended_s = unheeded_s = 0.0
    while True:
        if select.select([pipe], [], [], look_every_s)[0]:
            read = os.read(pipe, 64)
            heard += read
            if DONE in heard:
                return True
            if not read:
                return False
        elif not runner.alive:
            return False
        else:
            suspended_s = suspended_s + look_every_s if runner.suspended else 0.0
            unheeded_s = unheeded_s + look_every_s if pulled() else 0.0
            if suspended_s > suspended_for_s or unheeded_s > HEED_THE_LEVER_WITHIN_S:
                return False


def main(
    arguments: Sequence[str] | None = None, clean_up: Callable[[Path], RollbackReport] | None = None
) -> int:
    """Watch a runner; clean up after it when it dies. Exit 0 when dismissed or clean, 4 when not clean."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="python -m chaos.safety.warden", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--runner-pid", type=int, required=True)
    parser.add_argument("--runner-created", type=float, required=True)
    options = parser.parse_args(arguments)
    runner = ProcessIdentity(options.runner_pid, options.runner_created)
    os.write(sys.stdout.fileno(), AT_ITS_POST)
    if watch(sys.stdin.fileno(), runner):
        return 0
    report = (clean_up or _roll_back)(options.bundle)
    print(report.sentence(), file=sys.stderr, flush=True)
    return 0 if report.clean else 4


def _roll_back(bundle: Path) -> RollbackReport:
    return rollback(bundle, by="warden")


if __name__ == "__main__":
    sys.exit(main())
