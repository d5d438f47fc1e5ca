"""What a stranger's bytes reach first: each target takes any bytes,
and lets through what its callers are made for.

Anything else that a target raises is a fault: `make fuzz` looks for it, `test_fuzz` replays what
was found.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress

from PIL import Image
from typing_extensions import override
from unit.engine import icc
from unit.engine.pictures import encoded, scene
from unit.engine.test_orientation import block
from unit.sources.archives import JPEG, packed

from fpj_api.cursors import MOST_CHARACTERS, decode, encode
from fpj_api.problems import ProblemError
from fpj_core.errors import ImageError, ManifestError
from fpj_core.folders.mirror import name_of
from fpj_core.manifest import load_manifests
from fpj_core.model import ImageLimits
from fpj_core.objectlist import is_odd, leads_elsewhere
from fpj_core.sources.archive import Archives
from fpj_core.sources.base import OpenedImage, Problems
from fpj_core.sources.filters import Rules
from fpj_core.sources.keys import display_key, key_from_path, member_key, path_from_key, split_key
from fpj_core.sources.natural import natural_key
from fpj_core.sources.sniff import sniff
from fpj_worker.engine import (
    codedcolours,
    exif,
    gif,
    heif,
    jpeg,
    libvips,
    matrixprofile,
    png,
    scans,
    taken,
    tiff,
    tiffbare,
)
from fpj_worker.engine.header import read_header
from fpj_worker.engine.reading import Read

Target = Callable[[bytes], None]

_MOST_MEMBER = 2**20
_FEW_PIXELS = ImageLimits(max_pixels=10_000_000)


def _reader(data: bytes) -> Read:
    return lambda offset, count: data[offset : offset + count]


def jpeg_structure(data: bytes) -> None:
    """Segments, Exif, the scans of a damaged file, the trailer of a Samsung camera."""
    with suppress(ImageError):
        header = jpeg.read_header(data)
        jpeg.is_cut_off(data, header)
        jpeg.is_file_cut_off(_reader(data), len(data), header)
        matrixprofile.numbers_of(header.icc or b"")
        picture = scans.bare(data, header, scans.samsung_trailer(data))
        assert picture is None or len(picture.joined(data)) == len(picture)


def tiff_directories(data: bytes) -> None:
    """Directories in any order of bytes, and what is left of one without needless tags."""
    read = _reader(data)
    with suppress(ImageError):
        tiff.read_header(read)
    with suppress(ImageError):
        tiffbare.bare(read)
    exif.read_directory(read)


def boxes(data: bytes) -> None:
    """AVIF and HEIC: properties of the primary image, and the colours of its coded picture."""
    properties = heif.primary(_reader(data))
    heif.aperture(properties, 320, 240)
    heif.coding(properties)
    heif.is_sequence_alone(_reader(data))
    codedcolours.of_av1(data)
    codedcolours.of_hevc(data)


def chunks(data: bytes) -> None:
    """PNG and GIF, and profiles and texts in any file."""
    read = _reader(data)
    png.coding(read)
    exif.parse(exif.without_prefix(png.late_exif(read, len(data))))
    gif.screen(read)
    list(gif.frames(read, 50))
    taken.from_xmp(data)
    sniff(data)


def profile(data: bytes) -> None:
    """An ICC profile."""
    matrixprofile.numbers_of(data)
    matrixprofile.transform_of(data)
    libvips.is_srgb(data)


def header(data: bytes) -> None:
    """All of it, with the decoders' own header readers."""
    with suppress(ImageError):
        read_header(OpenedImage("fuzz", data=data), _FEW_PIXELS)


class _Pieces(io.RawIOBase):
    """Bytes that come by range, in short reads, as those of an object do."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = io.BytesIO(data)

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = 0, /) -> int:
        if offset < 0 and whence == 0:
            raise OSError("a place before the beginning")
        try:
            return self._data.seek(offset, whence)
        except ValueError as error:
            raise OSError(str(error)) from error

    @override
    def tell(self) -> int:
        return self._data.tell()

    @override
    def readinto(self, target: bytearray | memoryview, /) -> int:  # type: ignore[override]
        part = self._data.read(min(len(target), 777))
        target[: len(part)] = part
        return len(part)


def archive(data: bytes) -> None:
    """A table of contents, and every member that it lists."""
    archives = Archives(lambda _path: _Pieces(data))
    problems = Problems()
    try:
        with suppress(ImageError):
            for entry in archives.list_members(b"a.zip", "a.zip", problems):
                container, member = split_key(entry.key)
                assert container == "a.zip"
                with (
                    suppress(ImageError),
                    archives.open_member(b"a.zip", member or "", max_file_size=_MOST_MEMBER),
                ):
                    pass
    finally:
        archives.close()


def manifest(data: bytes) -> None:
    """A manifest of a person."""
    with suppress(ManifestError):
        load_manifests(data.decode("utf-8", "replace"), "fuzz")


def key(data: bytes) -> None:
    """A file's name, an object's, a member's: whatever it is, its key leads back to it."""
    name = data.replace(b"\0", b"")
    made = key_from_path(name)
    assert path_from_key(made) == name
    text = data.decode("utf-8", "surrogateescape")
    assert not name or not name.startswith(b"!/") or split_key(member_key("a.zip", text))
    display_key(made)
    natural_key(made)
    name_of(made)
    is_odd(made)
    leads_elsewhere(made)


def ignore_file(data: bytes) -> None:
    """An ignore file in a source. ValueError says that it cannot be followed."""
    with suppress(ValueError):
        rules = Rules()
        rules.add_ignore_file("a/", data[:4096].decode("utf-8", "surrogateescape"))
        rules.excludes_key("a/b/photo.jpg")


def cursor(data: bytes) -> None:
    """A cursor of a client."""
    for types in ((), (str,), (int,), (str, int)):
        with suppress(ProblemError):
            text = data[:MOST_CHARACTERS].decode("utf-8", "replace")
            parts = decode("x", text, *types)
            assert decode("x", encode("x", *parts), *types) == parts


TARGETS: Mapping[str, Target] = {
    each.__name__: each
    for each in (
        jpeg_structure,
        tiff_directories,
        boxes,
        chunks,
        profile,
        header,
        archive,
        manifest,
        key,
        ignore_file,
        cursor,
    )
}

# Where the search begins --------------------------------------------------------------------------

_MANIFEST = b"""apiVersion: fpj.dev/v1alpha1
kind: FileProcessingJob
metadata: {name: a}
spec: {source: {local: {path: /a}}, collection: {id: a}, cacheFolders: [{name: a}]}
---
{}
"""


def _pictures() -> list[bytes]:
    small = scene(32, 24)
    options: dict[str, dict[str, object]] = {
        "JPEG": {"exif": b"Exif\0\0" + block(6), "icc_profile": icc.LINEAR_SRGB},
        "PNG": {"exif": b"Exif\0\0" + block(6), "icc_profile": icc.LINEAR_SRGB},
        "WEBP": {"exif": b"Exif\0\0" + block(6), "icc_profile": icc.LINEAR_SRGB},
        "GIF": {"save_all": True, "append_images": [small.rotate(90)]},
        "TIFF": {"icc_profile": icc.LINEAR_SRGB},
        "BMP": {},
        "AVIF": {"speed": 10, "exif": b"Exif\0\0" + block(6)},
        "HEIF": {},
    }
    found = [encoded(small, image_format, **each) for image_format, each in options.items()]
    return [
        *found,
        encoded(small, "JPEG", progressive=True),
        encoded(Image.new("CMYK", (32, 24)), "JPEG"),
    ]


def seeds(name: str) -> list[bytes]:
    """Well-made input of a target."""
    pictures = _pictures()
    cicp = struct.pack(">L4s4BL", 4, b"cICP", 9, 16, 0, 1, zlib.crc32(b"cICP\x09\x10\0\1"))
    return {
        "jpeg_structure": [each for each in pictures if each[:2] == b"\xff\xd8"],
        "tiff_directories": [each for each in pictures if each[:2] in (b"II", b"MM")]
        + [block(6), block(6, 4, ">")],
        "boxes": [each for each in pictures if each[4:8] == b"ftyp"],
        "chunks": [pictures[1][:33] + cicp + pictures[1][33:], pictures[3]],
        "profile": [
            icc.LINEAR_SRGB,
            icc.LINEAR_GREY,
            icc.swapped(b"sRGB"),
            icc.with_tag(b"cicp", b"cicp" + bytes(8)),
        ],
        "header": pictures,
        "archive": [
            packed({"a/b.jpg": JPEG, "é.png": JPEG, "c": JPEG, "d.zip": b""}),
            packed({"a.jpg": bytes(5_000)}, method=8),
        ],
        "manifest": [_MANIFEST],
        "key": ["a/é!/b.zip!/c\\d".encode(), b"\xff!/\\!"],
        "ignore_file": [b"*.jpg\n!a/**/b[a-c]?.png\n/x y\\ \n#c\n"],
        "cursor": [encode("x").encode(), encode("x", "a").encode(), encode("x", "a", 7).encode()],
    }[name]
