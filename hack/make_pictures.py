"""Makes the README's pictures from real runs: docs/images/run.svg and docs/images/samples.jpg.

The terminal picture is what `fpj` printed on a pseudo-terminal of 80 columns; of the live display,
which redraws itself, one moment near the middle is kept. The strip shows sources as they are
stored, and below each the thumbnail that fpj wrote, pixel for pixel. Run: .venv/bin/python
hack/make_pictures.py
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pillow_heif
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
IMAGES = ROOT / "docs" / "images"
FPJ = Path(sys.executable).with_name("fpj")

COLUMNS = 80
COPIES = 30
REDRAW = "\r\x1b[2K"
PROMPT = "\x1b[1;32m$\x1b[0m "

STRIP = (
    ("sideways.jpg", "stored on its side"),
    ("wide-gamut.jpg", "Display P3"),
    ("sixteen-bits.png", "16 bits a band"),
    ("badge.png", "transparent"),
    ("noon.heic", "HEIC"),
)
CELL = 200
MARGIN = 12
CAPTION = 18

SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
  font-variant-east-asian: full-width; white-space: pre }}
.{unique_id}-title {{ font: bold 16px system-ui, sans-serif }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own template fetches a font from elsewhere; this one takes what the reader has."""


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder whose path says nothing about the machine, gone at the end."""
    folder = Path(tempfile.gettempdir(), "demo")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def environment(folder: Path) -> dict[str, str]:
    """As the user has it, but with a store of its own and plain colours."""
    kept = {
        name: value for name, value in os.environ.items() if name not in {"FPJ_STORE", "NO_COLOR"}
    }
    return kept | {
        "XDG_DATA_HOME": str(folder / ".data"),
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
    }


def on_a_terminal(folder: Path, arguments: Sequence[str]) -> str:
    """What ``fpj`` with ``arguments`` writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    command = [str(FPJ), *arguments]
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=folder, env=environment(folder), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = b""
    while chunk := read_or_nothing(ours):
        written += chunk
    os.close(ours)
    process.wait(60)
    return written.decode().replace("\r\n", "\n")


def read_or_nothing(descriptor: int) -> bytes:
    """The next bytes; nothing once the other end of the terminal is closed,
    which Linux reports as an error.
    """
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""


def one_moment(written: str) -> str:
    """Of a run with a live display: a frame near the middle,
    and what was left standing at the end.
    """
    frames = [frame for frame in written.split(REDRAW) if "Making images" in frame]
    middle = min(frames, key=lambda frame: abs(percent(frame) - 55))
    end = written.rpartition("\x1b[?25h")[2]
    return f"{middle.strip()}\n{end.rpartition(REDRAW)[2].strip()}"


def percent(frame: str) -> int:
    """The percentage that a frame shows."""
    return int(frame.partition("%")[0].rpartition(" ")[2].rpartition("m")[2] or 0)


def draw_terminal(folder: Path) -> str:
    """The SVG of a session: a run, what failed in it, the same run again, the totals."""
    photos = folder / "photos"
    for number in range(COPIES):
        shutil.copytree(SAMPLES, photos / f"album-{number:02}")
    broken = photos / "album-07" / "dusk-copy.jpg"
    broken.write_bytes((SAMPLES / "dawn.jpg").read_bytes()[:40_000])
    shown = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    for command in ("run photos", "failures", "run photos", "stats"):
        written = on_a_terminal(folder, command.split())
        if "\x1b[?25h" in written:
            written = one_moment(written) if "Making images" in written else written
        lines = [line.rstrip() for line in written.strip().split("\n")]
        shown.print(Text.from_ansi("\n".join([f"{PROMPT}fpj {command}", *lines, ""])))
    return shown.export_svg(title="fpj", code_format=SVG, unique_id="fpj")


def draw_strip(folder: Path) -> Image.Image:
    """Sources above, the thumbnails that fpj made of them below."""
    run = [
        str(FPJ),
        "run",
        str(SAMPLES),
        "--out",
        str(folder / "out"),
        "--quiet",
        "--thumbnail",
        f"{CELL}x{CELL}",
    ]
    subprocess.run(run, env=environment(folder), check=True)  # noqa: S603 - our own command
    listed = subprocess.run(  # noqa: S603 - our own command
        [str(FPJ), "outputs", "-o", "json"],
        env=environment(folder),
        check=True,
        capture_output=True,
    )
    made = {
        row["key"]: row["path"] for row in json.loads(listed.stdout) if row["tier"] == "thumbnail"
    }
    width = MARGIN + len(STRIP) * (CELL + MARGIN)
    strip = Image.new("RGB", (width, 2 * CELL + 2 * CAPTION + 3 * MARGIN), "white")
    draw = ImageDraw.Draw(strip)
    for number, (name, what) in enumerate(STRIP):
        left = MARGIN + number * (CELL + MARGIN)
        place(strip, as_stored(SAMPLES / name), left, MARGIN)
        draw.text((left, MARGIN + CELL), f"{name}: {what}", "#555555", ImageFont.load_default(13))
        with Image.open(made[name]) as thumbnail:
            size = (
                f"{thumbnail.width}x{thumbnail.height},"
                f" {Path(made[name]).stat().st_size / 1024:.1f} KiB"
            )
            place(strip, thumbnail.copy(), left, 2 * MARGIN + CELL + CAPTION)
        draw.text(
            (left, 2 * MARGIN + 2 * CELL + CAPTION),
            f"JPEG {size}",
            "#555555",
            ImageFont.load_default(13),
        )
    return strip


def as_stored(path: Path) -> Image.Image:
    """A source, fitted to a cell: not turned, colours unconverted,
    what is transparent on a chequered ground.
    """
    with Image.open(path) as image:
        if image.mode == "I;16":
            picture = image.point(lambda value: value / 256).convert("RGB")
        else:
            picture = image.convert("RGBA" if image.has_transparency_data else "RGB")
    picture.thumbnail((CELL, CELL))
    if picture.mode == "RGB":
        return picture
    ground = Image.new("RGB", picture.size, "#ffffff")
    draw = ImageDraw.Draw(ground)
    for row in range(0, picture.height, 10):
        for column in range(row // 10 % 2 * 10, picture.width, 20):
            draw.rectangle((column, row, column + 9, row + 9), "#cccccc")
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def place(strip: Image.Image, picture: Image.Image, left: int, top: int) -> None:
    """Paste into the middle of a cell."""
    strip.paste(picture, (left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2))


def main() -> None:
    """Make both pictures."""
    pillow_heif.register_heif_opener()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with workplace() as folder:
        (IMAGES / "run.svg").write_text(draw_terminal(folder), encoding="utf-8")
    with workplace() as folder:
        draw_strip(folder).save(IMAGES / "samples.jpg", quality=86, optimize=True)


if __name__ == "__main__":
    main()
