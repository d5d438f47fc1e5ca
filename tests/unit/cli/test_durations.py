"""Lengths of time as people write them."""

from __future__ import annotations

import click
import pytest

from fpj_cli.durations import Duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5", 1.5),
        ("10m", 600),
        ("1h30m", 5_400),
        ("30d", 2_592_000),
        ("1d12h", 129_600),
        ("1d1h1m1s", 90_061),
        ("0", 0),
    ],
)
def test_days_hours_minutes_and_seconds(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "d", "30 d", "1h1d", "-1d", "1.5d", "2w", "1e3", "30d "])
def test_nothing_else_is_one(text: str) -> None:
    with pytest.raises(click.BadParameter, match="90s, 1h30m or 30d"):
        Duration().convert(text, None, None)
