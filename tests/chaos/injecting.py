"""Injects the faults of a schedule one after another, ends each in time, and keeps a trace."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from chaos.schedule import KINDS, Fault

_TICK = 0.05

Inject = Callable[[Fault], AbstractContextManager[str]]
"""Begins a fault, says what it hits, and ends it at the exit. Raises `MissedError`."""


class MissedError(Exception):
    """The fault could not be brought about."""


@dataclass
class Active:
    """A fault that was injected: what it hit, and when it began and was over (0: not yet)."""

    fault: Fault
    victim: str
    started: float
    stack: ExitStack
    healed: float = 0.0

    @property
    def due(self) -> float:
        return self.started + self.fault.ends - self.fault.begins


class Injector:
    """Goes through a schedule.

    What comes late moves the rest on, so that pauses stay as long as they were meant.

    Args:
        inject: brings a fault about.
        meanwhile: called now and then, while no fault forbids it.
        say: gets each line of the trace.
        recovered: whether the next fault need not wait any longer, for what it does to what is over
            already.
    """

    def __init__(
        self,
        inject: Inject,
        meanwhile: Callable[[], None],
        say: Callable[[str], None],
        recovered: Callable[[Sequence[Active]], bool] = lambda _over: False,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._inject, self._meanwhile, self._say = inject, meanwhile, say
        self._recovered = recovered
        self._clock, self._sleep = clock, sleep
        self._started = clock()
        self._late = 0.0
        self._active: list[Active] = []
        self.over: list[Active] = []
        self.missed = Counter[str]()
        self.trace: list[str] = []

    def note(self, what: str) -> None:
        """A line of the trace, with its time."""
        line = f"{self._clock() - self._started:7.1f} s  {what}"
        self.trace.append(line)
        self._say(line)

    def run(self, faults: Sequence[Fault]) -> None:
        """Inject all of them; they are over then."""
        try:
            for fault in faults:
                self._wait(fault.begins)
                self._begin(fault)
                self._late = max(self._late, self._clock() - self._started - fault.begins)
            while self._active:
                self._sleep(_TICK)
                self.end_due()
        finally:
            while self._active:
                self._end(self._active[0])

    def end_due(self) -> None:
        """End what has lasted long enough."""
        for each in list(self._active):
            if self._clock() >= each.due:
                self._end(each)

    @property
    def injected(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(each.fault.kind for each in self.over)

    def _wait(self, until: float) -> None:
        while (left := self._started + self._late + until - self._clock()) > 0:
            if self.over and not self._active and self._recovered(self.over):
                self._late -= left
                break
            self._sleep(min(left, _TICK))
            self.end_due()
        if not any("api" in KINDS[each.fault.kind].holds for each in self._active):
            self._meanwhile()

    def _begin(self, fault: Fault) -> None:
        for each in [
            each for each in self._active if KINDS[each.fault.kind].bars(KINDS[fault.kind])
        ]:
            self._wait_for_end(each)
        stack = ExitStack()
        try:
            victim = stack.enter_context(self._inject(fault))
        except MissedError as error:
            self.missed[fault.kind] += 1
            self.note(
                f"{fault.number:3}  missed  {fault.kind}: {' '.join(str(error).split())[:200]}"
            )
            return
        self._active.append(Active(fault, victim, self._clock(), stack))
        self.note(f"{fault.number:3}  begins  {fault.kind}{victim and f', {victim}'}")

    def _wait_for_end(self, active: Active) -> None:
        """It began late, and is in the way of the next one."""
        while active in self._active:
            self._sleep(_TICK)
            self.end_due()

    def _end(self, active: Active) -> None:
        self._active.remove(active)
        try:
            active.stack.close()
        finally:
            active.healed = self._clock()
            self.over.append(active)
        if active.fault.ends > active.fault.begins:
            self.note(f"{active.fault.number:3}  ends    {active.fault.kind}")
