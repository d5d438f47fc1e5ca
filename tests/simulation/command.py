"""Run schedules on all cores, until stopped; continue later; replay one.

Look for planted bugs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.world import Result

ROOT = Path(__file__).resolve().parents[2]
WORLDS = ("jobs", "folders")
"""Kinds of schedules."""
STATE = {
    "jobs": ROOT / "out" / "simulation.json",
    "folders": ROOT / "out" / "simulation-folders.json",
}
"""Where the next run of a kind goes on."""
_CHUNK = 25
_SAY_SECONDS = 10.0


@dataclass(frozen=True)
class Chunk:
    """What came of some schedules. ``found`` are (seed, what)."""

    first: int
    schedules: int
    steps: int
    seconds: float
    """On the schedules' own clocks."""
    found: tuple[tuple[int, str], ...]
    phases: dict[str, int]


def main() -> None:
    # Else sets of names are walked in another order each time.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]])
    options = _options()
    if options.planted is not None:
        from simulation import table

        sys.exit(
            table.run(
                options.world,
                options.planted,
                options.minutes or 10.0,
                options.cores,
                write=options.write,
            )
        )
    if options.seed is not None:
        sys.exit(replay(options.seed, tuple(options.force), options.world))
    if options.until_found:
        minutes = options.minutes or 10.0
        sys.exit(hunt(options.first or 0, minutes, tuple(options.force), options.world))
    sys.exit(go_on(options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate ARGS=…", description=__doc__)
    parser.add_argument(
        "--seed", type=int, help="replay this one, and print all that happens in it"
    )
    parser.add_argument(
        "--first", type=int, help="begin with this seed, instead of going on where it was stopped"
    )
    parser.add_argument("--schedules", type=int, help="end after so many")
    parser.add_argument("--minutes", type=float, help="end after so long")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--force", action="append", default=[], help="a fault that surely happens in each schedule"
    )
    parser.add_argument(
        "--world", choices=WORLDS, default="jobs", help="what the schedules are about"
    )
    parser.add_argument(
        "--until-found", action="store_true", help="end with the first failure; one line of it"
    )
    parser.add_argument(
        "--planted", nargs="*", metavar="WORDS", help="look for planted bugs: those, or all"
    )
    parser.add_argument(
        "--write", action="store_true", help="with --planted, write the table into the docs"
    )
    return parser.parse_args()


def replay(seed: int, force: tuple[str, ...], world: str = "jobs") -> int:
    """Print a schedule's journal."""
    result = _run(seed, force, world)
    for at, who, what in result.journal:
        print(f"{at:9.3f} {who:40} {what}")
    print(
        f"seed {seed}: {result.steps} steps, {result.seconds:.0f} s, {result.phases}, digest"
        f" {result.digest}"
    )
    if result.failure is None:
        return 0
    traceback.print_exception(result.failure)
    return 1


def hunt(first: int, minutes: float, force: tuple[str, ...], world: str = "jobs") -> int:
    """Schedules, seconds of a core, seed and what was found, with tabs between.

    The latter two empty for nothing.
    """
    began = time.process_time()
    until = began + minutes * 60
    for seed in itertools.count(first):
        if time.process_time() > until:
            print(f"{seed - first}\t{time.process_time() - began:.1f}\t\t")
            return 0
        if (failure := _run(seed, force, world).failure) is not None:
            print(f"{seed - first + 1}\t{time.process_time() - began:.1f}\t{seed}\t{said(failure)}")
            return 0
    raise AssertionError("unreachable")


def said(failure: BaseException) -> str:
    """In one line."""
    return " ".join(f"{type(failure).__name__}: {failure}".split())[:300]


def _run(seed: int, force: tuple[str, ...] = (), world: str = "jobs") -> Result:
    if world == "folders":
        from simulation import folderworld

        return folderworld.run(seed, force)
    from simulation.world import run

    return run(seed, force)


def chunk(first: int, schedules: int, force: tuple[str, ...], world: str = "jobs") -> Chunk:
    """Run some in this process."""
    steps, seconds, found, phases = 0, 0.0, [], dict[str, int]()
    for seed in range(first, first + schedules):
        result = _run(seed, force, world)
        steps += result.steps
        seconds += result.seconds
        if result.failure is not None:
            found.append((seed, said(result.failure)))
        for phase in result.phases.values():
            phases[phase] = phases.get(phase, 0) + 1
    return Chunk(first, schedules, steps, seconds, tuple(found), phases)


def go_on(options: argparse.Namespace) -> int:
    """On all cores. Where it is stopped, the next run goes on."""
    kept = STATE[options.world]
    state = json.loads(kept.read_text()) if kept.exists() and options.first is None else {}
    first = options.first if options.first is not None else state.get("next", 0)
    progress = _Progress(first, options.world)
    chunks = _chunks(first, options.schedules)
    until = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    pool = ProcessPoolExecutor(options.cores)
    running: set[Future[Chunk]] = set()
    try:
        while True:
            while (
                len(running) < options.cores + 1
                and time.monotonic() < until
                and (wanted := next(chunks, None))
            ):
                running.add(pool.submit(chunk, *wanted, tuple(options.force), options.world))
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                progress.take(each.result())
    except KeyboardInterrupt:
        print("stopped")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        progress.say()
        if options.first is None:
            kept.parent.mkdir(exist_ok=True)
            failing = sorted({*state.get("failing", []), *(seed for seed, _ in progress.found)})
            kept.write_text(json.dumps({"next": progress.next, "failing": failing}))
    return 1 if progress.found else 0


def _chunks(first: int, schedules: int | None) -> Iterator[tuple[int, int]]:
    end = first + schedules if schedules is not None else None
    for start in itertools.count(first, _CHUNK):
        if end is not None and start >= end:
            return
        yield start, _CHUNK if end is None else min(_CHUNK, end - start)


class _Progress:
    """What has come of all schedules so far."""

    def __init__(self, first: int, world: str = "jobs") -> None:
        self.next = first
        self.replay = "" if world == "jobs" else f"--world {world} "
        self.began = self.reported = time.monotonic()
        self.schedules = self.steps = 0
        self.seconds = 0.0
        self.found: list[tuple[int, str]] = []
        self.phases: dict[str, int] = {}
        self._ahead: dict[int, int] = {}

    def take(self, done: Chunk) -> None:
        self._ahead[done.first] = done.schedules
        while (more := self._ahead.pop(self.next, None)) is not None:
            self.next += more
        self.schedules += done.schedules
        self.steps += done.steps
        self.seconds += done.seconds
        for phase, number in done.phases.items():
            self.phases[phase] = self.phases.get(phase, 0) + number
        for seed, what in done.found:
            self.found.append((seed, what))
            replay = f"make simulate ARGS='{self.replay}--seed {seed}'"
            print(f"seed {seed}: {what}\n  replay: {replay}", flush=True)
        if time.monotonic() - self.reported > _SAY_SECONDS:
            self.say()

    def say(self) -> None:
        self.reported = time.monotonic()
        took = self.reported - self.began
        rate = self.schedules / took * 60 if took else 0.0
        hours = self.seconds / 3600
        jobs = ", ".join(
            f"{phase or 'no status'} {number}" for phase, number in sorted(self.phases.items())
        )
        print(
            f"{self.schedules} schedules in {took:.0f} s, {rate:.0f} a minute; {self.steps} steps,"
            f" {hours:.1f} hours of their own time; {len(self.found)} failed; jobs: {jobs}",
            flush=True,
        )
