"""Runs commands for the benchmarks and says what each cost.

A process of its own, and a small one: the kernel counts what a process held before it became
another program towards its peak, and the benchmarks themselves hold photographs.

Requests are lines of JSON on standard input, each a list of commands; answers are lines on standard
output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def cost(command: list[str]) -> tuple[float, int]:
    """(CPU seconds, peak bytes) of a command that must succeed."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main() -> None:
    """Serve until standard input ends."""
    for line in sys.stdin:
        started = time.perf_counter()
        costs = [cost(command) for command in json.loads(line)]
        answer = {
            "cpu": sum(cpu for cpu, _ in costs),
            "wall": time.perf_counter() - started,
            "peak": max(peak for _, peak in costs),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
