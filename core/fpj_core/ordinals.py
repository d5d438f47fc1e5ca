"""A set of ordinals in about one bit each: 50 million images are 7 MB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_BITS = 8_192
"""Ordinals of a chunk.

Chunks without any take no memory, so a few ordinals may be as large as they like.
"""
_BYTES = _BITS // 8
_OFFSETS = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))
"""By the value of a byte, which of its bits are set."""


class Ordinals:
    """Ordinals from 0 on, each once. They are iterated ascending."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}

    def __len__(self) -> int:
        return sum(int.from_bytes(chunk, "little").bit_count() for chunk in self._chunks.values())

    def __contains__(self, ordinal: int) -> bool:
        chunk = self._chunks.get(ordinal // _BITS)
        return chunk is not None and bool(chunk[ordinal % _BITS >> 3] & 1 << (ordinal & 7))

    def __iter__(self) -> Iterator[int]:
        for number in sorted(self._chunks):
            for at, byte in enumerate(self._chunks[number], number * _BYTES):
                for bit in _OFFSETS[byte]:
                    yield 8 * at + bit

    def add(self, ordinals: Iterable[int]) -> None:
        """Add all of them. A range is cheap, however long."""
        if isinstance(ordinals, range) and ordinals.step == 1:
            self._fill(ordinals.start, ordinals.stop)
            return
        first, chunk = -_BITS, bytearray()
        for ordinal in ordinals:
            if not 0 <= ordinal - first < _BITS:
                first = ordinal - ordinal % _BITS
                chunk = self._chunk(ordinal // _BITS)
            chunk[ordinal - first >> 3] |= 1 << (ordinal & 7)

    def count(self, start: int, stop: int) -> int:
        """How many there are with ``start <= ordinal < stop``."""
        return sum(
            (int.from_bytes(self._chunks[number], "little") & mask).bit_count()
            for number, mask in _masks(start, stop)
            if number in self._chunks
        )

    def _fill(self, start: int, stop: int) -> None:
        for number, mask in _masks(start, stop):
            chunk = self._chunk(number)
            chunk[:] = (int.from_bytes(chunk, "little") | mask).to_bytes(_BYTES, "little")

    def _chunk(self, number: int) -> bytearray:
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks[number] = bytearray(_BYTES)
        return chunk


def _masks(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The chunks that a range touches, each with the bits of those ordinals that lie in it."""
    while start < stop:
        number, first = divmod(start, _BITS)
        last = min(stop - number * _BITS, _BITS)
        yield number, (1 << last) - (1 << first)
        start = (number + 1) * _BITS
