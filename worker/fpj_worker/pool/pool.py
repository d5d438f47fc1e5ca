"""A pool of child processes for work that may hang, crash or eat memory.

Every child has its own pipe and up to two tasks, so that it never idles while the supervisor is
busy. Only the task at the head of a child is running, so only that one is charged when the child is
killed or dies; the other goes to another child. See docs/design/process-pool.md for why this is not
one of the existing pools.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import selectors
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.process import current_process
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from fpj_core.errors import ErrorType, ImageError, PoolError
from fpj_core.scratch import Scratch, hold, sweep
from fpj_worker.pool.child import child_main
from fpj_worker.pool.classify import classify_death
from fpj_worker.pool.protocol import (
    ADMIT,
    DONE,
    GRANT,
    PRELOAD_VARIABLE,
    READY,
    TASK,
    UNBEGUN,
    Admit,
    ChildSettings,
)
from fpj_worker.pool.replies import GarbledError, Replies
from fpj_worker.pool.sandbox import Reach, clean_environment, hide
from fpj_worker.pool.stopwatch import Away, Stopwatch

T = TypeVar("T")
R = TypeVar("R")

_PRELOADER = "fpj_worker.pool.preload"
_TASKS_PER_CHILD = 2
_START_SECONDS = 60.0
_MOST_START_FAILURES = 3
_STDERR_TAIL = 4_096
_KILL_SECONDS = 5.0
_LOOK_SECONDS = 0.05
"""Between two looks at the stopwatch of a child, at least."""

_CHILD_ENVIRONMENT = {
    # One arena: 68 MB stay 68 MB; with more, memory grows (docs/benchmarks.md).
    "MALLOC_ARENA_MAX": "1",
    # Pixel buffers of usual images are reused from the heap, not faulted in again; what a heavy one
    # took goes back.
    "MALLOC_TRIM_THRESHOLD_": "67108864",
    "MALLOC_MMAP_THRESHOLD_": "16777216",
    "VIPS_CONCURRENCY": "1",
    "OMP_NUM_THREADS": "1",
}


_DESCRIPTORS = "/proc/self/fd"
_LONGEST_FOLDER = 107 - len("/listener-12345678")
"""In bytes, of a folder for sockets: their paths may have 107 (unix(7))."""


@cache
def _hold_temporary_folder() -> int | None:
    """Lock the folder that Python's multiprocessing has its sockets in,
    for the life of this process.

    One whose path is too long for sockets is given to multiprocessing by way of a descriptor that
    stays open.
    """
    folder = util.get_temp_dir()
    if len(os.fsencode(folder)) > _LONGEST_FOLDER and os.path.isdir(_DESCRIPTORS):
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        getattr(current_process(), "_config")["tempdir"] = f"{_DESCRIPTORS}/{descriptor}"  # noqa: B009 - not in the stubs
    return hold(folder)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T, R]):
    """What became of a task: a result or an error.

    ``elapsed`` is wall time in the child, in seconds.
    """

    task: T
    result: R | None
    error: ImageError | None
    elapsed: float


@dataclass(slots=True, eq=False)
class _Child(Generic[T]):
    process: ForkServerProcess
    pipe: Connection
    stderr_path: Path
    stopwatch: Stopwatch
    started: float
    tasks: deque[T] = field(default_factory=deque)
    answered: int = 0
    """Tasks that came before the head, whose number this is."""
    ready: bool = False
    head_since: float = 0.0
    """When the task at the head began, or 0 while its clock stands still."""
    head_used: float = 0.0
    """Seconds of the head before `head_since`, those that it was away included."""
    look_at: float = 0.0
    """The moment from which the head may have taken too long: the stopwatch tells."""
    waits_for: int = 0
    holds: int = 0

    @property
    def deadline(self) -> float:
        """The moment (monotonic) from which this child may have to be killed."""
        if not self.ready:
            return self.started + _START_SECONDS
        return self.look_at if self.tasks and self.head_since else float("inf")

    def used(self, now: float) -> float:
        """Seconds that the head has taken so far."""
        return self.head_used + (now - self.head_since if self.head_since else 0.0)

    def stop_clock(self) -> None:
        """The head waits for what others hold."""
        self.head_used = self.used(time.monotonic())
        self.head_since = 0.0


class ProcessPool(Generic[T, R]):
    """Runs tasks in ``workers`` child processes.

    ``factory`` is pickled, and called once in each child for the function that handles tasks.
    ``timeout`` is in seconds of work per task, ``away_timeout`` in seconds that it may be `away`
    beside, ``memory_limit`` in bytes of address space a child may add, ``heavy_budget`` in bytes
    that the tasks which ask for admission may hold together. ``preload`` names modules that
    children share from the start. ``results`` are the types that results are made of, beside
    Python's own: no others are accepted from a child. ``reach`` confines children to what it names;
    None leaves them what this process may do. ``on_confined`` is called once with what the kernel
    does not enforce, and why.

    Not for use from several threads.
    """

    def __init__(
        self,
        factory: Callable[[], Callable[[T, Admit], R]],
        *,
        workers: int,
        timeout: float,
        away_timeout: float = float("inf"),
        memory_limit: int | None = None,
        heavy_budget: int | None = None,
        preload: Sequence[str] = (),
        results: Sequence[type] = (),
        reach: Reach | None = None,
        on_confined: Callable[[Mapping[str, str]], None] = lambda _lacking: None,
    ) -> None:
        self._factory = pickle.dumps(factory)
        self._workers = workers
        self._timeout = timeout
        self._away_timeout = away_timeout
        self._memory_limit = memory_limit
        self._heavy_budget = heavy_budget
        self._context = multiprocessing.get_context("forkserver")
        self._preload = " ".join(preload)
        self._replies = Replies(results)
        self._context.set_forkserver_preload([_PRELOADER])
        self._selector = selectors.DefaultSelector()
        sweep()
        _hold_temporary_folder()
        self._scratch = Scratch("fpj-pool-")
        self._reach = reach and replace(reach, scratch=self._made_folder("tmp"))
        self._on_confined: Callable[[Mapping[str, str]], None] | None = (
            on_confined if reach else None
        )
        self._children: list[_Child[T]] = []
        self._pending: deque[T] = deque()
        self._outcomes: list[Outcome[T, R]] = []
        self._unbegun: list[T] = []
        self._told_to_stop, self._tell_to_stop = self._context.Pipe(duplex=False)
        self._admission: deque[_Child[T]] = deque()
        self._heavy_used = 0
        self._born = 0
        self._start_failures = 0
        self._unkillable: list[ForkServerProcess] = []
        self._stopping = self._stopped = False
        if reach is not None:
            hide()
        for _ in range(workers):
            self._start_child()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(0)

    @property
    def in_flight(self) -> int:
        """Tasks submitted whose outcome has not been collected by the pool."""
        return len(self._pending) + sum(len(child.tasks) for child in self._children)

    @property
    def has_room(self) -> bool:
        """Whether `submit` would be accepted: at most two tasks per worker are in flight."""
        return not self._stopped and self.in_flight < self._workers * _TASKS_PER_CHILD

    def submit(self, task: T) -> None:
        """Take a task. Raises RuntimeError when there is no room."""
        if not self.has_room:
            raise RuntimeError("the pool has no room")
        self._pending.append(task)
        self._assign()

    def poll(self, timeout: float) -> list[Outcome[T, R]]:
        """Finished tasks; waits up to ``timeout`` seconds for the first. Raises `PoolError`."""
        end = time.monotonic() + timeout
        while not self._outcomes and not self._stopped:
            self._wait(end)
            if time.monotonic() >= end:
                break
        finished, self._outcomes = self._outcomes, []
        return finished

    def stop(self, grace: float) -> list[T]:
        """End every child.

        Running tasks get ``grace`` seconds; tasks not finished by then are returned.

        A last `poll` gives the outcomes of those that finished. Stopping again does nothing.
        """
        if self._stopped:
            return []
        self._tell_to_stop.close()
        for child in self._children:
            if not child.ready:
                self._pending.extend(child.tasks)
                child.tasks.clear()
        returned = list(self._pending)
        self._pending.clear()
        self._stopping = True
        end = time.monotonic() + grace
        while self.in_flight and time.monotonic() < end:
            self._wait(end)
        returned += self._unbegun
        for child in self._children:
            if child.process.pid:
                child.process.kill()  # all, before the first is waited for
        end = time.monotonic() + _KILL_SECONDS
        for child in self._children:
            returned += child.tasks
            self._end(child, patience=max(end - time.monotonic(), 0.1))
        self._children.clear()
        self._stopped = True
        self._told_to_stop.close()
        self._selector.close()
        self._scratch.cleanup()
        return returned

    def _wait(self, end: float) -> None:
        """Wait, at most until ``end``, for something to happen to a child, and deal with it."""
        if self._kill_overdue():
            return
        nearest = min((child.deadline for child in self._children), default=end)
        for key, _ in self._selector.select(max(min(end, nearest) - time.monotonic(), 0.0)):
            self._receive(key.data)

    # Tasks ----------------------------------------------------------------------------------------

    def _assign(self) -> None:
        while self._pending:
            child = min(self._children, key=lambda each: (len(each.tasks), not each.ready))
            if len(child.tasks) >= _TASKS_PER_CHILD:
                return
            task = self._pending.popleft()
            child.tasks.append(task)
            if len(child.tasks) == 1:
                self._start_clock(child)
            try:
                child.pipe.send((TASK, (child.answered + len(child.tasks) - 1, task)))
            except OSError:
                return  # it died; its end of file is read next, and its tasks go to another

    def _receive(self, child: _Child[T]) -> None:
        try:
            kind, content, elapsed, number = self._replies.read(child.pipe)
            if child.ready is (kind == READY) or (
                child.ready and (not child.tasks or number != child.answered)
            ):
                raise GarbledError("not asked for")
        except GarbledError as error:
            self._bury(
                child,
                ImageError(ErrorType.WORKER_CRASHED, f"the decoder answered nonsense ({error})"),
            )
            return
        except (EOFError, OSError):
            self._bury(child)
            return
        if kind == READY:
            child.ready = True
            if self._on_confined is not None:
                self._on_confined(content)
                self._on_confined = None
            self._start_failures = 0
            self._start_clock(child)
        elif kind == ADMIT:
            child.stop_clock()
            child.waits_for = content
            self._admission.append(child)
            self._grant()
        else:
            self._settle(child, kind, content, elapsed)

    def _settle(self, child: _Child[T], kind: str, content: Any, elapsed: float) -> None:
        self._give_back(child)
        task = child.tasks.popleft()
        child.answered += 1
        self._start_clock(child)
        if kind == DONE:
            self._outcomes.append(Outcome(task, content, None, elapsed))
        elif kind == UNBEGUN:
            self._unbegun.append(task)
        else:
            self._outcomes.append(Outcome(task, None, ImageError(*content), elapsed))
        self._assign()

    def _start_clock(self, child: _Child[T]) -> None:
        child.head_used = 0.0
        child.head_since = time.monotonic() if child.ready else 0.0
        child.look_at = child.head_since + min(self._timeout, self._away_timeout)

    # Heavy tasks ----------------------------------------------------------------------------------

    def _grant(self) -> None:
        """First come, first served: a large one is not overtaken forever by small ones."""
        budget = self._heavy_budget or 0
        while self._admission and self._heavy_used + self._admission[0].waits_for <= budget:
            child = self._admission.popleft()
            child.holds += child.waits_for
            self._heavy_used += child.waits_for
            child.waits_for = 0
            child.head_since = child.look_at = time.monotonic()
            try:
                child.pipe.send((GRANT, None))
            except OSError:
                continue  # it died; burying it gives the grant back

    def _give_back(self, child: _Child[T]) -> None:
        if child.waits_for:
            child.waits_for = 0
            self._admission.remove(child)
        if child.holds:
            self._heavy_used -= child.holds
            child.holds = 0
            self._grant()

    # Children -------------------------------------------------------------------------------------

    def _made_folder(self, name: str) -> str:
        path = Path(self._scratch.name, name)
        path.mkdir()
        return str(path)

    def _start_child(self) -> None:
        self._born += 1
        stderr_path = Path(self._scratch.name, f"stderr-{self._born}")
        stopwatch = Stopwatch()
        settings = ChildSettings(
            self._factory,
            self._memory_limit,
            self._heavy_budget,
            str(stderr_path),
            self._told_to_stop,
            stopwatch,
            self._reach,
        )
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=child_main, args=(theirs, settings), daemon=True)
        try:
            with _environment({PRELOAD_VARIABLE: self._preload}):
                process.start()
        except (EOFError, OSError) as error:
            ours.close()
            stopwatch.close()
            raise PoolError(f"worker processes cannot be started: {error}") from error
        finally:
            theirs.close()
        child: _Child[T] = _Child(process, ours, stderr_path, stopwatch, time.monotonic())
        self._children.append(child)
        self._selector.register(ours, selectors.EVENT_READ, child)

    def _kill_overdue(self) -> bool:
        """Whether any child was late.

        If its answer waits to be read, that was the supervisor's fault: it is read.
        """
        now = time.monotonic()
        late = False
        for child in [each for each in self._children if each.deadline <= now]:
            if child.pipe.poll():
                self._receive(child)
            elif not child.ready:
                self._bury(child)
            elif (error := self._overdue(child, now)) is not None:
                self._bury(child, error)
            else:
                continue
            late = True
        return late

    def _overdue(self, child: _Child[T], now: float) -> ImageError | None:
        """What to charge the head with, if it has taken too long; else it learns when to look
        again.
        """
        used = child.used(now)
        away, what = child.stopwatch.read(now)
        away = min(away, used, self._away_timeout)  # a child that lies gains no more than that
        if what is Away.FETCHING and away >= self._away_timeout:
            message = f"its bytes took longer than {self._away_timeout:g} s to come"
            return ImageError(ErrorType.FETCH_TIMEOUT, message, environment=True)
        if what is Away.STORING and away >= self._away_timeout:
            message = f"its files took longer than {self._away_timeout:g} s to go"
            return ImageError(ErrorType.WRITE_FAILED, message, environment=True)
        left = self._timeout - (used - away)
        if left <= 0:
            return ImageError(ErrorType.DECODE_TIMEOUT, f"took longer than {self._timeout:g} s")
        if away < self._away_timeout:
            left = min(left, self._away_timeout - away)
        child.look_at = now + max(left, _LOOK_SECONDS)
        return None

    def _bury(self, child: _Child[T], error: ImageError | None = None) -> None:
        """End a dead or condemned child, charge the task it was running,
        and start another in its place.

        Not while the pool stops; and not where as many as there are workers cannot be killed:
        raises `PoolError`.
        """
        self._give_back(child)
        self._children.remove(child)
        self._end(child, kill=error is not None or not child.ready)
        stderr = _tail(child.stderr_path)
        if child.ready and child.tasks:
            used = child.used(time.monotonic())
            cause = error or classify_death(child.process.exitcode, stderr)
            self._outcomes.append(Outcome(child.tasks.popleft(), None, cause, used))
        elif not child.ready and not self._stopping:
            self._count_start_failure(stderr)
        child.stderr_path.unlink(missing_ok=True)
        if self._stopping:
            self._unbegun += child.tasks
            return
        self._pending.extendleft(reversed(child.tasks))
        self._refuse_unkillable()
        self._start_child()
        self._assign()

    def _refuse_unkillable(self) -> None:
        """Each holds its memory and waits for storage, and so would the next."""
        self._unkillable = [process for process in self._unkillable if process.is_alive()]
        if len(self._unkillable) >= self._workers:
            number = len(self._unkillable)
            raise PoolError(
                f"{number} worker processes cannot be killed: storage that they wait for does not"
                " answer"
            )

    def _count_start_failure(self, stderr: str) -> None:
        self._start_failures += 1
        if self._start_failures >= _MOST_START_FAILURES:
            reason = stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise PoolError(f"worker processes cannot be started: {reason[0]}")

    def _end(self, child: _Child[T], *, kill: bool = True, patience: float = _KILL_SECONDS) -> None:
        self._selector.unregister(child.pipe)
        if kill and child.process.pid:
            child.process.kill()
        child.process.join(min(patience, 1.0))
        if child.process.is_alive():  # its pipe is closed but it goes on
            child.process.kill()
            child.process.join(patience)
        if child.process.is_alive():  # in a call that no signal ends
            self._unkillable.append(child.process)
            getattr(multiprocessing.process, "_children").discard(child.process)  # noqa: B009 - else our end waits for it
        child.pipe.close()
        child.stopwatch.close()


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(size - _STDERR_TAIL, 0))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


class _environment:  # noqa: N801 - used like a function
    """What the fork server, and so every child, starts with.

    That is a clean environment, because what a process started with can be read. Only a start of
    the fork server changes this process's own for a moment; its threads may be reading it.

    Ctrl-C reaches the fork server too, and so does a SIGTERM to the process group: it inherits the
    mask set here, and so lives on until the pool is done. The resource tracker is started first,
    because starting it unblocks them. The program's main module is hidden, because children would
    import it again, for a second each and for nothing.
    """

    def __init__(self, added: Mapping[str, str]) -> None:
        self._settings = {**_CHILD_ENVIRONMENT, **added}
        self._before: dict[str, str] | None = None

    def __enter__(self) -> None:
        if not _fork_server_runs():
            self._before = dict(os.environ)
            _change_environment(clean_environment(self._before) | self._settings)
        resource_tracker.ensure_running()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        main = sys.modules["__main__"]
        self._main = (main.__dict__.pop("__file__", None), main.__spec__)
        main.__spec__ = None

    def __exit__(self, *_exception: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        main = sys.modules["__main__"]
        file, main.__spec__ = self._main
        if file is not None:
            main.__file__ = file
        if self._before is not None:
            _change_environment(self._before)


def _fork_server_runs() -> bool:
    process = getattr(forkserver, "_forkserver")._forkserver_pid  # noqa: B009 - not in the type stubs
    with suppress(ChildProcessError):
        return (
            process is not None
            and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        )
    return False


def _change_environment(wanted: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    os.environ.update(wanted)
