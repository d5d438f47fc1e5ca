"""Cursors: opaque, and stable whatever comes in between."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpj_api.cursors import MOST_CHARACTERS, decode, encode, page
from fpj_api.problems import ProblemError

NAMES = st.text("abc-.é", min_size=1, max_size=6)
PAIRS = st.tuples(NAMES, NAMES)


@given(st.lists(st.one_of(st.text(max_size=50), st.integers())))
def test_what_goes_in_comes_out(parts: list[str | int]) -> None:
    cursor = encode("x", *parts)
    assert decode("x", cursor, *map(type, parts)) == parts
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_the_longest_names_fit() -> None:
    assert len(encode("statistics", "n" * 63, "c" * 253)) < MOST_CHARACTERS


@pytest.mark.parametrize(
    "odd",
    ["", "x", "!", "e30", "W10", "bnVsbA", "MQ", encode("y", "a", "b"), encode("x", "a"), encode("x", "a", 1), "é"]
    + [encode("x", "a", "b", "c"), base64.urlsafe_b64encode(b"[" * 900).decode()],
)
def test_anything_else_is_refused(odd: str) -> None:
    with pytest.raises(ProblemError) as raised:
        decode("x", odd, str, str)
    assert raised.value.status == 400


@given(st.sets(PAIRS, max_size=30), st.sets(PAIRS, max_size=10), st.sets(PAIRS, max_size=10), st.integers(1, 5))
def test_pages_miss_nothing_that_stays(kept: set[Any], gone: set[Any], new: set[Any], limit: int) -> None:
    gone, new = gone - kept, new - kept - gone
    first, cursor = page([*kept, *gone], "x", lambda pair: pair, limit, None, 2)
    listed = list(first)
    while cursor is not None:
        some, cursor = page([*kept, *new], "x", lambda pair: pair, limit, cursor, 2)
        assert 0 < len(some) <= limit or cursor is None
        listed += some
    assert listed == sorted(set(listed)), "nothing twice"
    if kept or gone:
        assert kept <= set(listed)
