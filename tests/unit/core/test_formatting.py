"""Numbers and times as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpj_core.formatting import count, duration, moment, rate, size

UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (102_400, "100 KiB"),
        (102_399, "100 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (2**20, "1.0 MiB"),
        (500 * 2**20, "500 MiB"),
        (3 * 2**40, "3.0 TiB"),
        (2**60, "1024 PiB"),
        (2**63, "8192 PiB"),
    ],
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


@settings(deadline=None)
@given(st.integers(0, 2**63))
def test_sizes_are_short_and_near(number: int) -> None:
    figure, unit = size(number).split(" ")
    assert (
        abs(float(figure) * UNITS[unit] - number)
        <= (0.5 if "." not in figure else 0.05) * UNITS[unit] + number / 2**52
    )
    assert float(figure) < 1024 or unit == "PiB"
    assert len(figure) <= 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0s"),
        (0.25, "0.2s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (10, "10s"),
        (45.4, "45s"),
        (59.6, "1m"),
        (60, "1m"),
        (192, "3m12s"),
        (3_600, "1h"),
        (7_500, "2h5m"),
        (7_559, "2h5m"),
        (86_400, "1d"),
        (4 * 86_400 + 3 * 3_600 + 59, "4d3h"),
        (1_000 * 86_400.0, "1000d"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@settings(deadline=None)
@given(st.integers(10, 10**8))
def test_durations_lose_less_than_their_smallest_unit(seconds: int) -> None:
    lengths = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    parts = re.findall(r"(\d+)([dhms])", duration(seconds))
    shown = sum(int(number) * lengths[unit] for number, unit in parts)
    smaller = {"d": "h", "h": "m", "m": "s", "s": "s"}
    assert "".join(number + unit for number, unit in parts) == duration(seconds)
    assert 0 <= seconds - shown < max(lengths[smaller[parts[0][1]]], 1)
    assert len(parts) <= 2


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "-"),
        (-1, "-"),
        (0.25, "0.2/s"),
        (41.34, "41.3/s"),
        (99.94, "99.9/s"),
        (99.96, "100/s"),
        (12_345.6, "12,346/s"),
    ],
)
def test_rates(number: float, text: str) -> None:
    assert rate(number) == text


def test_counts() -> None:
    assert [count(number) for number in (0, 999, 1_000, 10**7)] == [
        "0",
        "999",
        "1,000",
        "10,000,000",
    ]


def test_moments_are_those_of_kubernetes_objects() -> None:
    assert moment(0) == "1970-01-01T00:00:00Z"
    assert moment(1_790_000_000.9) == "2026-09-21T14:13:20Z"
