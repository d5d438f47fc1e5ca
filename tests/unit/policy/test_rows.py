"""Rows are in the order of a plain sort, and what is forgotten could not have been needed."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpj_core.policy import rows as module
from fpj_core.policy.rows import Rows

NAMES = [("b", "full"), ("a", "full"), ("b", "thumbnail"), ("a", "thumbnail")]
PRIORITIES = st.one_of(st.sampled_from([0.0, 5e-324, 1.0, 1.0 + 2**-52, 1e300]), st.floats(0, 1e9))
NUMBERS = st.one_of(st.integers(0, 5), st.sampled_from([2**32 - 1, 2**32, 2**63 - 1]))
SOME = st.lists(st.tuples(PRIORITIES, st.integers(0, 3), NUMBERS, NUMBERS), max_size=40)
Row = tuple[float, int, int, int]


def filled(some: list[Row]) -> Rows:
    rows = Rows()
    for row in some:
        rows.add(*row)
    return rows


def read(rows: Rows) -> list[Row]:
    return list(zip(rows.priorities, rows.groups, rows.ordinals, rows.sizes, strict=True))


@pytest.mark.parametrize(("few", "parts"), [(16_384, 4_096), (2, 4), (1, 16)])
@given(some=SOME)
def test_the_order_is_that_of_a_plain_sort(some: list[Row], few: int, parts: int) -> None:
    def key(number: int) -> tuple[float, str, int, str]:
        priority, group, ordinal, _ = some[number]
        return priority, NAMES[group][0], ordinal, NAMES[group][1]

    with patch.object(module, "_FEW", few), patch.object(module, "_PARTS", parts):
        ordered = list(filled(some).ordered(NAMES))
    assert sorted(ordered) == list(range(len(some)))
    assert [key(number) for number in ordered] == sorted(map(key, range(len(some))))


@given(SOME, st.integers(0, 3), st.integers(1, 40))
def test_below_the_edge_is_what_was_asked_for(some: list[Row], whole: int, need: int) -> None:
    rows = filled(some)
    edge = rows.edge(need)
    assert sum(size for priority, _, _, size in some if priority <= edge) >= min(
        need, sum(size for *_, size in some)
    )
    rows.forget(edge, [group == whole for group in range(4)])
    assert read(rows) == [row for row in some if row[0] <= edge or row[1] == whole]


def test_the_edge_leaves_most_behind_where_little_is_needed() -> None:
    rows = filled([(1_000.0 + number, 0, number, 1) for number in range(10_000)])
    assert 1_099 <= rows.edge(100) < 1_110
    assert rows.edge(10_001) == float("inf") and Rows().edge(1) == float("inf")


def test_rows_stay_narrow_until_a_number_is_large() -> None:
    rows = filled([(1.0, 0, 7, 8)])
    assert (
        sum(column.itemsize for column in (rows.priorities, rows.groups, rows.ordinals, rows.sizes))
        == 20
    )
    rows.add(2.0, 1, 2**40, 9)
    assert read(rows) == [(1.0, 0, 7, 8), (2.0, 1, 2**40, 9)]
