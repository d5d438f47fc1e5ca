"""Counting again what counters say: images and derivatives of a collection, window by window.

Counters are kept beside the records as these are written, so that totals cost the same however many
records there are. In SQLite both change in one transaction. In MongoDB they change one after the
other: a writer that dies in between, or loses its connection, leaves its batch uncounted. So
counters can be verified and repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

Amount = tuple[int, int]
"""(files, bytes)."""

Place = tuple[str, str]
"""(folder, tier) of derivatives; two empty texts stand for the images themselves,
with the bytes of their sources.
"""

IMAGES: Place = ("", "")
_WINDOW = 5_000
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Drift:
    """A counter that is wrong: ``recorded`` is what it says, ``counted`` what there is.

    ``folder`` and ``tier`` are empty for the collection's images.
    """

    collection: str
    folder: str
    tier: str
    recorded: Amount
    counted: Amount


@dataclass(frozen=True, slots=True)
class CounterCheck:
    """What came of one collection.

    ``busy`` says that its records changed while they were counted: check it again when no job works
    on it.
    """

    collection: str
    drifts: tuple[Drift, ...] = ()
    busy: bool = False


class Counted(Protocol):
    """What a store must offer for its counters to be checked."""

    def counted_collections(self) -> list[str]:
        """Every collection that has images, derivatives or counters."""

    def recorded_amounts(self, collection: str) -> dict[Place, Amount]:
        """What the counters say; those that are zero may be left out."""

    def last_ordinal(self, collection: str) -> int:
        """The highest ordinal of an image or derivative; -1 where there is none."""

    def count_window(self, collection: str, start: int, stop: int) -> dict[Place, Amount]:
        """What there is with ``start <= ordinal < stop``."""

    def set_amount(self, collection: str, place: Place, recorded: Amount, counted: Amount) -> bool:
        """Set a counter that still says ``recorded``; whether it did."""


def check(
    store: Counted, collection: str | None, on_step: Callable[[], None], *, repair: bool
) -> Iterator[CounterCheck]:
    """Count one collection, or all; with ``repair`` set what is wrong.

    Memory does not grow with the records.
    """
    for each in store.counted_collections() if collection is None else [collection]:
        on_step()
        yield _check(store, each, on_step, repair=repair)


def _check(
    store: Counted, collection: str, on_step: Callable[[], None], *, repair: bool
) -> CounterCheck:
    for _ in range(_TRIES):
        recorded = _without_zeros(store.recorded_amounts(collection))
        counted = _count(store, collection, on_step)
        if recorded != _without_zeros(store.recorded_amounts(collection)):
            continue
        drifts = tuple(_drifts(collection, recorded, counted))
        if not repair or all(
            store.set_amount(collection, (d.folder, d.tier), d.recorded, d.counted) for d in drifts
        ):
            return CounterCheck(collection, drifts)
    return CounterCheck(collection, busy=True)


def _count(store: Counted, collection: str, on_step: Callable[[], None]) -> dict[Place, Amount]:
    counted: dict[Place, Amount] = {}
    for start in range(0, store.last_ordinal(collection) + 1, _WINDOW):
        add(counted, store.count_window(collection, start, start + _WINDOW))
        on_step()
    return counted


def _drifts(
    collection: str, recorded: Mapping[Place, Amount], counted: Mapping[Place, Amount]
) -> Iterator[Drift]:
    for place in sorted({*recorded, *counted}):
        said, found = recorded.get(place, (0, 0)), counted.get(place, (0, 0))
        if said != found:
            yield Drift(collection, *place, said, found)


def add(to: dict[Place, Amount], other: Mapping[Place, Amount], sign: int = 1) -> None:
    """Add (or, with -1, subtract) amounts place by place."""
    for place, (files, size) in other.items():
        had = to.get(place, (0, 0))
        to[place] = (had[0] + sign * files, had[1] + sign * size)


def _without_zeros(amounts: Mapping[Place, Amount]) -> dict[Place, Amount]:
    return {place: amount for place, amount in amounts.items() if amount != (0, 0)}
