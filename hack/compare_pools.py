"""Measures fpj's process pool beside pebble's and the standard library's, in turns.

See docs/design/process-pool.md.

Each pool has two workers from a preloaded fork server. Measured are the supervisor's CPU time and
the wall time per task that does nothing, how long after its time limit of 1 s a task that hangs in
native code is reported, and how long after it both workers are working again. Run in an environment
of its own that has pebble:

    python -m venv /tmp/pools && /tmp/pools/bin/pip install pebble==5.2.3
    PYTHONPATH=core:worker:hack /tmp/pools/bin/python hack/compare_pools.py
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from statistics import median
from typing import Any

ROUNDS = 5
TASKS = 5_000
HANGS = 10
LIMIT = 1.0

Figures = tuple[float, float, list[float], list[float]]
"""(supervisor's CPU, wall) in microseconds per task; overshoots and recoveries in milliseconds."""


def work(task: Any, _admit: object = None) -> Any:
    """Runs in a child: hang in C with the interpreter's lock held, wait for the other worker,
    or nothing at all.
    """
    if task == "hang":
        ctypes.PyDLL(None).sleep(600)
    elif isinstance(task, Path):
        (task / str(os.getpid())).touch()
        while len(os.listdir(task)) < 2:
            time.sleep(0.0005)
    return task


def factory() -> Callable[[Any, object], Any]:
    """What fpj's pool calls once in each child."""
    return work


def fpj() -> Figures:
    """The pool of this project."""
    from fpj_worker.pool import ProcessPool  # noqa: PLC0415

    with ProcessPool(
        factory, workers=2, timeout=LIMIT, preload=("compare_pools", "fpj_worker.pool")
    ) as pool:

        def meet() -> None:
            with tempfile.TemporaryDirectory() as folder:
                run([Path(folder)] * 2)

        def run(tasks: list[Any]) -> None:
            left, done = list(tasks), 0
            while done < len(tasks):
                while left and pool.has_room:
                    pool.submit(left.pop())
                done += len(pool.poll(5))

        meet()
        cpu, wall = timed(lambda: run(list(range(TASKS))))
        return cpu, wall, *hangs(lambda: run(["hang"]), meet)


def pebble() -> Figures:
    """Pebble's ProcessPool."""
    from pebble import ProcessPool  # noqa: PLC0415

    with ProcessPool(max_workers=2, context=context("pebble")) as pool:

        def meet() -> None:
            with tempfile.TemporaryDirectory() as folder:
                for future in [pool.schedule(work, args=(Path(folder),)) for _ in range(2)]:
                    future.result()

        meet()
        cpu, wall = timed(
            lambda: four_at_a_time(lambda task: pool.schedule(work, args=(task,), timeout=LIMIT))
        )
        return (
            cpu,
            wall,
            *hangs(lambda: pool.schedule(work, args=("hang",), timeout=LIMIT).exception(), meet),
        )


def futures() -> Figures:
    """The standard library's ProcessPoolExecutor, which has no time limit to measure."""
    with ProcessPoolExecutor(2, mp_context=context()) as pool:
        list(pool.map(work, range(4)))
        return *timed(lambda: four_at_a_time(lambda task: pool.submit(work, task))), [], []


def context(*preload: str) -> Any:
    """The fork server, with what children need already imported."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["compare_pools", *preload])
    return made


def four_at_a_time(submit: Callable[[int], Future[Any]]) -> None:
    """As many tasks in flight as fpj's pool takes."""
    left, live = TASKS, set[Future[Any]]()
    while left or live:
        while left and len(live) < 4:
            live.add(submit(left))
            left -= 1
        live = set(wait(live, return_when=FIRST_COMPLETED)[1])


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """(CPU time of this process, wall time) in microseconds per task."""
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    return (time.process_time() - cpu) / TASKS * 1e6, (time.perf_counter() - wall) / TASKS * 1e6


def hangs(
    hang: Callable[[], object], meet: Callable[[], object]
) -> tuple[list[float], list[float]]:
    """Milliseconds after the limit until the hanging task is reported,
    and until two workers have met again.
    """
    reported, recovered = [], []
    for _ in range(HANGS):
        due = time.perf_counter() + LIMIT
        hang()
        reported.append((time.perf_counter() - due) * 1000)
        meet()
        recovered.append((time.perf_counter() - due) * 1000)
    return reported, recovered


def main() -> None:
    """Run the rounds, each pool in a fresh process, and print a table."""
    names = ("fpj", "pebble", "futures")
    seen: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name in names:
            ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
            process = multiprocessing.get_context("spawn").Process(target=send, args=(name, theirs))
            process.start()
            seen[name].append(ours.recv())
            process.join()
    sys.stdout.write(
        "pool      CPU us/task  wall us/task  reported ms (max)  two workers again ms (max)" + "\n"
    )
    for name, rounds in seen.items():
        cpu, wall = (
            median(figures[0] for figures in rounds),
            median(figures[1] for figures in rounds),
        )
        late = [value for figures in rounds for value in figures[2]]
        again = [value for figures in rounds for value in figures[3]]
        limits = (
            f"{median(late):11.0f} ({max(late):.0f}) {median(again):19.0f} ({max(again):.0f})"
            if late
            else ""
        )
        sys.stdout.write(f"{name:8} {cpu:12.0f} {wall:13.0f} {limits}\n")


def send(name: str, pipe: Any) -> None:
    """Measure one pool and hand the figures over."""
    import compare_pools  # noqa: PLC0415 - children of the pools find its functions under this name

    pipe.send(getattr(compare_pools, name)())


if __name__ == "__main__":
    main()
