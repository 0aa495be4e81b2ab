"""Takes what others need, CPU time or memory; run by its path, with the standard library alone.

It waits for a line on its standard input before it takes anything, so that its undo can be written down
first, and ends when that input ends: the kernel closes it however the runner dies. Of all processes the
kernel should choose this one, should memory ever run out.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

SLICE_S = 0.05
BLOCK = 8 * 1024 * 1024
PAGE = 4096
TOUCH_EVERY_S = 1.0


def alone(wait_s: float) -> bool:
    """Whether whoever started this has gone, after waiting that long at most."""
    return bool(select.select([0], [], [], wait_s)[0]) and not os.read(0, 4096)


def say(**facts: object) -> None:
    os.write(1, (json.dumps(facts) + "\n").encode())


def burn(share: float) -> None:
    """Use that share of one core, in slices, until alone."""
    begun, used = time.monotonic(), time.process_time()
    while not alone(0.0):
        until = time.monotonic() + SLICE_S
        while time.monotonic() < until and time.process_time() - used < share * (time.monotonic() - begun):
            sum(range(2000))
        rest = (time.process_time() - used) / share - (time.monotonic() - begun)
        if rest > 0 and alone(min(rest, SLICE_S)):
            return
        if time.monotonic() - begun > 1.0:  # what others kept it from is not made up for later
            begun, used = time.monotonic(), time.process_time()


def short_of(floor_mib: int) -> bool:
    """Whether the machine has less memory left than it must keep; false where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return False
    left = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return left is not None and left < floor_mib * 1024


def hold(mib: int, floor_mib: int) -> None:
    """Take so much memory, touch it every second so that nothing of it is put aside, until alone.

    Should the machine come to less than the floor, because others grew, it lets go of all at once.
    """
    blocks: list[bytearray] = []
    wanted = mib * 1024 * 1024
    try:
        while wanted > 0:
            size = min(BLOCK, wanted)
            blocks.append(bytearray(b"\x5a") * size)
            wanted -= size
            if alone(0.0):
                return
            if short_of(floor_mib):
                say(error=f"less than {floor_mib} MiB would stay free")
                return
    except MemoryError:
        say(error=f"no memory after {sum(map(len, blocks)) // 2**20} MiB")
        return
    say(held_mib=sum(map(len, blocks)) // 2**20)
    mark = 0
    while not alone(TOUCH_EVERY_S):
        if short_of(floor_mib):
            return
        mark = (mark + 1) % 256
        for block in blocks:
            block[::PAGE] = bytes([mark]) * len(range(0, len(block), PAGE))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kind, size = sys.argv[1], float(sys.argv[2])
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    say(waiting=True)
    if not os.read(0, 4096):
        return
    if kind == "cpu":
        burn(size)
    else:
        hold(int(size), int(sys.argv[3]))


if __name__ == "__main__":
    main()
