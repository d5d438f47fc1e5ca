"""Cursors: opaque, and stable whatever comes in between."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fpj_api.cursors import MOST_CHARACTERS, decode, encode, page
from fpj_api.problems import ProblemError
from fpj_core.store import Store, open_store

NAMES = st.text("abc-.é", min_size=1, max_size=6)
PAIRS = st.tuples(NAMES, NAMES)


@given(st.lists(st.one_of(st.text(max_size=50), st.integers(0, 2**63 - 1))))
def test_what_goes_in_comes_out(parts: list[str | int]) -> None:
    cursor = encode("x", *parts)
    assert decode("x", cursor, *map(type, parts)) == parts
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_the_longest_names_fit() -> None:
    assert len(encode("statistics", "n" * 63, "c" * 253)) < MOST_CHARACTERS


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "x",
        "!",
        "e30",
        "W10",
        "bnVsbA",
        "MQ",
        encode("y", "a", "b"),
        encode("x", "a"),
        encode("x", "a", 1),
        "é",
    ]
    + [
        encode("x", "a", "b", "c"),
        encode("x", "\ud800", "b"),
        base64.urlsafe_b64encode(b"[" * 900).decode(),
    ],
)
def test_anything_else_is_refused(odd: str) -> None:
    with pytest.raises(ProblemError) as raised:
        decode("x", odd, str, str)
    assert raised.value.status == 400


@given(
    st.sets(PAIRS, max_size=30),
    st.sets(PAIRS, max_size=10),
    st.sets(PAIRS, max_size=10),
    st.integers(1, 5),
)
def test_pages_miss_nothing_that_stays(
    kept: set[Any], gone: set[Any], new: set[Any], limit: int
) -> None:
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


def test_a_page_that_is_full_and_the_last_promises_no_other() -> None:
    items = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]
    first, cursor = page(items, "x", lambda pair: pair, 2, None, 2)
    assert (first, page(items, "x", lambda pair: pair, 2, cursor, 2)) == (
        items[:2],
        (items[2:], None),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_store(str(tmp_path_factory.mktemp("store") / "store.db"))
    yield store
    store.close()


PARTS = st.one_of(
    st.integers(),
    st.integers(-(2**63) - 1, 2**65),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=20),
)


@given(st.lists(PARTS, max_size=3), st.sampled_from(["failures/", "failures/Timeout", "jobs", ""]))
@example([2**63], "failures/")
@example([2**63 - 1], "failures/")
@example([-1], "failures/")
def test_whatever_a_cursor_says_the_store_can_be_asked(
    store: Store, parts: list[Any], of: str
) -> None:
    """A page, or a problem that says so: never an error of the store."""
    cursor = base64.urlsafe_b64encode(json.dumps([of, *parts]).encode()).decode().rstrip("=")
    try:
        (after,) = decode("failures/", cursor, int)
    except ProblemError:
        return
    assert after >= 0
    assert store.failures("job", error_type=None, after=after, limit=3) == []


@given(st.text(max_size=60))
def test_whatever_a_cursor_is_it_is_refused(text: str) -> None:
    with pytest.raises(ProblemError) as raised:
        decode("failures/", text, int)
    assert raised.value.status == 400
