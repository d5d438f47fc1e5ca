"""Ways of making the same two outputs of one photograph, in Python: fpj's engine, its peers' ways,
and the limit.

Each way is made once per process (imports and settings are not measured) and gives a function from
a file's path to the encoded outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Way = Callable[[str], list[bytes]]


@dataclass(frozen=True, slots=True)
class Box:
    """An output: scaled to fit ``width`` x ``height``, encoded as JPEG 4:2:0 of ``quality``."""

    width: int
    height: int
    quality: int

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """The size of an image of ``width`` x ``height`` within the box.

        Never larger than it is.
        """
        scale = min(1.0, self.width / width, self.height / height)
        return max(1, round(width * scale)), max(1, round(height * scale))


OUTPUTS: Mapping[str, tuple[Box, ...]] = {
    "cache and thumbnail": (Box(1920, 1440, 85), Box(300, 300, 80)),
    "cache": (Box(1920, 1440, 85),),
    "thumbnail": (Box(300, 300, 80),),
    "web": (Box(256, 256, 80),),
}


def engine(boxes: tuple[Box, ...]) -> Way:
    """fpj: header, limits, one decode, resize, encode, validation,
    placeholder and dominant colour.
    """
    from fpj_core.model import Format, ImageLimits, TierSpec
    from fpj_core.sources.base import OpenedImage
    from fpj_worker.engine import process_image

    limits = ImageLimits()
    tiers = [
        TierSpec(f"tier{n}", box.width, box.height, box.quality, Format.JPEG)
        for n, box in enumerate(boxes)
    ]

    def make(path: str) -> list[bytes]:
        processed = process_image(OpenedImage(path, path=path.encode()), tiers, limits)
        return [output.data for output in processed.outputs]

    return make


def limit(boxes: tuple[Box, ...]) -> Way:
    """What no way can beat: libjpeg-turbo's scaled decode and the encodes of as many pixels,
    nothing between.

    The scale is a power of two. Others that libjpeg-turbo offers decode fewer pixels, without SIMD
    and so no faster.
    """
    import numpy as np
    import simplejpeg

    def make(path: str) -> list[bytes]:
        with open(path, "rb") as stream:
            data = stream.read()
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        sizes = [box.fitted(width, height) for box in boxes]
        factor = next(
            (f for f in (8, 4, 2) if width >= sizes[0][0] * f and height >= sizes[0][1] * f), 1
        )
        pixels = simplejpeg.decode_jpeg(
            data,
            min_width=width // factor,
            min_height=height // factor,
            min_factor=factor,
            strict=False,
        )
        return [
            simplejpeg.encode_jpeg(
                np.ascontiguousarray(pixels[:down, :across]),
                quality=box.quality,
                colorsubsampling="420",
            )
            for (across, down), box in zip(sizes, boxes, strict=True)
        ]

    return make


def libvips(boxes: tuple[Box, ...]) -> Way:
    """pyvips at its best: one decode at the deepest factor that leaves the target,
    the thumbnail from the result.
    """
    pyvips = _pyvips()

    def make(path: str) -> list[bytes]:
        image = _loaded(pyvips, path, boxes[0])
        outputs = []
        for box in boxes:
            image = _resized(image, box).copy_memory()
            outputs.append(image.jpegsave_buffer(Q=box.quality, keep="none"))
        return outputs

    return make


def libvips_thumbnail(boxes: tuple[Box, ...]) -> Way:
    """pyvips as its documentation shows it: ``thumbnail`` once for each output."""
    pyvips = _pyvips()

    def make(path: str) -> list[bytes]:
        return [
            pyvips.Image.thumbnail(path, box.width, height=box.height, size="down").jpegsave_buffer(
                Q=box.quality, keep="none"
            )
            for box in boxes
        ]

    return make


def imgproxy(boxes: tuple[Box, ...]) -> Way:
    """imgproxy's algorithm: a request for each output, so a decode for each,
    and optimised Huffman tables.
    """
    pyvips = _pyvips()

    def make(path: str) -> list[bytes]:
        outputs = []
        for box in boxes:
            with open(path, "rb") as stream:
                data = stream.read()
            image = _resized(_loaded(pyvips, data, box), box)
            outputs.append(image.jpegsave_buffer(Q=box.quality, optimize_coding=True, keep="none"))
        return outputs

    return make


def pillow(boxes: tuple[Box, ...]) -> Way:
    """Pillow by someone who knows it: draft mode, one decode, LANCZOS,
    the thumbnail from the result.
    """
    import io

    from PIL import Image

    def make(path: str) -> list[bytes]:
        outputs = []
        with Image.open(path) as opened:
            image: Image.Image = opened
            size = boxes[0].fitted(*opened.size)
            opened.draft("RGB", size)
            for box in boxes:
                image = image.resize(
                    box.fitted(*image.size), Image.Resampling.LANCZOS, reducing_gap=2.0
                )
                target = io.BytesIO()
                image.save(target, "JPEG", quality=box.quality)
                outputs.append(target.getvalue())
        return outputs

    return make


WAYS: Mapping[str, Callable[[tuple[Box, ...]], Way]] = {
    "engine": engine,
    "limit": limit,
    "libvips": libvips,
    "libvips thumbnail": libvips_thumbnail,
    "imgproxy": imgproxy,
    "pillow": pillow,
}


def _pyvips() -> Any:
    import pyvips

    pyvips.cache_set_max(0)
    return pyvips


def _loaded(pyvips: Any, source: str | bytes, box: Box) -> Any:
    load = pyvips.Image.jpegload if isinstance(source, str) else pyvips.Image.jpegload_buffer
    header = load(source)
    width, height = box.fitted(header.width, header.height)
    factor = next(
        (f for f in (8, 4, 2) if header.width >= width * f and header.height >= height * f), 1
    )
    return load(source, shrink=factor, access="sequential")


def _resized(image: Any, box: Box) -> Any:
    width, height = box.fitted(image.width, image.height)
    return image.resize(width / image.width, vscale=height / image.height)
