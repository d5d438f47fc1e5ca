"""Derivatives as columns of numbers: 20 bytes each, so ten million fit into 200 MB.

Only an ordinal or a size of 4 GiB and more makes a row 28 bytes long.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence

_NARROW = 2**32 - 1
_FEW = 16_384
"""Rows that are sorted in one step, with Python's own numbers: some 200 bytes for each."""
_PARTS = 4_096
"""Into so many parts more rows are divided first."""

Names = Sequence[tuple[str, str]]
"""By group, its collection and tier."""
_Keys = Callable[[Iterable[int]], Iterator[int]]
"""The keys of rows."""


class Rows:
    """Rows of (priority, group, ordinal, bytes). A priority is a number from 0 on."""

    def __init__(self) -> None:
        self.priorities = array("d")
        self.groups = array("I")
        self.ordinals = array("I")
        self.sizes = array("I")

    def __len__(self) -> int:
        return len(self.groups)

    def add(self, priority: float, group: int, ordinal: int, size: int) -> None:
        """Append a row."""
        if ordinal > _NARROW or size > _NARROW:
            self._widen()
        self.priorities.append(priority)
        self.groups.append(group)
        self.ordinals.append(ordinal)
        self.sizes.append(size)

    def ordered(self, names: Names) -> Iterator[int]:
        """Numbers of all rows by priority, collection, ordinal and tier, whatever their order here.

        Lazy: who needs the first few pays for little more. Nothing may be added meanwhile.
        """
        bits = _bits(self.priorities)
        collections = _ranks([collection for collection, _ in names])
        tiers = _ranks([tier for _, tier in names])
        groups, ordinals = self.groups, self.ordinals
        keys: tuple[_Keys, ...] = (
            lambda rows: map(bits.__getitem__, rows),
            lambda rows: map(collections.__getitem__, map(groups.__getitem__, rows)),
            lambda rows: map(ordinals.__getitem__, rows),
            lambda rows: map(tiers.__getitem__, map(groups.__getitem__, rows)),
        )
        return _ordered(range(len(self)), keys)

    def edge(self, need: int) -> float:
        """A priority below or at which rows hold ``need`` bytes: the lowest one, roughly.

        Infinity if all hold fewer. A part of 65,536 is not divided, so it may be a little high.
        """
        bits = _bits(self.priorities)
        low, high = min(bits, default=0), max(bits, default=0)
        shift = max((high - low).bit_length() - 16, 0)
        sums = [0] * (((high - low) >> shift) + 1)
        for key, size in zip(bits, self.sizes, strict=True):
            sums[(key - low) >> shift] += size
        for number, size in enumerate(sums):
            need -= size
            if need <= 0:
                return _number(min(low + ((number + 1) << shift) - 1, high))
        return float("inf")

    def forget(self, edge: float, whole: Sequence[bool]) -> None:
        """Drop the rows above the edge, but none of the groups that are to stay ``whole``."""
        kept, columns = 0, (self.priorities, self.groups, self.ordinals, self.sizes)
        priorities, groups, ordinals, sizes = columns
        for row in zip(*columns, strict=True):  # in place: two copies could be too large
            if row[0] <= edge or whole[row[1]]:
                priorities[kept], groups[kept], ordinals[kept], sizes[kept] = row
                kept += 1
        for column in columns:
            del column[kept:]

    def _widen(self) -> None:
        if self.sizes.typecode == "I":
            self.ordinals, self.sizes = array("Q", self.ordinals), array("Q", self.sizes)


def _ordered(rows: Sequence[int], keys: Sequence[_Keys]) -> Iterator[int]:
    """The rows by the first key, those that share it by the next: a radix sort.

    It goes from the top, and needs 4 bytes a row. Each level divides what is left by 4,096, so it
    is a few levels deep.
    """
    if len(rows) <= _FEW or not keys:
        yield from _sorted(rows, keys)
        return
    low, high = min(keys[0](rows)), max(keys[0](rows))
    if low == high:
        yield from _ordered(rows, keys[1:])
        return
    shift = max((high - low).bit_length() - _PARTS.bit_length() + 1, 0)
    parts = [array("I") for _ in range(((high - low) >> shift) + 1)]
    for row, key in zip(rows, keys[0](rows), strict=True):
        parts[(key - low) >> shift].append(row)
    del rows
    parts.reverse()
    while parts:  # each is forgotten once it is done
        yield from _ordered(parts.pop(), keys)


def _sorted(rows: Sequence[int], keys: Sequence[_Keys]) -> list[int]:
    first = dict(zip(keys[0](rows), rows, strict=True)) if keys else {}
    if len(first) == len(rows):  # no ties: the others need not be looked up
        return [first[key] for key in sorted(first)]
    keyed = zip(*(key(rows) for key in keys), rows, strict=True)
    return [each[-1] for each in sorted(keyed)]


def _bits(priorities: array[float]) -> memoryview[int]:
    """The numbers' bits (IEEE 754) as integers, which have the same order: none is negative."""
    return memoryview(priorities).cast("B").cast("q")


def _number(bits: int) -> float:
    """The number that has these bits."""
    return array("d", array("q", [bits]).tobytes())[0]


def _ranks(names: Sequence[str]) -> list[int]:
    rank = {name: number for number, name in enumerate(sorted(set(names)))}
    return [rank[name] for name in names]
