"""What runs in a child process: one task after another, until the pipe closes.

Decoders are C code fed by strangers, so a child expects to be killed at any moment and keeps
nothing worth saving.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import select
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any, TextIO

from fpj_core import faults
from fpj_core.errors import ErrorType, ImageError
from fpj_worker.pool.protocol import ADMIT, DONE, ERROR, GRANT, READY, UNBEGUN, Admit, ChildSettings
from fpj_worker.pool.sandbox import Part, Reach, confine
from fpj_worker.pool.stopwatch import Away

_PR_SET_PDEATHSIG = 1  # prctl(2)


_this: _Child | None = None
"""The one child that this process is."""


@contextmanager
def away(what: Away) -> Iterator[None]:
    """Time spent in here counts on the limit for transfers, not on that for work.

    Without effect outside of a child.
    """
    if _this is None:
        yield
        return
    _this.stopwatch.begin(what)
    try:
        yield
    finally:
        _this.stopwatch.end()


def child_main(pipe: Connection, settings: ChildSettings) -> None:
    """Entry point of a child process."""
    _die_with_parent()
    _capture_stderr(settings.stderr_path)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides when a child ends
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Not to be opened any more, once confined.
    with open("/proc/self/statm", encoding="ascii") as statm:
        lacking = _confine(settings.reach)
        # The fork server has imported it, this module before it: a child only finds it.
        from fpj_worker.pool import preload  # noqa: PLC0415

        preload.raise_failure()
        handle = pickle.loads(settings.factory)()  # noqa: S301 - the supervisor's own
        if settings.memory_limit is not None:
            limit = _address_space(statm) + settings.memory_limit
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    global _this  # noqa: PLW0603 - set once, before the first task
    _this = _Child(pipe, handle, settings)
    _this.serve(lacking)


class _Child:
    def __init__(
        self, pipe: Connection, handle: Callable[[Any, Admit], Any], settings: ChildSettings
    ) -> None:
        self._pipe = pipe
        self._handle = handle
        self._heavy_budget = settings.heavy_budget
        self._memory_limit = settings.memory_limit or 0
        self._stop = settings.stop
        self.stopwatch = settings.stopwatch
        self._early: deque[Any] = deque()
        """Tasks, with their numbers, that arrived while the child waited for a grant."""
        self._number = 0
        """Of the task that is being handled."""

    def serve(self, lacking: Mapping[Part, str]) -> None:
        self._pipe.send((READY, {part.value: reason for part, reason in lacking.items()}, 0.0, 0))
        while True:
            try:
                self._number, task = self._early.popleft() if self._early else self._pipe.recv()[1]
            except (EOFError, OSError):
                return
            if self._stopping():
                self._pipe.send((UNBEGUN, None, 0.0, self._number))
                continue
            os.ftruncate(2, 0)
            self.stopwatch.restart()
            started = time.perf_counter()
            kind, content = self._run(task)
            self._pipe.send_bytes(
                _pickled(kind, content, time.perf_counter() - started, self._number)
            )

    def _stopping(self) -> bool:
        """Whether the pool is stopping: then a task that came earlier is not started."""
        readable, _, _ = select.select([self._stop], [], [], 0)
        return bool(readable)

    def _run(self, task: Any) -> tuple[str, Any]:
        try:
            return DONE, self._handle(task, self._admit)
        except ImageError as error:
            return ERROR, (error.error_type.value, error.message, error.environment)
        except MemoryError:
            return ERROR, (
                ErrorType.OUT_OF_MEMORY.value,
                "the memory limit of one image was reached",
                False,
            )
        except OSError as error:
            fault = faults.of_errno(error.errno)
            kind = (
                ErrorType.READ_FAILED
                if fault.environment and fault.transient
                else ErrorType.INTERNAL
            )
            return ERROR, (kind.value, f"{type(error).__name__}: {error}", fault.environment)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs one image
            return ERROR, (ErrorType.INTERNAL.value, f"{type(error).__name__}: {error}", False)

    def _admit(self, weight: int) -> None:
        if self._heavy_budget is None:
            return
        most = max(self._heavy_budget, self._memory_limit)
        if weight > most:
            raise ImageError(
                ErrorType.OUT_OF_MEMORY, f"needs {weight:,} bytes; {most:,} are allowed"
            )
        asked = min(weight, self._heavy_budget)  # what takes more than the budget runs alone
        self._pipe.send((ADMIT, asked, 0.0, self._number))
        while True:
            kind, content = self._pipe.recv()
            if kind == GRANT:
                return
            self._early.append(content)


def _pickled(kind: str, content: Any, elapsed: float, number: int) -> bytes:
    try:
        return pickle.dumps((kind, content, elapsed, number), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - pickling runs arbitrary code
        failure = (ErrorType.INTERNAL.value, f"the result cannot be sent: {error}", False)
        return pickle.dumps((ERROR, failure, elapsed, number))


def _die_with_parent() -> None:
    """SIGKILL this process when the fork server ends, which it does when the supervisor ends,
    however it ends.

    The fork server ends when nobody holds the other end of a pipe. Children are given that end, for
    forking children of their own; kept open, it would let the fork server outlive a killed
    supervisor, and the children with it.
    """
    alive = getattr(forkserver, "_forkserver")._forkserver_alive_fd  # noqa: B009 - not in the type stubs
    if alive is not None:
        os.close(alive)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == 1:
        os._exit(1)  # the fork server ended before the call above


def _capture_stderr(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _address_space(statm: TextIO) -> int:
    statm.seek(0)
    return int(statm.read().split()[0]) * resource.getpagesize()


def _confine(reach: Reach | None) -> Mapping[Part, str]:
    """What the kernel does not hold, and why."""
    if reach is None:
        return {}
    os.environ.update(reach.environment)
    if reach.scratch:
        os.environ["TMPDIR"] = tempfile.tempdir = reach.scratch
    return confine(reach)
