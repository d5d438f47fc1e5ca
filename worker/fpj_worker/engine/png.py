"""What a PNG's chunks say that libvips does not (PNG, third edition): colours by number,
and Exif behind the pixels.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

from fpj_worker.engine.hdr import Coding
from fpj_worker.engine.reading import Read

_SIGNATURE = 8
_MOST_CHUNKS = 64
_TAIL = 2**16
_EXIF = b"eXIf"


def coding(read: Read) -> Coding | None:
    """How samples stand for light (``cICP``, 11.3.2.6), with the brightest of it (``cLLI``).

    None if unsaid.
    """
    chunks: dict[bytes, bytes] = {}
    position = _SIGNATURE
    for _ in range(_MOST_CHUNKS):
        head = read(position, 12)
        if len(head) < 12 or head[4:8] == b"IDAT":
            break
        size, kind = struct.unpack_from(">L4s", head)
        if kind in (b"cICP", b"cLLI"):
            chunks[kind] = read(position + 8, min(size, 8))
        position += 12 + size
    numbers, levels = chunks.get(b"cICP", b""), chunks.get(b"cLLI", b"")
    if len(numbers) < 4:
        return None
    found = Coding(numbers[1], numbers[0], narrow=not numbers[3])
    brightest = struct.unpack_from(">L", levels)[0] / 10_000 if len(levels) >= 4 else 0
    return replace(found, peak=brightest) if brightest else found


def late_exif(read: Read, size: int) -> bytes:
    """The Exif block in the last 64 KiB of a file of ``size`` bytes; nothing if there is none."""
    tail = read(max(size - _TAIL, 0), _TAIL)
    at = tail.rfind(_EXIF)
    if at < 4:
        return b""
    (length,) = struct.unpack_from(">L", tail, at - 4)
    block, checksum = tail[at + 4 : at + 4 + length], tail[at + 4 + length : at + 8 + length]
    return block if struct.pack(">L", zlib.crc32(_EXIF + block)) == checksum else b""
