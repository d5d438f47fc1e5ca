"""The truth about a folder of images, found out without fpj: which images it holds,
and how large upright they are.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pillow_heif
from PIL import Image, ImageOps

pillow_heif.register_heif_opener()  # HEIC for Pillow

Size = tuple[int, int]

_IMAGES = frozenset((".avif", ".bmp", ".gif", ".heic", ".jpg", ".png", ".tiff", ".webp"))
_ARCHIVES = frozenset((".cbz", ".zip"))


def sizes_in(folder: Path) -> dict[str, Size | None]:
    """Every image's key to its size; None for one that cannot be decoded."""
    return {key: _size(content) for key, content in _contents(folder)}


def fitted(size: Size, box: Size) -> Size:
    """An image within a box: its proportions kept, never enlarged."""
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def size_of(path: Path) -> Size:
    """The size of a file, as it is stored; all of it is decoded."""
    with Image.open(path) as image:
        image.load()
        return image.size


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        key = str(path.relative_to(folder))
        if path.suffix in _IMAGES:
            yield key, path.read_bytes()
        elif path.suffix in _ARCHIVES:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if Path(name).suffix in _IMAGES:
                        yield f"{key}!/{name}", archive.read(name)


def _size(content: bytes) -> Size | None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return ImageOps.exif_transpose(image).size
    except (OSError, SyntaxError):  # what Pillow raises over broken files
        return None
