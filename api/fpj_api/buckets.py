"""Token buckets: so much at once, so much a second."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Bucket:
    """Holds ``most`` tokens at most; ``per_second`` come back."""

    __slots__ = ("_at", "_clock", "_left", "_most", "_per_second")

    def __init__(
        self, most: float, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._per_second, self._clock = most, per_second, clock
        self._left, self._at = most, clock()

    def take(self, amount: float = 1.0) -> bool:
        """Whether there were enough; then they are gone."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def give_back(self, amount: float = 1.0) -> None:
        """What was taken was not needed."""
        self._left = min(self._most, self._left + amount)

    def seconds(self, amount: float = 1.0) -> float:
        """How long until there are enough, if nobody takes any."""
        return max(0.0, (amount - self._left) / self._per_second)


class Buckets:
    """A bucket for each of the ``kept`` keys that were used last.

    Of a key that comes back later it is full.
    """

    def __init__(
        self, most: float, per_second: float, kept: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._per_second, self._kept, self._clock = most, per_second, kept, clock
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, key: Hashable) -> Bucket:
        """Its bucket."""
        found = self._buckets.get(key)
        if found is None:
            found = self._buckets[key] = Bucket(self._most, self._per_second, self._clock)
            if len(self._buckets) > self._kept:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return found
