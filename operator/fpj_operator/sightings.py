"""How long a Lease has stood as it is, by this process's own clock.

As in client-go: a Lease's ``renewTime`` is another host's wall clock, and is compared with nothing
but itself. Whoever wants to judge a Lease looks at it again and again, and counts from the moment
at which it first saw it as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

# It goes on while the machine sleeps.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Seconds that only rise, whatever is done to the wall clock."""
    return time.clock_gettime(_CLOCK)


class Sightings:
    """Remembers each Lease that it is asked about until `forget`."""

    def __init__(self, clock: Callable[[], float] = steady) -> None:
        self._clock = clock
        self._seen: dict[Hashable, tuple[Hashable, float]] = {}

    def knows(self, name: Hashable) -> bool:
        """Whether the Lease has been seen before."""
        return name in self._seen

    def left(self, name: Hashable, spec: Mapping[str, Any], least: float = 0.0) -> float:
        """Seconds until the Lease lapses unless it changes; 0 once it has.

        It lasts for ``least`` seconds or longer.
        """
        state = tuple(
            str(spec.get(field)) for field in ("holderIdentity", "renewTime", "leaseTransitions")
        )
        known, since = self._seen.get(name, (None, 0.0))
        if known != state:
            since = self._clock()
            self._seen[name] = (state, since)
        lasts = max(float(spec.get("leaseDurationSeconds") or 0), least)
        return max(since + lasts - self._clock(), 0.0)

    def stood(self, name: Hashable) -> float | None:
        """Seconds since the Lease was first seen as it last was; None for one that is not known."""
        return self._clock() - self._seen[name][1] if name in self._seen else None

    def forget(self, name: Hashable) -> None:
        """Nobody holds it."""
        self._seen.pop(name, None)
