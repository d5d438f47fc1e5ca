"""How many streams there may be, in all and for each user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fpj_api import metrics
from fpj_api.problems import ProblemError

MOST_PER_USER = 10
_AGAIN = {"Retry-After": "10"}


class StreamLimits:
    """Counts what is open."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, user: str) -> Iterator[None]:
        """While a stream is open. Raises a problem (429) where there are too many."""
        if self._open.total() >= self._most:
            raise ProblemError(429, f"{self._most} streams are open, which is all there may be", headers=_AGAIN)
        if self._open[user] >= MOST_PER_USER:
            raise ProblemError(429, f"{user} has {MOST_PER_USER} streams open, which is all one may", headers=_AGAIN)
        self._open[user] += 1
        metrics.STREAMS.set(self._open.total())
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]
            metrics.STREAMS.set(self._open.total())
