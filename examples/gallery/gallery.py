"""A page of pictures from what `fpj export` writes; see docs/guide/gallery.md."""

import base64
import html
import json
import math
import struct
import sys
import zlib

HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Gallery</title>
<meta name="viewport" content="width=device-width">
<style>
  body { margin: 8px; display: flex; flex-wrap: wrap; gap: 8px }
  body::after { content: ""; flex: 9999 } /* the last row keeps its height */
  a { flex: var(--ratio) calc(var(--ratio) * 220px); max-width: 100% }
  img { display: block; width: 100%; height: auto }
</style>
"""
SIDE = 16  # pixels of a placeholder; the browser enlarges them, and so makes them soft


def png(thumbhash):
    """The picture that a ThumbHash (https://evanw.github.io/thumbhash/) stands for,
    without its alpha.
    """
    head, tail = int.from_bytes(thumbhash[:3], "little"), int.from_bytes(thumbhash[3:5], "little")
    nibbles = iter(
        [n for byte in thumbhash[6 if head >> 23 else 5 :] for n in (byte & 15, byte >> 4)]
    )

    def waves(average, scale, across, down):
        order = [
            (x, y)
            for y in range(down)
            for x in range(across)
            if x * down < across * (down - y) and x + y
        ]
        return [(0, 0, average), *((x, y, (next(nibbles) / 7.5 - 1) * scale * 2) for x, y in order)]

    short, long = max(3, tail & 7), 5 if head >> 23 else 7
    light = waves(
        (head & 63) / 63, (head >> 18 & 31) / 31, *((long, short) if tail >> 15 else (short, long))
    )
    yellow = waves((head >> 6 & 63) / 31.5 - 1, (tail >> 3 & 63) / 63 * 1.25, 3, 3)
    red = waves((head >> 12 & 63) / 31.5 - 1, (tail >> 9 & 63) / 63 * 1.25, 3, 3)
    wave = [
        [math.cos(math.pi / SIDE * (place + 0.5) * number) for number in range(8)]
        for place in range(SIDE)
    ]
    pixels = b""
    for y in range(SIDE):
        pixels += b"\0"
        for x in range(SIDE):
            bright, p, q = (
                sum(f * wave[x][i] * wave[y][j] for i, j, f in each)
                for each in (light, yellow, red)
            )
            b = bright - p * 2 / 3
            r = (bright * 3 - b + q) / 2
            pixels += bytes(round(255 * min(max(value, 0), 1)) for value in (r, r - q, b))
    size = struct.pack(">2I5B", SIDE, SIDE, 8, 2, 0, 0, 0)
    chunks = (b"IHDR" + size, b"IDAT" + zlib.compress(pixels), b"IEND")
    whole = (
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each))
        for each in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


sys.stdout.write(HEAD)
for image in map(json.loads, sys.stdin):
    if image["srcset"]:  # nothing was made of an image that failed
        urls = [candidate.split(" ")[0] for candidate in image["srcset"].split(", ")]
        width, height, name = image["width"], image["height"], html.escape(image["source"])
        soft = (
            "data:image/png;base64,"
            + base64.b64encode(png(base64.b64decode(image["thumbHash"]))).decode()
        )
        sys.stdout.write(
            f"""<a href="{urls[-1]}" style="--ratio: {width / height:.3f}">
<img alt="{name}" loading="lazy"
  src="{urls[0]}" srcset="{image["srcset"]}" sizes="min(100vw, {width / height * 300:.0f}px)"
  width="{width}" height="{height}"
  style="background: {image["color"]} url({soft}) 0 0 / 100% 100%"></a>
"""
        )
