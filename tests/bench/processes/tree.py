"""Runs one command and says what it and everything it started cost,
down to processes whose parents are gone.

Prints `{"cpu": s, "wall": s, "peak": bytes, "output": text, "code": n}`. The peak is of
proportional memory (PSS: what processes share is counted once) over all of them, looked at several
times a second.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress

from typing_extensions import override

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_LOOK_SECONDS = 0.2


class PeakWatch(threading.Thread):
    """Looks at the memory of all descendants of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._done = threading.Event()

    @override
    def run(self) -> None:
        """Look until `end` is called."""
        while not self._done.wait(_LOOK_SECONDS):
            self.peak = max(self.peak, sum(map(proportional_bytes, descendants(os.getpid()))))

    def end(self) -> int:
        """Stop looking; the peak."""
        self._done.set()
        self.join()
        return self.peak


def descendants(root: int) -> list[int]:
    """Ids of the processes below ``root``."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with (
            suppress(OSError),
            open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat,
        ):
            children.setdefault(int(stat.read().rpartition(")")[2].split()[1]), []).append(
                int(name)
            )
    found = []
    ahead = children.get(root, [])
    while ahead:
        process = ahead.pop()
        found.append(process)
        ahead += children.get(process, [])
    return found


def proportional_bytes(process: int) -> int:
    """PSS of a process; 0 if it is gone."""
    with suppress(OSError), open(f"/proc/{process}/smaps_rollup", encoding="ascii") as rollup:
        return next((int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:")), 0)
    return 0


def main() -> None:
    """Run the command given as arguments."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    watch = PeakWatch()
    watch.start()
    started = time.perf_counter()
    process = subprocess.Popen(
        sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    output = process.stdout.read()
    cpu = 0.0
    wall = 0.0
    with suppress(ChildProcessError):
        while True:
            # What a process has waited for is part of its own usage.
            ended, status, usage = os.wait4(-1, 0)
            cpu += usage.ru_utime + usage.ru_stime
            if ended == process.pid:
                wall = time.perf_counter() - started
                process.returncode = os.waitstatus_to_exitcode(status)
    print(
        json.dumps(
            {
                "cpu": cpu,
                "wall": wall,
                "peak": watch.end(),
                "output": output,
                "code": process.returncode,
            }
        )
    )


if __name__ == "__main__":
    main()
