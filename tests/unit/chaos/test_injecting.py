"""Every fault begins and ends in its time, also where some come late or hit nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from chaos.injecting import Injector, MissedError
from chaos.schedule import KINDS, Fault, schedule
from typing_extensions import override


class Bed:
    """Notes when faults begin and end, by a clock that only moves when somebody sleeps."""

    def __init__(self, slow: float = 0.0, missing: str = "", recovers: float = 1e6) -> None:
        self.now = 0.0
        self._slow, self._missing = slow, missing
        self.started: dict[int, float] = {}
        self.ended: dict[int, float] = {}
        self.busy: list[float] = []
        self.injector = Injector(
            self.inject,
            lambda: self.busy.append(self.now),
            lambda _: None,
            lambda over: self.now >= over[-1].healed + recovers,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @contextmanager
    def inject(self, fault: Fault) -> Iterator[str]:
        self.now += self._slow
        if fault.kind == self._missing:
            raise MissedError("nothing is there")
        self.started[fault.number] = self.now
        try:
            yield ""
        finally:
            self.ended[fault.number] = self.now


@pytest.mark.parametrize("slow", [0.0, 0.4, 3.0])
def test_all_begin_in_turn_last_as_long_as_they_are_to_and_end(slow: float) -> None:
    bed = Bed(slow)
    faults = schedule(5, 60)
    bed.injector.run(faults)
    assert list(bed.started) == list(range(60))
    for fault in faults:
        lasted = bed.ended[fault.number] - bed.started[fault.number]
        wanted = fault.ends - fault.begins
        # A fault that takes time to begin holds up others that are due.
        assert wanted - 0.01 <= lasted <= wanted + 0.1 + 2 * slow
    for fault, other in itertools.combinations(faults, 2):
        if KINDS[fault.kind].bars(KINDS[other.kind]):
            assert bed.ended[fault.number] <= bed.started[other.number], (fault, other)


def test_pauses_stay_as_long_as_they_were_meant() -> None:
    bed = Bed(slow=2.0)
    bed.injector.run(schedule(5, 20, calm=10.0))
    assert all(bed.started[number] - bed.ended[number - 1] >= 10.0 for number in range(1, 20))


@pytest.mark.parametrize("slow", [0.0, 2.0])
def test_a_pause_ends_early_once_all_has_recovered(slow: float) -> None:
    bed = Bed(slow, recovers=3.0)
    faults = schedule(5, 20, calm=10.0)
    bed.injector.run(faults)
    for number in range(1, 20):
        assert 3.0 <= bed.started[number] - bed.ended[number - 1] <= 3.2 + slow
    for fault in faults:
        lasted = bed.ended[fault.number] - bed.started[fault.number]
        assert lasted == pytest.approx(fault.ends - fault.begins, abs=0.1)


def test_what_hits_nothing_is_counted_and_the_rest_goes_on() -> None:
    bed = Bed(missing="store-kill")
    faults = schedule(5, 60)
    bed.injector.run(faults)
    kinds = [fault.kind for fault in faults]
    assert bed.injector.missed == {"store-kill": kinds.count("store-kill")}
    assert bed.injector.injected.total() == 60 - kinds.count("store-kill")
    assert sum("missed" in line for line in bed.injector.trace) == kinds.count("store-kill")


def test_everything_ends_where_a_fault_breaks_the_run() -> None:
    class Broken(Bed):
        @contextmanager
        @override
        def inject(self, fault: Fault) -> Iterator[str]:
            if len(self.started) == 20:
                raise OSError("the bed broke")
            with super().inject(fault) as victim:
                yield victim

    bed = Broken()
    with pytest.raises(OSError, match="the bed broke"):
        bed.injector.run(schedule(5, 60))
    assert len(bed.ended) == len(bed.started) == 20
