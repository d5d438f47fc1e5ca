"""The times of a schedule. Pure; times are seconds since the epoch.

Debian's cron says what happens when clocks are changed, and the library `cronsim` does as it says:
a run whose time is left out (02:30 in spring) is due as soon as the clock goes on (03:00), one
whose time comes twice (02:30 in autumn) is due the first time only, and schedules with a ``*`` for
the minute or the hour follow real time: none is left out and none is late. So a nightly job runs
once every night. (batch/v1 CronJob leaves out the one and repeats the other.)
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from fpj_core.v1alpha1.schedule import ALIASES, TIME_ZONE

_LONGEST_SHIFT = 3 * 3600.0
"""Seconds, and more than any clock is put back by:
a time that came twice is found from behind the second.
"""


class ScheduleError(Exception):
    """An invalid schedule, or an unknown time zone."""


class Times:
    """The times at which a schedule is due. Raises `ScheduleError`."""

    def __init__(self, schedule: str, time_zone: str | None = None) -> None:
        self._expression = ALIASES.get(schedule, schedule)
        self._zone = _zone(time_zone or TIME_ZONE)
        try:
            next(CronSim(self._expression, datetime(2000, 1, 1, tzinfo=self._zone)))
        except CronSimError as error:
            raise ScheduleError(
                f"schedule {schedule!r}: {str(error)[:1].lower()}{str(error)[1:]}"
            ) from None
        except StopIteration:
            raise ScheduleError(f"schedule {schedule!r}: no date is ever like that") from None

    def after(self, moment: float) -> float:
        """The first time after ``moment``."""
        return next(due for due in self._run(moment) if due > moment)

    def missed(self, since: float, now: float, most: int) -> list[float]:
        """Times after ``since`` and not after ``now``, newest first; at most ``most`` of them."""
        found: list[float] = []
        for due in self._run(now + _LONGEST_SHIFT, reverse=True):
            if due <= since or len(found) == most:
                break
            if due <= now and due not in found[-1:]:
                found.append(due)
        return found

    def _run(self, start: float, *, reverse: bool = False) -> Iterator[float]:
        begin = datetime.fromtimestamp(int(start), self._zone)
        return (due.timestamp() for due in CronSim(self._expression, begin, reverse=reverse))


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    # A folder of zones, such as Europe, is an OSError.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"timeZone {name!r} is not known") from None
