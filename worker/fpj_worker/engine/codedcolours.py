"""How a coded picture itself says what its samples stand for: AV1 (its specification,
5.5) and HEVC (H.265, 7.3).

A file's boxes need not repeat it, and its decoders do not pass it on.
"""

from __future__ import annotations

from collections.abc import Iterator

Numbers = tuple[int, int]
"""Colour primaries and transfer characteristics (ITU-T H.273, tables 2 and 3)."""

_SEQUENCE_HEADER = 1
"""Type of an OBU (AV1, 6.2.2)."""
_SPS = 33
"""Type of a NAL unit (H.265, table 7-1)."""
_MOST_UNITS = 64
_MOST_SETS = 64
"""Reference picture sets (H.265, 7.4.3.2.1), and pictures in each with room to spare."""
_EXTENDED_SAR = 255


class _Bits:
    """Bits from the most significant on. Raises IndexError behind the last."""

    def __init__(self, content: bytes) -> None:
        self._number = int.from_bytes(content, "big")
        self._left = len(content) * 8

    def take(self, count: int) -> int:
        if count > self._left:
            raise IndexError("the header ends early")
        self._left -= count
        return self._number >> self._left & (1 << count) - 1

    def flag(self) -> bool:
        return bool(self.take(1))

    def ue(self) -> int:
        """An Exp-Golomb code (H.265, 9.2; AV1, 4.10.3)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise IndexError("no number is as large")
        return (1 << zeros) - 1 + self.take(zeros)

    def skip_codes(self, count: int) -> None:
        for _ in range(count):
            self.ue()


def of_av1(data: bytes) -> Numbers | None:
    """What the sequence header among the first OBUs says.

    None if there is none, or it says nothing.
    """
    try:
        return next(
            (
                _sequence(_Bits(content))
                for kind, content in _obus(data)
                if kind == _SEQUENCE_HEADER
            ),
            None,
        )
    except IndexError:
        return None


def of_hevc(configuration: bytes) -> Numbers | None:
    """What the sequence parameter set in an ``hvcC`` box says (ISO/IEC 14496-15, 8.3.3.1).

    None as for `of_av1`.
    """
    try:
        return next(
            (_parameters(_Bits(unit)) for kind, unit in _units(configuration) if kind == _SPS), None
        )
    except IndexError:
        return None


# AV1 ----------------------------------------------------------------------------------------------


def _obus(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    for _ in range(_MOST_UNITS):
        if position >= len(data):
            return
        head = data[position]
        position += 2 if head & 4 else 1
        size, shift = len(data) - position, 0
        if head & 2:
            size = 0
            while True:
                byte = data[position]
                position += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80 or shift > 56:
                    break
        yield head >> 3 & 15, data[position : position + size]
        position += size


def _sequence(bits: _Bits) -> Numbers | None:
    profile = bits.take(3)
    bits.take(1)
    reduced = bits.flag()
    if reduced:
        bits.take(5)
    else:
        _skip_operating_points(bits)
    across, down = bits.take(4), bits.take(4)
    bits.take(across + 1 + down + 1)
    if not reduced and bits.flag():
        bits.take(7)
    bits.take(3)
    if not reduced:
        _skip_tools(bits)
    bits.take(3)
    deep = bits.flag()
    if profile == 2 and deep:
        bits.take(1)
    if profile != 1:
        bits.take(1)
    return (bits.take(8), bits.take(8)) if bits.flag() else None


def _skip_operating_points(bits: _Bits) -> None:
    delay = None
    if bits.flag():
        bits.take(64)
        if bits.flag():
            bits.ue()
        if bits.flag():
            delay = bits.take(5) + 1
            bits.take(42)
    displayed = bits.flag()
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay is not None and bits.flag():
            bits.take(2 * delay + 1)
        if displayed and bits.flag():
            bits.take(4)


def _skip_tools(bits: _Bits) -> None:
    bits.take(4)
    ordered = bits.flag()
    if ordered:
        bits.take(2)
    if (bits.flag() or bits.flag()) and not bits.flag():
        bits.take(1)
    if ordered:
        bits.take(3)


# HEVC ---------------------------------------------------------------------------------------------


def _units(configuration: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, content) of the NAL units in the box, without their headers and what keeps start codes
    out of them.
    """
    position = 23
    for _ in range(configuration[22]):
        kind, count = (
            configuration[position] & 63,
            int.from_bytes(configuration[position + 1 : position + 3], "big"),
        )
        position += 3
        for _ in range(min(count, _MOST_UNITS)):
            size = int.from_bytes(configuration[position : position + 2], "big")
            unit = configuration[position + 2 : position + 2 + size]
            position += 2 + size
            yield kind, unit[2:].replace(b"\0\0\3", b"\0\0")


def _parameters(bits: _Bits) -> Numbers | None:
    bits.take(4)
    layers = bits.take(3)
    bits.take(1)
    _skip_profile(bits, layers)
    bits.ue()
    if bits.ue() == 3:
        bits.take(1)
    bits.skip_codes(2)
    if bits.flag():
        bits.skip_codes(4)
    bits.skip_codes(2)
    order = bits.ue() + 4
    bits.skip_codes(3 * (layers + 1 if bits.flag() else 1))
    bits.skip_codes(6)
    if bits.flag() and bits.flag():
        _skip_scaling(bits)
    bits.take(2)
    if bits.flag():
        bits.take(8)
        bits.skip_codes(2)
        bits.take(1)
    _skip_references(bits, order)
    bits.take(2)
    return _usability(bits) if bits.flag() else None


def _skip_profile(bits: _Bits, layers: int) -> None:
    bits.take(96)
    present = [(bits.flag(), bits.flag()) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for profile, level in present:
        bits.take(88 * profile + 8 * level)


def _skip_scaling(bits: _Bits) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if bits.flag():
                bits.skip_codes(min(64, 1 << (4 + 2 * size)) + (size > 1))
            else:
                bits.ue()


def _skip_references(bits: _Bits, order: int) -> None:
    pictures = 0
    for number in range(min(bits.ue(), _MOST_SETS)):
        if number and bits.flag():
            bits.take(1)
            bits.ue()
            pictures = sum(bits.flag() or bits.flag() for _ in range(pictures + 1))
            continue
        pictures = bits.ue() + bits.ue()
        for _ in range(min(pictures, _MOST_SETS)):
            bits.ue()
            bits.take(1)
    if bits.flag():
        for _ in range(min(bits.ue(), _MOST_SETS)):
            bits.take(order + 1)


def _usability(bits: _Bits) -> Numbers | None:
    """Video usability information (H.265, E.2.1), as far as is needed."""
    if bits.flag() and bits.take(8) == _EXTENDED_SAR:
        bits.take(32)
    if bits.flag():
        bits.take(1)
    if not bits.flag():
        return None
    bits.take(4)
    return (bits.take(8), bits.take(8)) if bits.flag() else None
