"""The pool against real children that hang, crash and eat memory.

Waits are bounds, not measurements.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override
from unit.pool.handlers import Elsewhere, factory, failing_factory

from fpj_core.errors import ErrorType
from fpj_core.scratch import LOCK, Scratch, sweep
from fpj_worker.pool import Outcome, PoolError, ProcessPool

Pool = ProcessPool[tuple[str, Any], Any]


@pytest.fixture
def pool() -> Iterator[Pool]:
    with ProcessPool(factory, workers=2, timeout=30.0) as made:
        yield made


def run_all(
    pool: Pool, tasks: list[tuple[str, Any]], seconds: float = 60
) -> list[Outcome[tuple[str, Any], Any]]:
    outcomes: list[Outcome[tuple[str, Any], Any]] = []
    queue = list(tasks)
    deadline = time.monotonic() + seconds
    while len(outcomes) < len(tasks):
        assert time.monotonic() < deadline, f"{len(outcomes)} of {len(tasks)} finished"
        while queue and pool.has_room:
            pool.submit(queue.pop(0))
        outcomes += pool.poll(0.5)
    assert pool.in_flight == 0
    return outcomes


def run_to_end(pool: Pool) -> list[Outcome[tuple[str, Any], Any]]:
    outcomes: list[Outcome[tuple[str, Any], Any]] = []
    collect(pool, outcomes)
    return outcomes + pool.poll(0)


def collect(pool: Pool, outcomes: list[Outcome[tuple[str, Any], Any]]) -> None:
    """Add what finishes, until all has."""
    while pool.in_flight:
        outcomes += pool.poll(5)


def results(outcomes: list[Outcome[tuple[str, Any], Any]]) -> list[Any]:
    """Those of the tasks that came to one."""
    return [outcome.result for outcome in outcomes if not outcome.error]


def only(outcomes: list[Outcome[tuple[str, Any], Any]]) -> Outcome[tuple[str, Any], Any]:
    (outcome,) = outcomes
    return outcome


def test_no_task_gets_the_answer_of_another() -> None:
    """Of a child whose answers are one behind, none counts from then on."""
    with ProcessPool(factory, workers=1, timeout=30.0) as pool:
        first, second, *others = run_all(
            pool, [("answer_twice", 0), ("echo", "mine"), ("echo", "also mine")]
        )
    assert first.error is not None and first.error.message == "the first answer"
    assert second.result is None and second.error is not None
    assert second.error.error_type is ErrorType.WORKER_CRASHED
    assert [each.result for each in others] == ["also mine"]


def test_results_come_back(pool: Pool) -> None:
    outcomes = run_all(pool, [("echo", n) for n in range(200)])
    assert sorted(results(outcomes)) == list(range(200))
    assert all(o.error is None and o.task == ("echo", o.result) for o in outcomes)


def test_there_is_room_for_two_tasks_a_worker(pool: Pool) -> None:
    for _ in range(4):
        pool.submit(("sleep", 0.01))
    assert not pool.has_room
    with pytest.raises(RuntimeError):
        pool.submit(("echo", 1))


@pytest.mark.parametrize(
    ("task", "error_type", "words"),
    [
        (("segfault", None), ErrorType.WORKER_CRASHED, "SIGSEGV"),
        (("abort", ""), ErrorType.WORKER_CRASHED, "SIGABRT"),
        (("abort", "libfoo: assertion x failed"), ErrorType.WORKER_CRASHED, "assertion x failed"),
        (
            ("abort", "terminate called after throwing 'std::bad_alloc'"),
            ErrorType.OUT_OF_MEMORY,
            "bad_alloc",
        ),
        (
            ("trap", "GLib-ERROR: failed to allocate 99 bytes"),
            ErrorType.OUT_OF_MEMORY,
            "failed to allocate",
        ),
        (("trap", ""), ErrorType.WORKER_CRASHED, "SIGTRAP"),
        (("exit", 3), ErrorType.WORKER_CRASHED, "exit code 3"),
        (("kill", None), ErrorType.OUT_OF_MEMORY, "killed by the system"),
        (("refuse", None), ErrorType.TOO_LARGE, "too large"),
        (("fail", None), ErrorType.INTERNAL, "KeyError: 'a bug'"),
        (("unpicklable", None), ErrorType.INTERNAL, "cannot be sent"),
    ],
)
def test_every_way_to_fail_costs_one_task(
    pool: Pool, task: tuple[str, Any], error_type: ErrorType, words: str
) -> None:
    outcomes = run_all(pool, [("echo", 1), task, ("echo", 2), ("echo", 3)])
    failed = only([o for o in outcomes if o.error])
    assert failed.task == task
    assert failed.error
    assert failed.error.error_type is error_type
    assert words in failed.error.message
    assert sorted(results(outcomes)) == [1, 2, 3]


def test_a_decoder_that_hangs_is_killed() -> None:
    with ProcessPool(factory, workers=1, timeout=0.5) as pool:
        outcomes = run_all(pool, [("hang_in_c", None), ("echo", 1), ("echo", 2)])
    hung = outcomes[0]
    assert hung.error
    assert hung.error.error_type is ErrorType.DECODE_TIMEOUT
    assert "0.5 s" in hung.error.message
    assert [o.result for o in outcomes[1:]] == [1, 2], "only the task that ran was charged"


def test_waiting_behind_another_task_is_not_counted() -> None:
    with ProcessPool(factory, workers=1, timeout=1.0) as pool:
        outcomes = run_all(pool, [("sleep", 0.7)] * 4)
    assert all(o.error is None for o in outcomes)


def test_waiting_for_bytes_is_not_counted_as_work() -> None:
    with ProcessPool(factory, workers=1, timeout=0.5, away_timeout=60) as pool:
        outcomes = run_all(pool, [("fetch", (0.7, 0.1)), ("store", 0.7)])
    assert [o.error for o in outcomes] == [None, None]


@pytest.mark.parametrize(
    ("task", "error_type"),
    [
        (("fetch", (60, 0)), ErrorType.FETCH_TIMEOUT),
        (("fetch_in_turns", 0.01), ErrorType.FETCH_TIMEOUT),
        (("lie_about_the_time", (1e-9, float("nan"))), ErrorType.DECODE_TIMEOUT),
        (("lie_about_the_time", (1e-9, 0.0)), ErrorType.FETCH_TIMEOUT),
        (("lie_about_the_time", (float("nan"), 1e300)), ErrorType.DECODE_TIMEOUT),
        (("store", 60), ErrorType.WRITE_FAILED),
        (("fetch", (0, 60)), ErrorType.DECODE_TIMEOUT),
    ],
)
def test_waiting_for_bytes_has_a_limit_of_its_own(
    task: tuple[str, Any], error_type: ErrorType
) -> None:
    timeout = 0.3 if error_type is ErrorType.DECODE_TIMEOUT else 60
    with ProcessPool(factory, workers=1, timeout=timeout, away_timeout=0.3) as pool:
        outcomes = run_all(pool, [task, ("echo", 1)])
    assert outcomes[0].error
    assert outcomes[0].error.error_type is error_type
    assert "0.3 s" in outcomes[0].error.message
    assert outcomes[1].result == 1, "only the task that ran was charged"


def test_the_memory_limit_is_that_of_one_child() -> None:
    with ProcessPool(factory, workers=1, timeout=30, memory_limit=300 * 2**20) as pool:
        outcomes = run_all(pool, [("allocate", 2**30), ("allocate", 100 * 2**20)])
    assert outcomes[0].error
    assert outcomes[0].error.error_type is ErrorType.OUT_OF_MEMORY
    assert outcomes[1].result == 100 * 2**20


def test_a_child_killed_from_outside_is_replaced(pool: Pool) -> None:
    (victim,) = results(run_all(pool, [("pid", None)]))
    os.kill(victim, signal.SIGKILL)
    assert len(run_all(pool, [("echo", n) for n in range(20)])) == 20


def test_interrupts_from_the_terminal_do_not_reach_children(pool: Pool) -> None:
    pids = set(results(run_all(pool, [("pid", None)] * 8)))
    for pid in pids:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert {o.result for o in run_all(pool, [("pid", None)] * 8)} == pids


def test_nothing_is_lost_in_a_storm() -> None:
    """Random tasks, many of them fatal: each has exactly one outcome."""
    chance = random.Random(5)
    fatal = [("exit", 1), ("kill", None), ("segfault", None), ("hang_in_c", None)]
    tasks = [chance.choice(fatal) if chance.random() < 0.15 else ("echo", n) for n in range(150)]
    with ProcessPool(factory, workers=3, timeout=0.4) as pool:
        outcomes = run_all(pool, tasks, 100)
    assert sorted(map(repr, (o.task for o in outcomes))) == sorted(map(repr, tasks))
    assert all((o.error is None) == (o.task[0] == "echo") for o in outcomes)


def test_heavy_tasks_keep_within_the_budget(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with ProcessPool(factory, workers=4, timeout=30, heavy_budget=100) as pool:
        outcomes = run_all(
            pool, [("heavy", (weight, str(log))) for weight in (60, 50, 30, 100, 10, 90, 40, 60)]
        )
        assert all(o.error is None for o in outcomes)
        held = highest = 0
        for line in log.read_text().split():
            held += int(line)
            highest = max(highest, held)
        assert highest <= 100
        assert pool._heavy_used == 0
        too_much = only(run_all(pool, [("heavy", (101, str(log)))]))
    assert too_much.error
    assert too_much.error.error_type is ErrorType.OUT_OF_MEMORY


def test_what_one_child_may_hold_runs_alone(tmp_path: Path) -> None:
    """An image that takes more than all heavy ones together may, and less than one child may:
    not beside others.
    """
    log = tmp_path / "log"
    limit = 512 * 2**20
    with ProcessPool(factory, workers=3, timeout=30, heavy_budget=100, memory_limit=limit) as pool:
        outcomes = run_all(
            pool, [("heavy", (weight, str(log))) for weight in (limit, 10, limit, 20, limit + 1)]
        )
    held: list[int] = []
    for line in log.read_text().split():
        held.append((held[-1] if held else 0) + int(line))
    assert {each for each in held if each > 100} == {limit}
    assert [o.task[1][0] for o in outcomes if o.error] == [limit + 1]


def test_a_crash_gives_its_weight_back(tmp_path: Path) -> None:
    with ProcessPool(factory, workers=2, timeout=30, heavy_budget=100) as pool:
        tasks: list[tuple[str, Any]] = [("heavy_crash", 100)] * 3 + [
            ("heavy", (100, str(tmp_path / "log")))
        ]
        outcomes = run_all(pool, tasks)
    assert [o.error is None for o in outcomes].count(True) == 1


def test_waiting_for_admission_does_not_count_as_work(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with ProcessPool(factory, workers=6, timeout=0.25, heavy_budget=10) as pool:
        outcomes = run_all(pool, [("heavy", (10, log))] * 12)
    assert all(o.error is None for o in outcomes), [o.error for o in outcomes]


def test_children_that_cannot_start_are_given_up() -> None:
    with (
        pytest.raises(PoolError, match="no decoder here"),
        ProcessPool(failing_factory, workers=2, timeout=30) as pool,
    ):
        run_all(pool, [("echo", 1)])


def test_a_factory_that_cannot_be_imported_says_why() -> None:
    with (
        pytest.raises(PoolError, match=r"libsomething\.so\.42"),
        ProcessPool(Elsewhere(), workers=1, timeout=30) as pool,
    ):
        run_all(pool, [("echo", 1)])


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("unit.pool.unimportable", "cannot be started: OSError: libsomething.so.42"),
        ("unit.pool.missing", "started"),
    ],
)
def test_shared_modules_that_cannot_be_imported_say_why(module: str, said: str) -> None:
    """One that only children can find is left to them."""
    tests = str(Path(__file__).parents[2])
    supervisor = subprocess.run(
        [sys.executable, "-m", "unit.pool.preloading", module],
        cwd=tests,
        env=os.environ | {"PYTHONPATH": tests},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said in supervisor.stdout, supervisor.stderr


def test_a_time_out_is_reported_before_anything_else_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ProcessPool(factory, workers=1, timeout=0.3) as pool:
        waiting: list[int] = []
        select = pool._selector.select

        def noted(timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
            waiting.append(len(pool._outcomes))
            return select(timeout)

        monkeypatch.setattr(pool._selector, "select", noted)
        pool.submit(("hang_in_c", None))
        outcome = only(pool.poll(30))
    assert outcome.error
    assert outcome.error.error_type is ErrorType.DECODE_TIMEOUT
    assert set(waiting) == {0}


def test_a_busy_supervisor_does_not_make_its_children_late() -> None:
    with ProcessPool(factory, workers=1, timeout=0.5) as pool:
        run_all(pool, [("echo", 0)])
        for number in (1, 2):
            pool.submit(("echo", number))
        time.sleep(1)
        outcomes = run_to_end(pool)
    assert [o.result for o in outcomes] == [1, 2]


def test_children_have_the_allocator_settings_and_the_supervisor_does_not(pool: Pool) -> None:
    settings = only(run_all(pool, [("environment", "MALLOC_")])).result
    assert settings == {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_TRIM_THRESHOLD_": "67108864",
        "MALLOC_MMAP_THRESHOLD_": "16777216",
    }
    assert not any(name.startswith(("MALLOC_", "FPJ_POOL_")) for name in os.environ)


def test_stopping_gracefully_returns_what_was_not_begun() -> None:
    pool: Pool = ProcessPool(factory, workers=2, timeout=30)
    run_all(pool, [("echo", 0)] * 8)
    tasks = [("sleep", 0.3), ("sleep", 0.31), ("sleep", 0.32), ("sleep", 0.33)]
    for task in tasks:
        pool.submit(task)
    time.sleep(0.1)  # or they have not started even the first ones
    returned = pool.stop(grace=10)
    finished = pool.poll(0)
    assert len(finished) == 2
    assert sorted([o.task for o in finished] + returned) == tasks
    assert pool.stop(1) == []
    assert not pool.has_room


def test_a_stopping_pool_begins_nothing_that_waits_in_a_child(tmp_path: Path) -> None:
    pool: Pool = ProcessPool(factory, workers=2, timeout=30)
    run_all(pool, [("echo", 0)] * 8)
    touched = tmp_path / "started"
    for task in [("sleep", 0.2), ("sleep", 0.6), ("touch", touched), ("touch", touched)]:
        pool.submit(task)
    time.sleep(0.1)
    assert pool.stop(grace=10) == [("touch", touched)] * 2
    assert not touched.exists(), "the first child had time for it while the second worked"
    assert len(pool.poll(0)) == 2


def test_stopping_without_grace_returns_everything() -> None:
    pool: Pool = ProcessPool(factory, workers=2, timeout=30)
    run_all(pool, [("echo", 0)] * 8)
    for _ in range(3):
        pool.submit(("sleep", 60))
    assert len(pool.stop(0)) == 3


def test_children_end_with_a_killed_supervisor() -> None:
    """Also the one that hangs in C with the interpreter's lock held."""
    tests = Path(__file__).parents[2]
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "unit.pool.supervisor"], cwd=tests, stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout
    pids = [int(pid) for pid in supervisor.stdout.readline().split()]
    assert len(pids) == 2
    assert all(alive(pid) for pid in pids)
    supervisor.kill()
    supervisor.wait(10)
    supervisor.stdout.close()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "children outlive their supervisor"
        time.sleep(0.05)


class Undying:
    """A child in a call that no signal ends, as a read from a network volume that went away."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.pid = real.pid
        self.exitcode = None
        self.healed = False

    @override
    def __hash__(self) -> int:
        return hash(self.real)

    @override
    def __eq__(self, other: object) -> bool:
        return other is self or other is self.real

    def kill(self) -> None: ...

    def join(self, _timeout: float) -> None: ...

    def is_alive(self) -> bool:
        return not self.healed


@pytest.fixture
def undying(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Undying]]:
    """Every child that is started from now on."""
    made: list[Undying] = []
    start = ProcessPool._start_child

    def start_undying(pool: Pool) -> None:
        start(pool)
        made.append(Undying(pool._children[-1].process))
        pool._children[-1].process = made[-1]  # type: ignore[assignment]

    monkeypatch.setattr(ProcessPool, "_start_child", start_undying)
    yield made
    for each in made:
        each.real.kill()
        each.real.join(10)


def test_children_that_cannot_be_killed_are_not_replaced_without_bound(
    undying: list[Undying],
) -> None:
    pool: Pool = ProcessPool(factory, workers=2, timeout=0.3)
    for number in range(4):
        pool.submit(("hang_in_c", number))
    finished: list[Outcome[tuple[str, Any], Any]] = []
    with pytest.raises(PoolError, match="2 worker processes cannot be killed"):
        collect(pool, finished)
    assert len(undying) == 3, "one was replaced"
    returned = pool.stop(grace=10)
    finished += pool.poll(0)
    assert sorted([o.task for o in finished] + returned) == [
        ("hang_in_c", number) for number in range(4)
    ]
    assert {o.error.error_type for o in finished if o.error} == {ErrorType.DECODE_TIMEOUT}
    assert len(undying) == 3
    assert not {each.real for each in undying} & set(multiprocessing.active_children()), (
        "this process's end waits"
    )


def test_children_that_end_at_last_no_longer_count(undying: list[Undying]) -> None:
    with ProcessPool(factory, workers=1, timeout=0.3) as pool:
        for _ in range(2):
            undying[-1].healed = True
            pool.submit(("hang_in_c", None))
            assert only(pool.poll(30)).error
    assert len(undying) == 3


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


# Temporary folders --------------------------------------------------------------------------------


def test_what_a_killed_run_left_is_swept_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stray in ("fpj-pool-unlocked", "pymp-elsewhere", "others"):
        (tmp_path / stray).mkdir()
    (tmp_path / "others" / LOCK).touch()
    (tmp_path / "fpj-pool-link").symlink_to("others")
    strays = set(os.listdir(tmp_path))
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "unit.pool.supervisor"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    with supervisor:
        assert supervisor.stdout and supervisor.stdout.readline()
        made = set(os.listdir(tmp_path)) - strays
        assert {name.partition("-")[0] for name in made} == {"fpj", "pymp"}
        sweep(str(tmp_path))
        assert set(os.listdir(tmp_path)) == strays | made, "its owner lives"
        supervisor.kill()
    assert set(os.listdir(tmp_path)) == strays | made
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ProcessPool(factory, workers=1, timeout=5).stop(0)
    assert set(os.listdir(tmp_path)) == strays, "without a lock nothing says that the owner is dead"


def test_a_scratch_folder_is_locked_before_it_can_be_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scratch = Scratch("fpj-pool-")
    monkeypatch.setattr("os.getuid", lambda: os.geteuid() + 1)
    (Path(scratch.name) / LOCK).rename(tmp_path / "kept")
    (Path(scratch.name) / LOCK).touch()
    sweep(str(tmp_path))
    assert os.path.isdir(scratch.name), "another user's"
    monkeypatch.undo()
    sweep(str(tmp_path))
    assert not os.path.isdir(scratch.name)
    scratch.cleanup()
