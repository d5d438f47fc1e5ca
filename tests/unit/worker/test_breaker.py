"""When the environment is suspected, when it is given up: decisions alone, without any I/O."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpj_core.errors import ErrorType, ImageError
from fpj_worker.breaker import IN_A_ROW, Breaker, Outage, common_fault

GONE = ImageError(ErrorType.NOT_FOUND, "gone")
EIO = ImageError(ErrorType.READ_FAILED, "EIO", environment=True)
CORRUPT = ImageError(ErrorType.CORRUPT_IMAGE, "cut off")


def test_faults_in_a_row_ask_for_a_probe() -> None:
    breaker = Breaker()
    for _ in range(IN_A_ROW - 1):
        breaker.fault(last=False)
    assert not breaker.asks(0.0)
    breaker.went_well()
    for _ in range(IN_A_ROW - 1):
        breaker.fault(last=False)
    assert not breaker.asks(0.0), "one that went well lies between"
    breaker.fault(last=False)
    assert breaker.asks(0.0)


def test_an_image_without_tries_left_asks_at_once() -> None:
    breaker = Breaker()
    breaker.fault(last=True)
    assert breaker.asks(0.0)
    breaker.went_well()
    assert breaker.asks(0.0), "it still waits for a verdict"


@pytest.mark.parametrize(("took", "pause"), [(0.01, 1.0), (2.0, 20.0)])
def test_probes_take_a_small_part_of_the_time(took: float, pause: float) -> None:
    breaker = Breaker()
    breaker.fault(last=True)
    breaker.was_well(100.0, took)
    assert not breaker.asks(1_000.0), "nothing has happened since"
    breaker.fault(last=True)
    assert not breaker.asks(100.0 + pause - 0.01)
    assert breaker.asks(100.0 + pause)


@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_whatever_happens_no_verdict_is_owed_for_long(
    seed: int, faulty: float, last: float
) -> None:
    """A simulation: each image that waits has its probe within the pause after the one before."""
    chance, breaker, now, owed = random.Random(seed), Breaker(), 0.0, None
    for _ in range(300):
        now += chance.random() / 5
        if chance.random() < faulty:
            final = chance.random() < last
            breaker.fault(last=final)
            owed = now if final and owed is None else owed
        else:
            breaker.went_well()
        if breaker.asks(now):
            breaker.was_well(now, 0.05)
            owed = None
        assert owed is None or now - owed <= 1.0


def test_an_outage_is_bounded_and_asked_about_ever_more_slowly() -> None:
    outage = Outage(60.0)
    outage.begin(1_000.0, done=7)
    assert [outage.pause() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert (outage.left(1_000.0), outage.left(1_059.0), outage.left(1_061.0)) == (60.0, 1.0, 0.0)


def test_an_outage_ends_with_an_image_and_not_with_a_probe() -> None:
    outage = Outage(60.0)
    outage.begin(1_000.0, done=7)
    outage.begin(1_050.0, done=7)
    assert outage.left(1_050.0) == 10.0
    outage.begin(1_055.0, done=8)
    assert outage.left(1_055.0) == 60.0
    assert outage.pause() == 1.0


@pytest.mark.parametrize(
    ("answers", "known", "found"),
    [
        ([None] * 20, 1_000, None),
        ([GONE, *[None] * 19], 1_000, None),
        ([GONE] * 20, 1_000, GONE),
        ([GONE] * 11 + [None] * 9, 1_000, GONE),
        ([GONE] * 10 + [None] * 10, 1_000, None),
        ([GONE] * 11 + [None] * 9, 99, None),
        ([GONE] * 3, 3, GONE),
        ([GONE] * 2, 2, None),
        ([EIO], 1, EIO),
        ([EIO] * 2 + [None] * 2, 4, None),
        ([EIO] * 3 + [None] * 2, 5, EIO),
        ([GONE, EIO, EIO, None], 9, EIO),
        ([CORRUPT] * 20, 1_000, None),
        ([], 0, None),
    ],
)
def test_what_befalls_most_of_a_sample_is_not_theirs(
    answers: list[ImageError | None], known: int, found: ImageError | None
) -> None:
    assert common_fault(answers, known) is found
