"""Files that are too large for most programs: streamed to the disk, never whole in memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyvips

from bench.cache import cache_folder, cached
from bench.photographs import photograph_pixels


def large_file(name: str) -> Path:
    """One of `LARGE`, made if missing; the largest take a minute and 500 MB."""
    suffix, write = LARGE[name]
    return cached(cache_folder() / "large" / f"{name.replace(' ', '-')}{suffix}", write)


def _photograph(width: int, height: int) -> Any:
    """One 12-megapixel photograph laid like tiles."""
    tile = pyvips.Image.new_from_array(photograph_pixels(0, 4_000, 3_000)).copy(
        interpretation="srgb"
    )
    return tile.replicate(-(-width // 4_000), -(-height // 3_000)).crop(0, 0, width, height)


def _saved(width: int, height: int, suffix: str, **options: object) -> Callable[[Path], None]:
    return lambda path: _photograph(width, height).write_to_file(
        str(path.with_suffix(suffix)), **options
    )


def _bomb(path: Path) -> None:
    """A PNG of 30,000 x 30,000 black pixels: 2.7 GB of them in 2.6 MB."""
    side = 30_000
    row = bytes(1 + 3 * side)
    compressor = zlib.compressobj(1)
    with path.open("wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n")
        _chunk(stream.write, b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        for _ in range(side // 100):
            if data := compressor.compress(row * 100):
                _chunk(stream.write, b"IDAT", data)
        _chunk(stream.write, b"IDAT", compressor.flush())
        _chunk(stream.write, b"IEND", b"")


def _chunk(write: Callable[[bytes], object], kind: bytes, data: bytes) -> None:
    write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


LARGE: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "100 MP JPEG": (".jpg", _saved(11_600, 8_700, ".jpg", Q=90)),
    "100 MP JPEG, progressive": (".jpg", _saved(11_600, 8_700, ".jpg", Q=90, interlace=True)),
    "100 MP PNG": (".png", _saved(11_600, 8_700, ".png", compression=1)),
    "500 MB TIFF": (".tif", _saved(14_600, 11_420, ".tif")),
    "1 gigapixel JPEG": (".jpg", _saved(32_000, 32_000, ".jpg", Q=90)),
    "900 MP PNG bomb": (".png", _bomb),
}
"""Name to (extension, how to write it)."""
