"""Formats and filters: what reading each format costs, what writing each costs,
and how to scale.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.files import FORMATS, MEGAPIXELS, in_format
from bench.measure import Match, run_module
from bench.peers import contestant
from bench.result import Benchmark, Row, Scale

_SMALL_ONLY = frozenset({"GIF"})


def reading(scale: Scale) -> Iterator[Row]:
    """Both outputs from every format at two sizes."""
    for size in scale.pick(("2 MP",), tuple(MEGAPIXELS)):
        for name in FORMATS:
            if size == "2 MP" or name not in _SMALL_ONLY:
                yield _read(size, name, scale.pick(2, 3))


def writing(scale: Scale) -> Iterator[Row]:
    """Each encoder at the settings that matter."""
    found = run_module("encoders", *scale.pick(("2", "quick"), ("4", "full")))
    for name, (milliseconds, size) in found.items():
        yield Row(name, milliseconds, "ms CPU", note=f"{size / 1024:.0f} KiB")


def scaling(scale: Scale) -> Iterator[Row]:
    """Each scale of libjpeg's followed by each filter."""
    for size in ("8 MP", "12 MP", "24 MP"):
        for found in run_module("scaling", size, scale.pick("1", "3"))["scales"]:
            at = f"{size} at {found['eighths']}/8"
            yield Row(
                f"{at}, decode",
                found["decode"],
                "ms CPU",
                note=f"{found['ratio']:.2f} times the target's width",
            )
            for name, (milliseconds, likeness) in found["shrink"].items():
                both = found["decode"] + milliseconds
                note = f"SSIM {likeness:.4f}; {both:.0f} ms with the decode"
                yield Row(f"{at}, then {name}", milliseconds, "ms CPU", note=note)


def _read(size: str, name: str, turns: int) -> Row:
    path = in_format(size, name)
    with Match({"engine": contestant("engine")}) as match:
        rounds = match.play([path] * 2, turns)
    milliseconds, megabytes = rounds.cpu_ms("engine"), path.stat().st_size / 10**6
    speed = megabytes / milliseconds * 1000
    note = (
        f"{milliseconds:.0f} ms CPU, {speed:.0f} MB/s, peak {rounds.peak('engine') / 10**6:.0f} MB"
    )
    return Row(f"{size} {name}", 1000 / milliseconds, "images/s a core", note=note)


BENCHMARKS = (
    Benchmark("formats", "Throughput by size and format", reading),
    Benchmark("encoders", "Encoders and their settings, 1920x1440", writing),
    Benchmark("scaling", "Decoding scale and filter, to 1920 px", scaling, in_quick=False),
)
