"""`fpj run` as a whole: what it adds to the engine, how much it does in a second,
how fast it skips.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import cv2
import simplejpeg

from bench.cache import cache_folder, cached
from bench.files import linked_folder
from bench.jobs import FpjRun, fpj_run
from bench.measure import Match
from bench.peers import contestant
from bench.photographs import photograph_pixels, photographs
from bench.result import Benchmark, Row, Scale, at_least, at_most


def overhead(scale: Scale) -> Iterator[Row]:
    """All CPU time of a run, its start-up too, beside the engine's for the same photographs."""
    images = scale.pick(150, 500)
    paths = list(islice(cycle(photographs("12 MP", 12)), images))
    with Match({"engine": contestant("engine"), "fpj run": FpjRun("--workers", "1")}) as match:
        rounds = match.play(paths, scale.pick(1, 3))
    for name in rounds.costs:
        yield Row(
            f"{name}, {images} photographs",
            rounds.cpu_ms(name),
            "ms CPU",
            note=f"wall {rounds.wall_ms(name):.0f} ms",
        )
    yield Row("fpj run / engine alone", rounds.ratio("fpj run", "engine"), "", at_most(1.25))


def bulk(scale: Scale) -> Iterator[Row]:
    """A collection of 12-megapixel photographs from nothing, with five workers."""
    images = scale.pick(200, 1_000)
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache_folder()) as home:
        source = linked_folder(Path(home, "source"), photographs("12 MP", 12), images)
        finished = fpj_run(source, Path(home), "--workers", "5")
    assert finished.count("completed") == images
    cost = finished.cost
    name = f"BulkCacheGeneration_{images}Images_5Workers"
    yield Row(
        name,
        images / cost.wall,
        "images/s",
        note=f"{cost.wall:.1f} s, {cost.cpu / images * 1000:.0f} ms CPU an image",
    )
    yield Row(f"{name}, peak of all processes", cost.peak / 10**6, "MB")


def skip(scale: Scale) -> Iterator[Row]:
    """A collection that is up to date: list it, look at every file, make nothing."""
    images = scale.pick(10_000, 100_000)
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache_folder()) as home:
        source = linked_folder(
            Path(home, "source"), [_tiny(number) for number in range(64)], images
        )
        first = fpj_run(source, Path(home))
        again = [fpj_run(source, Path(home)) for _ in range(3)]
    assert all(run.count("skipped") == images for run in again)
    seconds = median(run.said["durationSeconds"] for run in again)
    cpu = median(run.cost.cpu for run in again)
    note = (
        f"{images:,} images, two files each, in {seconds:.2f} s; {cpu:.2f} s of CPU with the"
        " program's start"
    )
    yield Row("up-to-date images skipped", images / seconds, "images/s", at_least(20_000), note)
    rate = images / first.said["durationSeconds"]
    yield Row(
        "the first run over the same tiny images",
        rate,
        "images/s",
        note=f"{first.cost.cpu / images * 1000:.2f} ms CPU",
    )


def _tiny(number: int) -> Path:
    def make(path: Path) -> None:
        pixels = cv2.resize(
            photograph_pixels(number, 320, 240), (64, 48), interpolation=cv2.INTER_AREA
        )
        path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=75, colorsubsampling="420"))

    return cached(cache_folder() / "tiny" / f"{number}.jpg", make)


BENCHMARKS = (
    Benchmark("overhead", "What fpj run adds to the engine", overhead),
    Benchmark("bulk", "A whole collection", bulk),
    Benchmark("skip", "A collection that is up to date", skip),
)
