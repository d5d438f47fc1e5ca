"""The times of schedules, above all when clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpj_operator.schedules.cron import ScheduleError, Times

BERLIN, NEW_YORK, APIA = "Europe/Berlin", "America/New_York", "Pacific/Apia"


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def shown(moment: float, zone: str) -> str:
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %z")


def run_of(schedule: str, zone: str, since: str, number: int) -> list[str]:
    """The next times after a moment, by the zone's own clock."""
    times, moment, found = Times(schedule, zone), at(since), []
    for _ in range(number):
        moment = times.after(moment)
        found.append(shown(moment, zone))
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("*/15 * * * *", ["2026-01-30 23:45", "2026-01-31 00:00", "2026-01-31 00:15"]),
        ("0 2 * * *", ["2026-01-31 02:00", "2026-02-01 02:00", "2026-02-02 02:00"]),
        ("@hourly", ["2026-01-31 00:00", "2026-01-31 01:00", "2026-01-31 02:00"]),
        ("@daily", ["2026-01-31 00:00", "2026-02-01 00:00", "2026-02-02 00:00"]),
        ("@midnight", ["2026-01-31 00:00", "2026-02-01 00:00", "2026-02-02 00:00"]),
        ("@weekly", ["2026-02-01 00:00", "2026-02-08 00:00", "2026-02-15 00:00"]),
        ("@monthly", ["2026-02-01 00:00", "2026-03-01 00:00", "2026-04-01 00:00"]),
        ("@yearly", ["2027-01-01 00:00", "2028-01-01 00:00", "2029-01-01 00:00"]),
        ("@annually", ["2027-01-01 00:00", "2028-01-01 00:00", "2029-01-01 00:00"]),
        # Either day.
        ("30 4 1,15 * 5", ["2026-02-01 04:30", "2026-02-06 04:30", "2026-02-13 04:30"]),
        ("0 9-17/4 * * mon-fri", ["2026-02-02 09:00", "2026-02-02 13:00", "2026-02-02 17:00"]),
        ("0 0 * * 7", ["2026-02-01 00:00", "2026-02-08 00:00", "2026-02-15 00:00"]),  # Sunday, as 0
        ("0 0 29 feb *", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("0 0 31 * *", ["2026-01-31 00:00", "2026-03-31 00:00", "2026-05-31 00:00"]),
    ],
)
def test_times(schedule: str, expected: list[str]) -> None:
    found = run_of(schedule, "Etc/UTC", "2026-01-30T23:44:30Z", 3)
    assert found == [f"{each} +0000" for each in expected]


@pytest.mark.parametrize(
    ("schedule", "zone", "since", "expected"),
    [
        # In spring Berlin has no 02:30: due when the clock goes on, once, and the day after at its
        # time again.
        (
            "30 2 * * *",
            BERLIN,
            "2026-03-28T12:00Z",
            ["2026-03-29 03:00 +0200", "2026-03-30 02:30 +0200"],
        ),
        (
            "0,30 2 * * *",
            BERLIN,
            "2026-03-28T12:00Z",
            ["2026-03-29 03:00 +0200", "2026-03-30 02:00 +0200"],
        ),
        (
            "0 2,3 * * *",
            BERLIN,
            "2026-03-28T12:00Z",
            ["2026-03-29 03:00 +0200", "2026-03-30 02:00 +0200"],
        ),
        # In autumn it has 02:30 twice: due the first time only, also for who asks in between.
        (
            "30 2 * * *",
            BERLIN,
            "2026-10-24T12:00Z",
            ["2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"],
        ),
        ("30 2 * * *", BERLIN, "2026-10-25T00:45Z", ["2026-10-26 02:30 +0100"]),
        ("30 2 * * *", BERLIN, "2026-10-25T01:15Z", ["2026-10-26 02:30 +0100"]),
        # Schedules by the hour or the minute follow real time.
        (
            "0 * * * *",
            NEW_YORK,
            "2026-11-01T04:30Z",
            ["2026-11-01 01:00 -0400", "2026-11-01 01:00 -0500", "2026-11-01 02:00 -0500"],
        ),
        (
            "*/30 1-2 * * *",
            NEW_YORK,
            "2026-03-08T06:15Z",
            ["2026-03-08 01:30 -0500", "2026-03-09 01:00 -0400"],
        ),
        # A day that a country left out.
        (
            "0 9 * * *",
            APIA,
            "2011-12-29T12:00:00-10:00",
            ["2011-12-31 00:00 +1400", "2011-12-31 09:00 +1400"],
        ),
    ],
)
def test_when_clocks_are_changed(schedule: str, zone: str, since: str, expected: list[str]) -> None:
    assert run_of(schedule, zone, since, len(expected)) == expected


def test_missed_runs_are_found_newest_first_and_bounded() -> None:
    times = Times("0 * * * *")
    now = at("2026-01-02T12:00:00Z")
    assert times.missed(at("2026-01-02T09:00:00Z"), now, 10) == [now, now - 3600, now - 7200]
    assert times.missed(now, now + 3599, 10) == []
    assert times.missed(now - 1, now - 1, 10) == []
    assert len(times.missed(0.0, now, 100)) == 100


def test_a_time_that_comes_twice_is_not_missed_again() -> None:
    times = Times("30 2 * * *", BERLIN)
    due = at("2026-10-25T00:30Z")
    for minutes in range(1, 180):
        now = due + 60 * minutes
        assert times.missed(due - 1, now, 3) == [due]
        assert times.missed(due, now, 3) == []


@pytest.mark.parametrize("schedule", ["0 0 30 2 *", "5-1 * * * *", "0 0 31 4,6 *"])
def test_what_no_pattern_can_tell(schedule: str) -> None:
    with pytest.raises(ScheduleError, match=r"schedule '.*': "):
        Times(schedule)


@pytest.mark.parametrize("zone", ["Europe", "Mars/Olympus", "Local", "europe/berlin", "X" * 64])
def test_zones_that_are_none(zone: str) -> None:
    with pytest.raises(ScheduleError, match=f"timeZone '{zone}' is not known"):
        Times("@daily", zone)


ZONES = st.sampled_from(
    [BERLIN, NEW_YORK, APIA, "Etc/UTC", "Asia/Tehran", "America/Sao_Paulo", "Antarctica/Troll"]
)
"""Not Lord Howe, whose clocks change by half an hour: */2 hours may come late there,
though never twice.
"""
FIELD = st.sampled_from
SCHEDULES = st.tuples(
    FIELD(["0", "30", "*/7", "0,30", "59", "1-50/3"]),
    FIELD(["*", "0", "1", "2", "3", "*/2", "1-3", "0,23"]),
    FIELD(["*", "*", "*", "1", "*/10"]),
    FIELD(["*", "*", "3,10,11"]),
    FIELD(["*", "*", "0", "1-5"]),
).map(" ".join)


@settings(max_examples=150)
@given(SCHEDULES, ZONES, st.integers(0, 20 * 365 * 24 * 60), st.integers(1, 4 * 24 * 60))
def test_looking_back_finds_what_looking_ahead_told(
    schedule: str, zone: str, start: int, minutes: int
) -> None:
    times = Times(schedule, zone)
    since = (datetime(2006, 1, 1, tzinfo=UTC) + timedelta(minutes=start)).timestamp()
    until = since + 60 * minutes
    ahead: list[float] = []
    moment = times.after(since)
    while moment <= until:
        ahead.append(moment)
        moment = times.after(moment)
    assert ahead == sorted(set(ahead)), "each once, in order"
    assert times.missed(since, until, 10_000) == ahead[::-1]
    assert all(moment % 60 == 0 for moment in ahead)


@given(SCHEDULES, ZONES, st.integers(0, 20 * 365 * 24))
def test_a_daily_run_takes_place_every_day(schedule: str, zone: str, hours: int) -> None:
    """Whatever the clocks do: of a fixed time of day there is one run in each 26 hours,
    and none follows within 20.
    """
    del schedule
    for time_of_day in ("30 2 * * *", "0 0 * * *", "15 3 * * *"):
        times = Times(time_of_day, "America/New_York" if zone == APIA else zone)
        first = times.after((datetime(2006, 1, 1, tzinfo=UTC) + timedelta(hours=hours)).timestamp())
        second = times.after(first)
        assert 20 * 3600 <= second - first <= 26 * 3600
