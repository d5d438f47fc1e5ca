"""A seed means the same faults each time, and no two that cannot happen together."""

from __future__ import annotations

import itertools
import zlib
from collections import Counter

import pytest
from chaos.schedule import KINDS, VERSION, Fault, last_end, schedule


@pytest.fixture(scope="module")
def hundred() -> list[tuple[Fault, ...]]:
    return [schedule(seed, 100) for seed in range(1, 101)]


@pytest.mark.parametrize("calm", [None, 5.0])
def test_a_seed_means_the_same_faults_each_time(calm: float | None) -> None:
    assert schedule(7, 100, calm=calm) == schedule(7, 100, calm=calm)
    assert schedule(7, 100, calm=calm) != schedule(8, 100, calm=calm)
    assert schedule(7, 100, calm=calm)[:20] == schedule(7, 20, calm=calm), (
        "fewer of them are the first ones"
    )


def test_a_seed_means_these_faults_for_ever(hundred: list[tuple[Fault, ...]]) -> None:
    """What was injected is read off the seed: whoever changes what
    one means makes another VERSION.
    """
    assert schedule(1, 2) == FIRST_OF_SEED_1
    everything = repr([*hundred, schedule(1, 100, calm=20.0)])
    assert (VERSION, zlib.crc32(everything.encode())) == (2, 2140995023)


@pytest.mark.parametrize("seed", range(1, 21))
def test_faults_that_bar_each_other_never_overlap(seed: int) -> None:
    faults = schedule(seed, 100)
    assert [each.number for each in faults] == list(range(100))
    assert all(fault.begins <= after.begins for fault, after in itertools.pairwise(faults))
    for fault, other in itertools.combinations(faults, 2):
        if KINDS[fault.kind].bars(KINDS[other.kind]):
            assert fault.ends < other.begins or other.ends < fault.begins, (fault, other)


def test_every_kind_is_chosen_and_many_overlap(hundred: list[tuple[Fault, ...]]) -> None:
    faults = [fault for each in hundred[:20] for fault in each]
    assert {fault.kind for fault in faults} == set(KINDS)
    overlapping = sum(after.begins < before.ends for before, after in itertools.pairwise(faults))
    assert overlapping > 200


def test_only_the_kinds_that_are_asked_for() -> None:
    assert {fault.kind for fault in schedule(1, 50, ["store-kill", "suspend"])} == {
        "store-kill",
        "suspend",
    }


def test_calm_faults_are_far_apart_and_of_each_kind_equally_often() -> None:
    faults = schedule(1, 3 * len(KINDS), calm=20.0)
    assert all(after.begins >= before.ends + 19.9 for before, after in itertools.pairwise(faults))
    assert set(Counter(fault.kind for fault in faults).values()) == {3}


def test_a_hundred_faults_are_over_in_some_three_minutes(hundred: list[tuple[Fault, ...]]) -> None:
    assert sum(map(last_end, hundred)) / 100 < 190


FIRST_OF_SEED_1 = (
    Fault(0, "operator-api timeout", 1.0, 3.61, 0.9764),
    Fault(1, "leader-stop", 5.04, 10.8, 0.387),
)
