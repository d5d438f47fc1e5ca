"""Comparing what is recorded of a cache folder with what is found in it. Pure.

Both come in one order, and memory does not grow with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fpj_core.folders.walking import Entry, order_of


class Kind(StrEnum):
    """How a record and what is found differ."""

    MISSING = "Missing"
    """There is a record, and no file."""
    WRONG_SIZE = "WrongSize"
    """The file has another size than its record."""
    UNRECORDED = "Unrecorded"
    """A file that fpj may have written has no record."""
    LEAVING = "Leaving"
    """A file that is to be removed, and is there yet."""
    FOREIGN = "Foreign"
    """What fpj has not written. Nothing touches it."""
    UNREADABLE = "Unreadable"
    """Nobody can say what is there."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A file that should be there.

    ``leaving`` says that it is to be removed; ``borrowed`` that another cache folder at the same
    place records it, which has to say itself whether it is missing.
    """

    path: str
    size: int
    ordinal: int
    tier: str
    leaving: bool = False
    borrowed: bool = False

    @property
    def order(self) -> tuple[bytes, bool, bool]:
        """Records ascend by this: of several of one path, one that keeps the file comes first."""
        return order_of(self.path), self.leaving, self.borrowed


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the two differ.

    ``record`` is None for what has none, ``size`` for a link, a socket or a folder.
    """

    kind: Kind
    path: str
    size: int | None
    record: Recorded | None = None
    modified: float = 0.0
    trouble: str = ""


def compare(recorded: Iterable[Recorded], found: Iterable[Entry]) -> Iterator[Difference | None]:
    """The differences, ascending, and None for each file that is as recorded.

    ``recorded`` ascends by `Recorded.order`, ``found`` by `Entry.order`. What has no record is
    `Kind.FOREIGN` here: whether it is `Kind.UNRECORDED`, the path must tell.
    """
    records = iter(recorded)
    waiting = next(records, None)
    unknown: str | None = None  # what is in this folder
    for entry in found:
        while waiting is not None and order_of(waiting.path) < entry.order:
            yield from _lacking(waiting, unknown)
            waiting = next(records, None)
        if entry.trouble:
            unknown = entry.path
            yield Difference(Kind.UNREADABLE, entry.path, None, trouble=entry.trouble)
            continue
        matched = False
        while waiting is not None and waiting.path == entry.path:
            if not matched or not waiting.leaving:
                yield _of_both(waiting, entry)
            matched = True
            waiting = next(records, None)
        if not matched or entry.size is None:
            yield Difference(Kind.FOREIGN, entry.path, entry.size, modified=entry.modified)
    while waiting is not None:
        yield from _lacking(waiting, unknown)
        waiting = next(records, None)


def _lacking(record: Recorded, unknown: str | None) -> Iterator[Difference]:
    """One for which nothing was found. Nothing was looked for below ``unknown``."""
    if unknown is not None and _is_in(record.path, unknown):
        return
    if not record.leaving and not record.borrowed:
        yield Difference(Kind.MISSING, record.path, record.size, record)


def _is_in(path: str, place: str) -> bool:
    return path == place or ((not place or place.endswith("/")) and path.startswith(place))


def _of_both(record: Recorded, entry: Entry) -> Difference | None:
    if record.borrowed:
        return None
    if entry.size is None:
        return None if record.leaving else Difference(Kind.MISSING, entry.path, record.size, record)
    if record.leaving:
        return Difference(Kind.LEAVING, entry.path, entry.size, record)
    if entry.size != record.size:
        return Difference(Kind.WRONG_SIZE, entry.path, entry.size, record, entry.modified)
    return None
