"""An animated WebP's frames (RFC 9649, 2.7.1), each with its own time.

libwebp joins frames that look alike to one that stands longer; if all do, what it writes is no
longer an animation. So they are taken apart again: where a picture stands on, a frame of one pixel
marks the time, as libwebp does for times that are too long for one frame.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

_CHUNKS = 12
"""Bytes before the first chunk."""
_ANIMATED, _HAS_ALPHA = 0x02, 0x10
_CLEARED, _REPLACES = 1, 2
"""Flags of a frame: its place is cleared after it, and it is not blended with what is there."""
_FRAME = 16
"""Bytes of a frame before its picture: left, top, width, height, time, flags."""
_BACKGROUND = b"\xff\xff\xff\xff"


def separated(
    webp: bytes,
    canvas: tuple[int, int],
    delays: Sequence[int],
    loop: int,
    pixel: Callable[[int], bytes],
    *,
    alpha: bool,
) -> bytes:
    """What libwebp made of frames of these ``delays`` (ms),
    with as many frames as there are delays.

    ``pixel`` gives the left upper pixel of a frame as a lossless WebP. What does not fit the delays
    stays as it is.
    """
    chunks = [*_chunks(webp)]
    pictures = b"".join(
        _chunk(kind, content) for kind, content in chunks if kind in (b"ALPH", b"VP8 ", b"VP8L")
    )
    frames = [content for kind, content in chunks if kind == b"ANMF"]
    frames = frames or [_framed(canvas, sum(delays), _REPLACES, pictures)]
    runs = _runs([_number(frame, 12) for frame in frames], delays)
    if runs is None or len(delays) in (1, len([kind for kind, _ in chunks if kind == b"ANMF"])):
        return webp
    known = dict(chunks)
    flags = known[b"VP8X"][0] if b"VP8X" in known else 0
    head = bytes((flags | _ANIMATED | _HAS_ALPHA * alpha, 0, 0, 0)) + b"".join(
        _three(side - 1) for side in canvas
    )
    body = _chunk(b"VP8X", head) + _chunk(
        b"ANIM", known.get(b"ANIM", _BACKGROUND)[:4] + struct.pack("<H", loop)
    )
    number = 0
    for frame, run in zip(frames, runs, strict=True):
        body += b"".join(_chunk(b"ANMF", each) for each in _standing(frame, run, number, pixel))
        number += len(run)
    return b"RIFF" + struct.pack("<L", len(body) + 4) + b"WEBP" + body


def _runs(times: Sequence[int], delays: Sequence[int]) -> list[Sequence[int]] | None:
    """The delays that make up each time; None if they do not."""
    runs, start = [], 0
    for time in times:
        stop, reached = start, 0
        while reached < time and stop < len(delays):
            reached += delays[stop]
            stop += 1
        if reached != time:
            return None
        runs.append(delays[start:stop])
        start = stop
    return runs if start == len(delays) else None


def _standing(
    frame: bytes, run: Sequence[int], number: int, pixel: Callable[[int], bytes]
) -> Iterator[bytes]:
    """The frame for the first of these delays, and what shows the same for the others."""
    cleared = frame[15] & _CLEARED
    for later, delay in enumerate(run):
        last = later == len(run) - 1
        if cleared or not later:  # what is cleared must be drawn until then
            yield (
                frame[:12]
                + _three(delay)
                + bytes((frame[15] & ~_CLEARED | cleared * last,))
                + frame[_FRAME:]
            )
        else:
            yield _framed((1, 1), delay, _REPLACES, pixel(number + later)[_CHUNKS:])


def _framed(size: tuple[int, int], delay: int, flags: int, picture: bytes) -> bytes:
    return (
        bytes(6)
        + b"".join(_three(side - 1) for side in size)
        + _three(delay)
        + bytes((flags,))
        + picture
    )


def _chunks(webp: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = _CHUNKS
    while position + 8 <= len(webp):
        kind, size = struct.unpack_from("<4sL", webp, position)
        yield kind, webp[position + 8 : position + 8 + size]
        position += 8 + size + (size & 1)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<L", len(content)) + content + bytes(len(content) & 1)


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _number(content: bytes, position: int) -> int:
    return int.from_bytes(content[position : position + 3], "little")
