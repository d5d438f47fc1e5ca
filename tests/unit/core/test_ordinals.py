"""A set of bits is what a set of numbers is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fpj_core.ordinals import Ordinals

SOME = st.lists(
    st.one_of(st.integers(0, 40_000), st.sampled_from([8_191, 8_192, 2**31, 2**40])), max_size=40
)
RANGES = st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 20_000)), max_size=4)


@given(SOME, RANGES, st.integers(0, 50_000), st.integers(0, 50_000))
def test_it_holds_what_was_added(
    some: list[int], ranges: list[tuple[int, int]], start: int, stop: int
) -> None:
    ordinals, expected = Ordinals(), set(some)
    ordinals.add(some)
    for first, length in ranges:
        ordinals.add(range(first, first + length))
        expected.update(range(first, first + length))
    assert list(ordinals) == sorted(expected)
    assert len(ordinals) == len(expected)
    assert ordinals.count(start, stop) == sum(start <= each < stop for each in expected)
    assert all((each in ordinals) == (each in expected) for each in [*some, start, stop])


def test_ranges_with_steps_and_empty_ones() -> None:
    ordinals = Ordinals()
    ordinals.add(range(5, 5))
    ordinals.add(range(1, 10, 4))
    assert list(ordinals) == [1, 5, 9]
    assert 3 not in ordinals
