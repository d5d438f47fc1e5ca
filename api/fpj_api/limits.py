"""How much there may be, in all and for each user: streams, and requests that cost much."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fpj_api import metrics
from fpj_api.buckets import Buckets
from fpj_api.problems import ProblemError

MOST_PER_USER = 10
BURST, PER_SECOND = 60, 2.0
"""Requests that cost much, of one user."""
_SHARE = 4
"""No namespace's service accounts have more than one part of so many of the streams.

As much is kept for newcomers.
"""
_ACCOUNTS = "system:serviceaccount:"
_MOST_USERS = 2_000
_AGAIN = {"Retry-After": "10"}


class StreamLimits:
    """Counts what is open."""

    def __init__(self, most: int) -> None:
        self._most, self._part = most, most // _SHARE
        self._open: Counter[str] = Counter()
        self._owners: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many streams are open."""
        return self._open.total()

    @contextmanager
    def one(self, user: str) -> Iterator[None]:
        """While a stream is open. Raises a problem (429) where there are too many."""
        owner = _owner(user)
        self._check(user, owner)
        self._open[user] += 1
        self._owners[owner] += 1
        metrics.STREAMS.set(self.open)
        try:
            yield
        finally:
            for counted, key in ((self._open, user), (self._owners, owner)):
                counted[key] -= 1
                if not counted[key]:
                    del counted[key]
            metrics.STREAMS.set(self.open)

    def _check(self, user: str, owner: str) -> None:
        if self.open >= self._most:
            raise _too_many(f"the limit of {self._most} open streams is reached")
        if self._open[user] >= MOST_PER_USER:
            raise _too_many(f"{user} has {MOST_PER_USER} streams open, the most for one user")
        if owner != user and self._owners[owner] >= max(self._part, MOST_PER_USER):
            raise _too_many(
                f"service accounts of namespace {owner} have {self._owners[owner]} streams open,"
                " the most"
            )
        if self._open[user] and self.open >= self._most - self._part:
            raise _too_many(
                f"nearly all of {self._most} streams are open: the rest is for users without one"
            )


class CallLimits:
    """Requests that cost much: so many at once, so many a second, of each user."""

    def __init__(self) -> None:
        self._buckets = Buckets(BURST, PER_SECOND, _MOST_USERS)

    def take(self, user: str, cost: float = 1.0) -> None:
        """Count a request. Raises a problem (429) where there are too many."""
        bucket = self._buckets.of(user)
        if not bucket.take(cost):
            again = {"Retry-After": str(math.ceil(bucket.seconds(cost)))}
            raise ProblemError(
                429, f"too many requests of this kind by {user}; try again later", headers=again
            )


class Underway:
    """Bulk operations that are being made: one request at a time for each."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    @contextmanager
    def one(self, bulk: str) -> Iterator[None]:
        """While it is made. Raises a problem (409) where another request makes it."""
        if bulk in self._ids:
            raise ProblemError(
                409, "another request with this idempotency key is underway", headers=_AGAIN
            )
        self._ids.add(bulk)
        try:
            yield
        finally:
            self._ids.discard(bulk)


def _owner(user: str) -> str:
    """Whose a user is: a namespace's, for a service account,
    of which somebody may create as many as they like.
    """
    return user.removeprefix(_ACCOUNTS).partition(":")[0] if user.startswith(_ACCOUNTS) else user


def _too_many(detail: str) -> ProblemError:
    return ProblemError(429, detail, headers=_AGAIN)
