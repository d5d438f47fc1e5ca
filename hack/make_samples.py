"""Draws the sample images in samples/: invented landscapes,
one for each kind of file that fpj must get right.

Nothing here is a photograph and nothing comes from elsewhere: each is computed from a seed, so the
files may be shipped under the project's licence. Run: python hack/make_samples.py samples
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
import pyvips
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Picture = npt.NDArray[np.float64]

DAWN: tuple[Colour, ...] = ((38, 50, 92), (240, 150, 110), (255, 214, 150), (58, 44, 78))
NOON: tuple[Colour, ...] = ((64, 128, 204), (176, 214, 240), (236, 244, 248), (34, 74, 60))
DUSK: tuple[Colour, ...] = ((24, 20, 52), (150, 62, 96), (250, 130, 84), (18, 14, 32))
MIST: tuple[Colour, ...] = ((126, 146, 160), (196, 206, 208), (234, 232, 222), (52, 70, 78))
NIGHT: tuple[Colour, ...] = ((6, 10, 28), (22, 38, 74), (70, 96, 130), (4, 8, 18))
AUTUMN: tuple[Colour, ...] = ((92, 140, 190), (214, 206, 180), (250, 226, 170), (120, 52, 20))


def ridge(chance: np.random.Generator, width: int, roughness: float) -> npt.NDArray[np.float64]:
    """A skyline in 0 to 1, by midpoint displacement."""
    line = chance.random(2)
    step = 1.0
    while len(line) < width:
        middle = (line[:-1] + line[1:]) / 2 + chance.normal(0, 0.22 * step, len(line) - 1)
        line = np.insert(middle, range(len(middle)), line[:-1])
        line = np.append(line, line[-2])
        step *= roughness
    line = line[:width]
    return np.asarray((line - line.min()) / (np.ptp(line) or 1))


def landscape(
    seed: int, colours: tuple[Colour, ...], width: int, height: int, layers: int = 6
) -> Picture:
    """Mountain ranges that fade into the sky; (height, width, 3) in 0 to 255."""
    chance = np.random.default_rng(seed)
    top, low, haze, near = (np.array(colour, float) for colour in colours)
    down = np.linspace(0, 1, height)[:, None, None]
    picture = np.broadcast_to(top * (1 - down**0.8) + low * down**0.8, (height, width, 3)).copy()
    rows, columns = np.mgrid[0:height, 0:width]
    sun = chance.uniform(0.2, 0.8) * width, chance.uniform(0.28, 0.45) * height
    distance = np.hypot(columns - sun[0], rows - sun[1]) / height
    picture += (haze - picture) * np.exp(-((distance / 0.25) ** 2))[..., None] * 0.8
    picture[distance < 0.045] = haze * 0.4 + 255 * 0.6
    for layer in range(layers):
        depth = layer / (layers - 1)
        skyline = height * (
            0.42 + 0.46 * depth - (0.34 - 0.14 * depth) * ridge(chance, width, 0.55)
        )
        colour = haze * (1 - depth) ** 1.2 * 0.75 + low * (1 - depth) * 0.15 + near * depth
        below = rows >= skyline[None, :]
        fog = (
            np.clip((rows - skyline[None, :]) / (height * 0.35), 0, 1)[..., None]
            * (1 - depth)
            * 0.5
        )
        ground = colour * (1 - fog) + haze * fog
        picture = np.where(below[..., None], ground, picture)
    return np.asarray(np.clip(picture + chance.normal(0, 1.6, picture.shape), 0, 255))


def image(seed: int, colours: tuple[Colour, ...], width: int, height: int) -> Image.Image:
    """`landscape` as an 8-bit image."""
    return Image.fromarray(landscape(seed, colours, width, height).astype(np.uint8))


def encoded(picture: Image.Image, image_format: str, **options: Any) -> bytes:
    """The image as a file's content."""
    target = io.BytesIO()
    picture.save(target, image_format, **options)
    return target.getvalue()


def sideways() -> bytes:
    """A portrait stored lying down, with the EXIF orientation that cameras write."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "stored on its side; orientation 6 turns it upright"
    return encoded(image(2, DUSK, 800, 1200).rotate(90, expand=True), "JPEG", quality=82, exif=exif)


def wide_gamut() -> bytes:
    """Colours that sRGB does not have, in Display P3."""
    pixels = landscape(3, AUTUMN, 1200, 800).astype(np.uint8)
    picture = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
    return bytes(
        picture.icc_transform("p3", input_profile="srgb").jpegsave_buffer(Q=85, profile="p3")
    )


def for_print() -> bytes:
    """Inks instead of light: CMYK, without a profile."""
    picture = pyvips.Image.new_from_array(landscape(4, MIST, 900, 600).astype(np.uint8)).copy(
        interpretation="srgb"
    )
    return bytes(
        picture.icc_transform("cmyk", input_profile="srgb").jpegsave_buffer(Q=80, keep="none")
    )


def sixteen_bits() -> bytes:
    """A PNG with 16 bits a band."""
    pixels = (landscape(6, NOON, 270, 180, 5) * 257).astype(np.uint16)
    return bytes(
        pyvips.Image.new_from_array(pixels).copy(interpretation="rgb16").pngsave_buffer(bitdepth=16)
    )


def transparent() -> bytes:
    """A badge on nothing."""
    side, scale = 480, 4
    badge = Image.new("RGBA", (side * scale, side * scale), (0, 0, 0, 0))
    draw = ImageDraw.Draw(badge)
    draw.ellipse((40, 40, side * scale - 40, side * scale - 40), fill=(44, 92, 160, 255))
    draw.polygon(
        [(300, 1380), (820, 560), (1160, 1100), (1330, 860), (1640, 1380)],
        fill=(240, 244, 248, 255),
    )
    draw.ellipse((1180, 380, 1440, 640), fill=(255, 204, 96, 200))
    return encoded(badge.resize((side, side), Image.Resampling.LANCZOS), "PNG", optimize=True)


def animation() -> bytes:
    """Twelve frames of a sunset."""
    frames = []
    for step in range(12):
        share = step / 11
        colours = tuple(
            tuple(round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True))
            for first, second in zip(DAWN, NIGHT, strict=True)
        )
        frames.append(image(9, colours, 240, 160).quantize(48, dither=Image.Dither.NONE))  # type: ignore[arg-type]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0)


def comic() -> bytes:
    """An archive of three pages; page 10 comes after page 2."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number, colours in ((1, DAWN), (2, MIST), (10, NIGHT)):
            member = zipfile.ZipInfo(f"page{number}.jpg", (2026, 1, 1, 0, 0, 0))
            archive.writestr(
                member, encoded(image(20 + number, colours, 500, 700), "JPEG", quality=75)
            )
    return target.getvalue()


def samples() -> dict[str, bytes]:
    """File name to content."""
    pillow_heif.register_heif_opener()
    return {
        "dawn.jpg": encoded(image(1, DAWN, 1800, 1200), "JPEG", quality=82),
        "sideways.jpg": sideways(),
        "wide-gamut.jpg": wide_gamut(),
        "print.jpg": for_print(),
        "night-grey.jpg": encoded(
            image(5, NIGHT, 1200, 800).convert("L"), "JPEG", quality=80, progressive=True
        ),
        "sixteen-bits.png": sixteen_bits(),
        "badge.png": transparent(),
        "sunset.gif": animation(),
        "mist.webp": encoded(image(7, MIST, 1400, 900), "WEBP", quality=80),
        "autumn.avif": encoded(image(8, AUTUMN, 1600, 1000), "AVIF", quality=60),
        "noon.heic": encoded(image(10, NOON, 1200, 800), "HEIF", quality=60),
        "dusk.tiff": encoded(image(11, DUSK, 480, 320), "TIFF", compression="jpeg", quality=85),
        "small.bmp": encoded(image(12, DAWN, 160, 120), "BMP"),
        "book.cbz": comic(),
    }


def main() -> None:
    """Write every sample into the folder given."""
    (folder,) = sys.argv[1:]
    for name, content in samples().items():
        Path(folder, name).write_bytes(content)


if __name__ == "__main__":
    main()
