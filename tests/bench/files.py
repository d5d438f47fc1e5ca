"""Photographs in every format that the engine reads, and folders of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyvips

from bench.cache import cache_folder, cached
from bench.photographs import photograph_pixels, photographs, web_images, wide_gamut

MEGAPIXELS = {"2 MP": (1_632, 1_224), "12 MP": (4_000, 3_000)}


def _vips(suffix: str, **options: object) -> Callable[[Any, Path], None]:
    return lambda image, path: image.write_to_file(str(path.with_suffix(suffix)), **options)


def _heic(image: Any, path: Path) -> None:
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    Image.fromarray(image.numpy()).save(path, "HEIF", quality=60)


def _bmp(image: Any, path: Path) -> None:
    from PIL import Image

    Image.fromarray(image.numpy()).save(path, "BMP")


FORMATS: Mapping[str, tuple[str, Callable[[Any, Path], None]]] = {
    "JPEG": (".jpg", _vips(".jpg", Q=90)),
    "JPEG, progressive": (".jpg", _vips(".jpg", Q=90, interlace=True)),
    "PNG": (".png", _vips(".png")),
    "PNG, interlaced": (".png", _vips(".png", interlace=True)),
    "WebP": (".webp", _vips(".webp", Q=80, effort=2)),
    "TIFF": (".tif", _vips(".tif")),
    "TIFF, LZW": (".tif", _vips(".tif", compression="lzw", predictor="horizontal")),
    "GIF": (".gif", _vips(".gif", effort=1)),
    "BMP": (".bmp", _bmp),
    "AVIF": (".avif", _vips(".avif", Q=60, effort=0)),
    "HEIC": (".heic", _heic),
}
"""Name to (extension, how to write it)."""

_MIXED = (
    *(("2 MP", name) for name in FORMATS),
    ("12 MP", "PNG"),
    ("12 MP", "JPEG, progressive"),
)


def in_format(size: str, name: str, number: int = 0) -> Path:
    """A photograph of one of `MEGAPIXELS` in one of `FORMATS`."""
    suffix, write = FORMATS[name]
    folder = cache_folder() / "formats" / size.replace(" ", "")

    def make(path: Path) -> None:
        image = pyvips.Image.new_from_array(photograph_pixels(number, *MEGAPIXELS[size])).copy(
            interpretation="srgb"
        )
        write(image, path)

    return cached(folder / f"{name.replace(', ', '-')}-{number}{suffix}", make)


def mixed_folder() -> Path:
    """What a large collection holds: mostly small images and photographs,
    and some of everything else.
    """
    files = [*photographs("12 MP", 8), *photographs("24 MP", 1), *wide_gamut(2), *web_images(40)]
    files += [in_format(size, name) for size, name in _MIXED]
    return linked_folder(cache_folder() / "mixed", files, len(files))


def linked_folder(folder: Path, files: Iterable[Path], count: int) -> Path:
    """A folder of ``count`` names (a thousand to each folder within) for ``files``, over and over:
    hard links.
    """
    originals = list(files)
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(count):
        if number % 1_000 == 0:
            within = folder / f"{number // 1_000:03}"
            within.mkdir(parents=True)
        original = originals[number % len(originals)]
        os.link(original, within / f"{number:06}{original.suffix}")
    return folder
