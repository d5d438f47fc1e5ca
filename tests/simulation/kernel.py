"""Processes, threads and time that are not real: what runs when is decided by a seed alone.

Coroutines run on an event loop whose clock jumps to the next timer. What blocks (a worker, a call
of the store) runs in a greenlet that gives way wherever it would sleep. So nothing ever runs at the
same time as something else.
"""

from __future__ import annotations

import asyncio
import random
import sys
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import greenlet
from typing_extensions import override

START = 1_800_000_000.0
"""Seconds since the epoch at which every schedule begins."""
_FIRST = 1_000.0


class Killed(BaseException):
    """The process was killed: nothing of it runs any more."""


class StuckError(Exception):
    """Nothing is left that could ever happen."""


@dataclass(eq=False)
class Process:
    """What is killed as a whole. ``skew`` is by how much its host's time of day is wrong."""

    kernel: Kernel
    name: str
    node: Node
    dead: bool = False
    cut_off: set[str] = field(default_factory=set)
    """Of "api" and "store", what the network keeps it from."""
    frozen_until: float = 0.0
    """Until then nothing of it runs, as after SIGSTOP; what it has sent is on its way."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    threads: list[Thread] = field(default_factory=list)
    held_back: list[asyncio.Handle] = field(default_factory=list)

    def thaw(self) -> None:
        """Go on, unless it has been frozen for longer since."""
        held_back, self.held_back = self.held_back, []
        self.kernel.loop._ready.extend(held_back)  # type: ignore[attr-defined]

    def check(self) -> None:
        if self.dead:
            raise Killed

    def is_cut_off(self, what: str) -> bool:
        return what in self.cut_off or what in self.node.cut_off

    def kill(self) -> None:
        if self.dead:
            return
        self.dead = True
        self.thaw()
        for task in list(self.tasks):
            task.cancel()
        for thread in list(self.threads):
            thread.wake()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as this process."""
        context = copy_context()
        context.run(CURRENT.set, self)
        return self.kernel.loop.create_task(work, context=context)

    def thread(self, run: Callable[[], None]) -> Thread:
        """Run what may block as this process, from now on."""
        return Thread(self, run)


@dataclass(eq=False)
class Node:
    """A machine: its clock, and what it cannot reach."""

    name: str
    skew: float = 0.0
    cut_off: set[str] = field(default_factory=set)


CURRENT: ContextVar[Process] = ContextVar("process")


class Thread:
    """A greenlet of a process."""

    def __init__(self, process: Process, run: Callable[[], None]) -> None:
        self.process = process
        self.alive = True
        self.joining: list[Thread] = []
        self._run = run
        self._loop = process.kernel.loop
        self._greenlet = greenlet.greenlet(self._main, process.kernel.hub)
        context = copy_context()
        context.run(CURRENT.set, process)
        self._greenlet.gr_context = context
        self._greenlet.thread = self
        process.threads.append(self)
        self._timer = self._loop.call_soon(self._resume, context=Context())

    def _main(self) -> None:
        try:
            if not self.process.dead:
                self._run()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001 - a fault of the simulation or of the product: it ends the schedule
            self.process.kernel.fail(error)
        finally:
            self.alive = False
            self.process.threads.remove(self)
            for thread in self.joining:
                thread.wake()

    def _resume(self) -> None:
        thaw = self.process.frozen_until - self._loop.now
        if thaw > 0 and not self.process.dead:
            self._timer = self._loop.call_later(thaw, self._resume, context=Context())
        else:
            self._greenlet.switch()

    def sleep(self, seconds: float) -> None:
        """Give way for so long, or until somebody wakes it. Raises `Killed`."""
        self.process.check()
        self._timer = self._loop.call_later(max(seconds, 0.0), self._resume, context=Context())
        self.process.kernel.hub.switch()
        self.process.check()

    def wake(self) -> None:
        """Go on now. Not from the thread itself."""
        if self.alive and greenlet.getcurrent() is not self._greenlet:
            self._timer.cancel()
            self._timer = self._loop.call_soon(self._resume, context=Context())


def this_thread() -> Thread:
    """The thread that runs. AttributeError in the event loop, which must never block."""
    return greenlet.getcurrent().thread  # type: ignore[no-any-return]


class _Clockwork:
    """Instead of waiting for sockets, the time jumps."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StuckError("nothing is left that could happen")
        if timeout > 0:
            self._loop.now += timeout
        return []

    def close(self) -> None:
        pass


class Loop(asyncio.BaseEventLoop):
    """An event loop on a clock that jumps."""

    def __init__(self) -> None:
        self.now = _FIRST
        super().__init__()
        self._selector = _Clockwork(self)
        self._clock_resolution = 1e-6

    @override
    def time(self) -> float:
        return self.now

    def _process_events(self, _events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    @override
    def run_in_executor(  # type: ignore[override]
        self, _executor: Any, work: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        """In a thread that is none."""
        asked: asyncio.Future[Any] = self.create_future()
        process = CURRENT.get()

        def run() -> None:
            try:
                answer = work(*arguments)
            except Exception as error:  # noqa: BLE001 - as an executor does
                if not asked.done():
                    asked.set_exception(error)
            else:
                if not asked.done():
                    asked.set_result(answer)

        process.thread(run)
        return asked


def _run_unless_frozen(handle: asyncio.Handle) -> None:
    """In the place of `asyncio.Handle._run`: what a frozen process would do waits, in its order."""
    process = handle._context.get(CURRENT)  # type: ignore[attr-defined]
    if process is None or process.frozen_until <= process.kernel.loop.now or process.dead:
        _RUN(handle)
        return
    if not process.held_back:
        process.kernel.loop.call_at(process.frozen_until, process.thaw, context=Context())
    process.held_back.append(handle)


_RUN = asyncio.Handle._run


class Kernel:
    """The clock, the dice and the journal of one schedule."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.loop = Loop()
        self.loop.set_task_factory(self._task)
        self.loop.set_exception_handler(self._unhandled)
        self.hub = greenlet.getcurrent()
        self.journal: deque[tuple[float, str, str]] = deque(maxlen=4_000)
        self.steps = self._digest = 0
        self.failure: BaseException | None = None
        self.watchers: list[tuple[str, Callable[[str], object]]] = []
        """(words, call): whom to tell who has just done something
        that is noted with these words.
        """
        self.ended = self.loop.create_future()

    def note(self, who: str, what: str) -> None:
        self.steps += 1
        self._digest = zlib.crc32(f"{self.loop.now:.6f} {who} {what}".encode(), self._digest)
        self.journal.append((self.loop.now - _FIRST, who, what))
        for words, call in self.watchers:
            if words in what:
                call(who)

    def digest(self) -> str:
        """Of all that was ever noted: the same seed comes to the same."""
        return f"{self._digest:08x}"

    def fail(self, error: BaseException) -> None:
        """The schedule has found something."""
        if self.failure is None:
            self.failure = error
            self.note("FOUND", str(error))
        if not self.ended.done():
            self.ended.set_result(None)

    def later(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        """Have the world itself do something: no process's,
        so none that is frozen holds it back.
        """
        self.loop.call_later(seconds, call, *arguments, context=Context())

    def seconds(self) -> float:
        """Since the schedule began."""
        return self.loop.now - _FIRST

    def wall(self, skew: float = 0.0) -> float:
        return START + self.seconds() + skew

    def _task(self, loop: Any, work: Any, context: Any = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
        process = context.get(CURRENT) if context is not None else CURRENT.get(None)
        if process is not None:
            process.tasks.add(task)
            task.add_done_callback(process.tasks.discard)
        return task

    def _unhandled(self, _loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if (
            error is not None
            and not isinstance(error, Killed)
            and "never retrieved" not in context["message"]
        ):
            self.fail(error)


# What the product's modules get instead of time, threading, random and uuid -----------------------


class _Time:
    """See `time`: by the clock of whichever process runs."""

    CLOCK_MONOTONIC, CLOCK_BOOTTIME = 1, 7
    kernel: Kernel

    def time(self) -> float:
        process = CURRENT.get(None)
        return self.kernel.wall(process.node.skew if process else 0.0)

    def monotonic(self) -> float:
        return self.kernel.loop.now

    perf_counter = monotonic

    def clock_gettime(self, _clock: int) -> float:
        return self.kernel.loop.now

    def sleep(self, seconds: float) -> None:
        this_thread().sleep(seconds)


class _SimThread:
    """See `threading.Thread`."""

    def __init__(
        self, target: Callable[..., None], args: tuple[Any, ...] = (), **_options: Any
    ) -> None:
        self._run = lambda: target(*args)
        self._thread: Thread | None = None

    def start(self) -> None:
        self._thread = CURRENT.get().thread(self._run)

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.alive

    def join(self, timeout: float = 1e9) -> None:
        if self._thread is not None and self._thread.alive:
            self._thread.joining.append(this_thread())
            TIME.sleep(timeout)


class _SimEvent:
    """See `threading.Event`; it is set by threads of the same process."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[Thread] = []

    def set(self) -> None:
        self._is_set = True
        for thread in self._waiting:
            thread.wake()

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float = 1e9) -> bool:
        if not self._is_set and timeout > 0:
            thread = this_thread()
            self._waiting.append(thread)
            thread.sleep(timeout)
            self._waiting.remove(thread)
        return self._is_set


TIME = _Time()
RANDOM = random.Random(0)
_UUIDS = random.Random(0)


def _uuid4() -> uuid.UUID:
    return uuid.UUID(int=_UUIDS.getrandbits(128), version=4)


_STAND_INS: dict[str, Any] = {
    "time": TIME,
    "random": RANDOM,
    "uuid": SimpleNamespace(uuid4=_uuid4, UUID=uuid.UUID),
    "threading": SimpleNamespace(Thread=_SimThread, Event=_SimEvent),
}


def install() -> None:
    """Give every loaded module of the product the stand-ins.

    For a process that does nothing but simulate.
    """
    asyncio.Handle._run = _run_unless_frozen  # type: ignore[method-assign, assignment] # whatever a loop runs, it runs so
    for name, module in list(sys.modules.items()):
        if name.startswith(("fpj_operator", "fpj_worker", "fpj_core")):
            for what, stand_in in _STAND_INS.items():
                if (
                    getattr(module, what, None) is sys.modules.get(what)
                    and sys.modules.get(what) is not None
                ):
                    if what == "threading" and name not in (
                        "fpj_worker.pod.heartbeat",
                        "fpj_worker.pod.report",
                        "fpj_worker.probe",
                    ):
                        continue  # locks, which are never waited for here
                    setattr(module, what, stand_in)


def begin(seed: int) -> Kernel:
    """A new schedule."""
    kernel = Kernel(seed)
    RANDOM.seed(seed + 1)
    _UUIDS.seed(seed + 2)
    TIME.kernel = kernel
    return kernel
