"""Reading a TIFF's directories (TIFF 6.0, and BigTIFF) without decoding it,
to refuse what would be shown wrongly.

libvips decodes more than it can show: floating point of unknown range comes out black or white,
YCbCr comes out as RGB, and a camera raw file gives whatever stands first in it, often a small
preview.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fpj_core.errors import ErrorType, ImageError
from fpj_worker.engine.reading import Read

_SUBFILE_TYPE, _BITS, _COMPRESSION, _PHOTOMETRIC, _MAKE, _SAMPLES = 254, 258, 259, 262, 271, 277
_WIDTH, _TILE_WIDTH, _TILE_LENGTH, _SUB_DIRECTORIES, _INK_SET, _EXTRA, _SAMPLE_FORMAT = (
    256,
    322,
    323,
    330,
    332,
    338,
    339,
)
_PLANES, _SEPARATE = 284, 2
_CFA_DIMENSIONS, _CFA_PATTERN, _LEAF_DATA, _DNG_VERSION = 33421, 33422, 34310, 50706
_KNOWN_TAGS = frozenset(
    (
        _SUBFILE_TYPE,
        _BITS,
        _COMPRESSION,
        _PHOTOMETRIC,
        _MAKE,
        _SAMPLES,
        _WIDTH,
        _TILE_WIDTH,
        _TILE_LENGTH,
    )
    + (
        _PLANES,
        _SUB_DIRECTORIES,
        _INK_SET,
        _EXTRA,
        _SAMPLE_FORMAT,
        _CFA_DIMENSIONS,
        _CFA_PATTERN,
        _LEAF_DATA,
        _DNG_VERSION,
    )
)
_RAW_TAGS = frozenset({_CFA_DIMENSIONS, _CFA_PATTERN, _LEAF_DATA, _DNG_VERSION})
_RAW_PHOTOMETRICS = frozenset({32803, 34892})  # colour filter array, linear raw
# Sony, packed, Samsung, Nikon, Kodak, Pentax.
_RAW_COMPRESSIONS = frozenset({32767, 32769, 32770, 34713, 65000, 65535})

_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50001})
"""None, CCITT RLE, group 3 and 4, LZW, JPEG, Deflate (two numbers), PackBits, WebP:
what the libvips wheel decodes.
"""
_COMPRESSION_NAMES = {
    6: "old-style JPEG",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50000: "Zstandard",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_JPEG = 7
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
"""Samples of a pixel by photometric interpretation: grey (twice), RGB, palette, CMYK, YCbCr."""
_PALETTE, _SEPARATED, _YCBCR = 3, 5, 6
_PHOTOMETRIC_NAMES = {4: "a transparency mask", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*"}
_UNSIGNED = frozenset({1, 4})  # SampleFormat: unsigned integers, undefined
_UNSPECIFIED, _ALPHA = 0, 2  # ExtraSamples

_INTEGERS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}
_TEXT = 2
MOST_ENTRIES = 4096
_MOST_VALUES = 16
_MOST_DIRECTORIES = 24

_Directory = dict[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """``shown`` is how many bands to keep, or None for all.

    ``tile_row`` is the bytes of one row of tiles, decoded.
    """

    shown: int | None
    tile_row: int


def read_header(read: Read) -> TiffHeader:
    """What the first image needs. Raises `ImageError`: UnsupportedFormat, CorruptImage."""
    order, big, offset = start(read(0, 16))
    first, following = _directory(read, order, offset, big=big)
    if _is_raw(read, order, first, following, big=big):
        raise ImageError(ErrorType.UNSUPPORTED_FORMAT, "camera raw images cannot be read")
    return _supported(first)


def start(head: bytes) -> tuple[str, bool, int]:
    """(byte order, whether it is a BigTIFF, offset of the first directory).

    Raises `ImageError`: UnsupportedFormat, CorruptImage.
    """
    order = "<" if head[:2] == b"II" else ">"
    if (
        head[8:11] == b"CR\x02"
        or (head[8:12], head[13:16]) == (b"IIII", b"waR")
        or (head[8:12], head[12:15]) == (b"MMMM", b"Raw")
    ):
        # Canon, Phase One.
        raise ImageError(ErrorType.UNSUPPORTED_FORMAT, "camera raw images cannot be read")
    try:
        (version,) = struct.unpack_from(f"{order}H", head, 2)
        (offset,) = (
            struct.unpack_from(f"{order}Q", head, 8)
            if version == 43
            else struct.unpack_from(f"{order}L", head, 4)
        )
    except struct.error:
        raise _ends_early() from None
    return order, version == 43, offset


def _directory(read: Read, order: str, offset: int, *, big: bool) -> tuple[_Directory, int]:
    """(known tags to their first values, offset of the next directory or 0)."""
    count_format, entry_size, offset_format = ("Q", 20, "Q") if big else ("H", 12, "L")
    count_size, offset_size = (8, 8) if big else (2, 4)
    try:
        (count,) = struct.unpack(order + count_format, read(offset, count_size))
        if not 0 < count <= MOST_ENTRIES:
            raise ImageError(ErrorType.CORRUPT_IMAGE, f"a TIFF directory of {count:,} entries")
        content = read(offset + count_size, count * entry_size + offset_size)
        found = {}
        for start in range(0, count * entry_size, entry_size):
            tag, kind, number = struct.unpack_from(f"{order}HH{offset_format}", content, start)
            if tag in _KNOWN_TAGS:
                at = start + entry_size - offset_size
                found[tag] = _values(
                    read, order + offset_format, kind, number, content[at : at + offset_size]
                )
        following = content[count * entry_size :]
        return found, struct.unpack(order + offset_format, following)[0] if len(
            following
        ) == offset_size else 0
    except struct.error:
        raise _ends_early() from None


def _values(read: Read, offset_format: str, kind: int, count: int, field: bytes) -> tuple[int, ...]:
    """The first integers of an entry; they stand in its field, or elsewhere if that is too small.

    Text counts as 1.
    """
    if kind not in _INTEGERS:
        return (1,) if kind == _TEXT else ()
    code = _INTEGERS[kind]
    size = struct.calcsize(f"={code}")
    shown = min(count, _MOST_VALUES)
    if count * size > len(field):
        field = read(struct.unpack(offset_format, field)[0], shown * size)
    return struct.unpack_from(f"{offset_format[0]}{shown}{code}", field)


def _is_raw(read: Read, order: str, first: _Directory, following: int, *, big: bool) -> bool:
    """Whether any directory holds undeveloped sensor data,
    or the first is a camera's preview of something else.
    """
    if _SUB_DIRECTORIES in first and _MAKE in first and first.get(_SUBFILE_TYPE, (0,))[:1] == (1,):
        return True
    directories = _directories(read, order, first, following, big=big)
    return any(
        not _RAW_TAGS.isdisjoint(each)
        or not _RAW_PHOTOMETRICS.isdisjoint(each.get(_PHOTOMETRIC, ()))
        or not _RAW_COMPRESSIONS.isdisjoint(each.get(_COMPRESSION, ()))
        for each in directories
    )


def _directories(
    read: Read, order: str, first: _Directory, following: int, *, big: bool
) -> Iterator[_Directory]:
    """The first directory, then its sub-directories and those that follow,
    damaged ones left out.
    """
    yield first
    waiting = [*first.get(_SUB_DIRECTORIES, ()), following]
    for _ in range(_MOST_DIRECTORIES):
        offset = next((each for each in waiting if each), 0)
        if not offset:
            return
        waiting = waiting[waiting.index(offset) + 1 :]
        try:
            found, after = _directory(read, order, offset, big=big)
        except ImageError:
            continue
        yield found
        waiting += [*found.get(_SUB_DIRECTORIES, ()), after]


def _supported(tags: _Directory) -> TiffHeader:
    compression = _first(tags, _COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        name = _COMPRESSION_NAMES.get(compression, f"number {compression}")
        raise _unsupported(f"TIFF compression {name}")
    samples = _first(tags, _SAMPLES, 1)
    photometric = _first(tags, _PHOTOMETRIC, 2 if samples >= 3 else 1)
    if photometric not in _COLOURS:
        raise _unsupported(
            f"TIFF images in {_PHOTOMETRIC_NAMES.get(photometric, f'colour space {photometric}')}"
        )
    if photometric == _YCBCR and compression != _JPEG:
        raise _unsupported("TIFF images in YCbCr, but for those compressed as JPEG,")
    if not _UNSIGNED.issuperset(tags.get(_SAMPLE_FORMAT, ())):
        raise _unsupported("TIFF samples in floating point, signed or complex numbers")
    colours = _COLOURS[photometric]
    bits = set(tags.get(_BITS, (1,)))
    allowed = (
        {8, 16} if samples > 1 else {1, 2, 4, 8} if photometric == _PALETTE else {1, 2, 4, 8, 16}
    )
    if len(bits) != 1 or not bits <= allowed:
        raise _unsupported(
            f"TIFF samples of {' and '.join(map(str, sorted(bits)))} bits in {samples} bands"
        )
    if samples < colours or (photometric == _SEPARATED and _first(tags, _INK_SET, 1) != 1):
        raise _unsupported("TIFF images in other inks than CMYK")
    if samples > 1 and _first(tags, _PLANES, 1) == _SEPARATE:
        _refuse_planes(tags, colours)
    if photometric == _PALETTE and samples > 1:
        raise _unsupported("TIFF palettes with further bands")
    return TiffHeader(_shown(tags, samples, colours), _tile_row(tags, samples, max(bits)))


def _refuse_planes(tags: _Directory, colours: int) -> None:
    if tags.get(_TILE_WIDTH):
        raise _unsupported("TIFF tiles in separate planes")
    if colours == 1:  # libvips mixes up the lines of a strip
        raise _unsupported("TIFF images of grey and further bands in separate planes")


def _shown(tags: _Directory, samples: int, colours: int) -> int | None:
    """Colours, and alpha where the first further sample is said to be that,
    or is the only one and nothing is said.
    """
    if samples == colours:
        return None
    extra = _first(tags, _EXTRA, _UNSPECIFIED if samples > colours + 1 else _ALPHA)
    return colours if extra == _UNSPECIFIED else colours + 1


def _tile_row(tags: _Directory, samples: int, bits: int) -> int:
    across = _first(tags, _TILE_WIDTH, 0)
    if not across:
        return 0
    columns = -(-_first(tags, _WIDTH, 0) // across)
    return columns * across * _first(tags, _TILE_LENGTH, 0) * samples * max(bits, 8) // 8


def _first(tags: _Directory, tag: int, default: int) -> int:
    return (*tags.get(tag, ()), default)[0]


def _unsupported(what: str) -> ImageError:
    return ImageError(ErrorType.UNSUPPORTED_FORMAT, f"{what} cannot be read")


def _ends_early() -> ImageError:
    return ImageError(ErrorType.CORRUPT_IMAGE, "the file ends within a TIFF directory")
