"""When faults that may be the environment's are held against it, and how long it is waited for.

Pure.

An image is charged for such a fault only after a probe has found source and cache folder well;
while they are not, no image is given out at all. One image that cannot be read costs a probe, and a
thousand in a row one a second.
"""

from __future__ import annotations

from collections.abc import Sequence

from fpj_core.errors import ErrorType, ImageError
from fpj_core.faults import may_be_environment

IN_A_ROW = 5
"""Faults, without a finished image between them,
after which a probe is due although all have tries left.
"""
_LEAST_SECONDS = 1.0
_SHARE = 10.0
"""Between two probes lies so many times what the last one took."""
_LEAST_SAMPLE = 3
"""Of so few images nothing follows from all of them missing."""
_MANY = 100
"""Of so many known images more than half do not vanish at a time; see `fpj_worker.indexer`."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0


class Breaker:
    """Counts faults, and says when a probe is due. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._waited_for = False
        self._not_before = float("-inf")

    def went_well(self) -> None:
        """An image was made."""
        self._in_a_row = 0

    def fault(self, *, last: bool) -> None:
        """An image met a fault that may be the environment's; ``last`` says that it has no tries
        left.
        """
        self._in_a_row += 1
        self._waited_for = self._waited_for or last

    def asks(self, now: float) -> bool:
        """Whether a probe is due."""
        return (self._waited_for or self._in_a_row >= IN_A_ROW) and now >= self._not_before

    def was_well(self, now: float, took: float) -> None:
        """A probe of so many seconds found nothing: the faults so far are the images' own."""
        self._in_a_row, self._waited_for = 0, False
        self._not_before = now + max(_LEAST_SECONDS, _SHARE * took)


class Outage:
    """How long to wait for an environment that does not work.

    ``limit`` in seconds bounds one outage.

    It has ended once an image is made: a probe alone may be wrong.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._until = float("-inf")
        self._done = -1
        self._tries = 0

    def begin(self, now: float, done: int) -> None:
        """A fault stopped the work, with so many images done."""
        if done != self._done:
            self._done, self._until, self._tries = done, now + self._limit, 0

    def left(self, now: float) -> float:
        """Seconds until it is given up."""
        return max(self._until - now, 0.0)

    def pause(self) -> float:
        """Seconds until the next probe: longer from one to the next."""
        self._tries += 1
        return float(min(_FIRST_PAUSE * 2.0 ** (self._tries - 1), _LONGEST_PAUSE))


def common_fault(answers: Sequence[ImageError | None], known: int) -> ImageError | None:
    """What befell the images of a sample, if it befell so many that it is not theirs.

    ``known`` counts all images.
    """
    bad = [
        each
        for each in answers
        if each is not None and may_be_environment(each.error_type, each.environment)
    ]
    if not bad:
        return None
    missing = [
        each for each in bad if each.error_type is ErrorType.NOT_FOUND and not each.environment
    ]
    half = len(bad) * 2 > len(answers)
    if len(missing) < len(bad):
        return next(each for each in bad if each not in missing) if half else None
    all_gone = len(bad) == len(answers) >= _LEAST_SAMPLE
    return bad[0] if all_gone or (half and known >= _MANY) else None
