"""The contract of room in a cache folder that has a limit: it is reserved before files are made.

What the folder holds by its records, what is being removed from it, and what everyone has reserved
never exceed its `Folder.max_bytes` by a reservation. So files that are made before they are
recorded cannot fill it beyond that, by more than what a holder makes above its own estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fpj_core.store.counters import Amount

RESERVED_SECONDS = 120.0
"""So long a reservation counts that its holder does not make again: it may have been killed."""


@dataclass(frozen=True, slots=True)
class Room:
    """What came of a reservation, in bytes.

    ``used`` is what the folder holds, with what is being removed; ``reserved`` what others have
    reserved. ``limit`` is None for a folder without one.
    """

    granted: bool
    limit: int | None
    used: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Content:
    """A derivative in a folder, as far as eviction asks."""

    ordinal: int
    tier: str
    bytes: int
    cost_ms: int
    created_at: float


class Reservations(Protocol):
    """What a store knows of the room in folders."""

    def reserve(self, folder: str, holder: str, size: int) -> Room:
        """Reserve so many bytes for ``holder``, in place of what it has reserved before.

        Where they do not fit, its earlier reservation stays. 0 gives it back. Two that ask at the
        same time may both be refused, and are never both granted what fits only once.
        """

    def folder_amounts(self, folder: str) -> dict[tuple[str, str], Amount]:
        """By collection and tier, what a folder holds, from counters."""

    def contents(
        self, folder: str, collection: str, on_step: Callable[[], None]
    ) -> Iterator[Content]:
        """What a folder holds of a collection, streamed.

        ``on_step`` is called every few thousand derivatives, also while none is in the folder.
        """


def room(limit: int | None, used: int, reserved: int, size: int) -> Room:
    """What comes of a wish for ``size`` bytes."""
    fits = limit is None or size == 0 or used + reserved + size <= limit
    return Room(fits, limit, used, reserved)
