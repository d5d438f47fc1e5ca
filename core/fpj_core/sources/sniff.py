"""What a file is, by its first bytes. Names lie; content does not."""

from __future__ import annotations

HEAD = 32
"""Bytes that `sniff` needs."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"BM", "bmp"),
    (b"\xff\x0a", "jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xffO\xffQ", "jp2"),
    (b"8BPS", "psd"),
    (b"v/1\x01", "exr"),
    (b"#?RADIANCE", "hdr"),
    (b"\0\0\x01\0", "ico"),
    (b"IIRO", "raw"),
    (b"FUJIFILMCCD-RAW", "raw"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
_BRANDS = {
    b"avif": "avif",
    b"avis": "avif",
    b"heic": "heic",
    b"heix": "heic",
    b"hevc": "heic",
    b"hevx": "heic",
    b"heim": "heic",
    b"heis": "heic",
    b"mif1": "heic",
    b"msf1": "heic",
    b"crx ": "raw",
}


def sniff(head: bytes) -> str | None:
    """The format's name (``jpeg``, ``png``, ``zip``, …) from at least the first `HEAD` bytes.

    None if not an image.

    Image formats that fpj cannot decode are named too, so that they are refused openly rather than
    left out.
    """
    if head[4:8] == b"ftyp":
        return _brand(head)
    if head[:4] == b"RIFF":
        return "webp" if head[8:12] == b"WEBP" else None
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name if name != "bmp" or _is_bmp(head) else None
    return None


def _brand(head: bytes) -> str | None:
    """AVIF or HEIC by major brand; the generic ``mif1`` may still list ``avif`` as compatible."""
    major = _BRANDS.get(head[8:12])
    if head[8:12] in (b"mif1", b"msf1") and (b"avif" in head[16:] or b"avis" in head[16:]):
        return "avif"
    return major


def _is_bmp(head: bytes) -> bool:
    """``BM`` alone begins many a text: the reserved words must be zero and the header size a known
    one.
    """
    return head[6:10] == b"\0\0\0\0" and int.from_bytes(head[14:18], "little") in (
        12,
        40,
        52,
        56,
        64,
        108,
        124,
    )
