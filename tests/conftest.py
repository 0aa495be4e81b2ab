"""For every test: whether a rule holds must not depend on how fast, or how busy, the machine is.

In CI it must not depend on luck either: there the same examples are drawn each time, so that a change is
judged by what it changes. Everywhere else each call draws new ones. And a safety lever that a person has
pulled on this machine stops no test. A program that was started in the background hands on that it ignores
SIGINT and SIGHUP; the programs that tests end by a signal must not.
"""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

os.environ["RAGQUAKE_SAFETY_LEVER"] = os.devnull + "/no-file-can-be-here"
for ignored, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, usual)

settings.register_profile(
    "any-machine",
    deadline=None,  # by default a test fails whose example takes 200 ms
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("any-machine")
