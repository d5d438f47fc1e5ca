"""Memory: of one file after another in one child for long, of four children together,
and of large files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.files import in_format, mixed_folder
from bench.large import large_file
from bench.measure import CHILD_ENVIRONMENT, Match, python_server, run_module
from bench.photographs import photographs
from bench.result import Benchmark, Row, Scale, Target, at_most

_MB = 10**6

_LARGE: Mapping[str, Target | None] = {
    "100 MP JPEG": None,
    "100 MP JPEG, progressive": None,
    "100 MP PNG": None,
    "500 MB TIFF": at_most(128),
    "1 gigapixel JPEG": at_most(300),
}


def one_child(scale: Scale) -> Iterator[Row]:
    """One child over thousands of mixed images."""
    images, window = scale.pick((1_000, 250), (10_000, 500))
    windows, seconds = _soak(1, images, window)
    yield Row(
        "one child, peak",
        max(windows) / _MB,
        "MB",
        at_most(160),
        f"{images:,} mixed images in {seconds:.0f} s",
    )
    yield _flatness("one child", windows, window)


def four_children(scale: Scale) -> Iterator[Row]:
    """A pod's four children together."""
    # So that each child meets each image in each window.
    window = 4 * len(list(mixed_folder().rglob("*.*")))
    images = scale.pick(3, 8) * window
    windows, seconds = _soak(4, images, window)
    yield Row(
        "four children, peak",
        max(windows) / _MB,
        "MB",
        note=f"{images:,} mixed images in {seconds:.0f} s",
    )
    yield _flatness("four children", windows, window)


def operations(scale: Scale) -> Iterator[Row]:
    """The most that one operation makes a child hold."""
    small = {"12 MP JPEG": photographs("12 MP", 1)[0]}
    small |= {
        "12 MP JPEG, progressive": in_format("12 MP", "JPEG, progressive"),
        "12 MP PNG": in_format("12 MP", "PNG"),
    }
    targets: dict[str, Target | None] = dict.fromkeys(small)
    targets.update({} if scale.quick else _LARGE)
    for name, target in targets.items():
        path = small.get(name) or large_file(name)
        once = run_module("once", str(path))
        if once["error"]:
            raise RuntimeError(f"{name}: {once['error']}")
        note = f"{once['wall'][0]:.2f} s; {once['idle'] / _MB:.0f} MB of it before the image"
        yield Row(f"{name}, peak of a child", once["peak"] / _MB, "MB", target, note)


def bomb(_scale: Scale) -> Iterator[Row]:
    """A PNG of 900 megapixels, with the usual limit of 268."""
    once = run_module("once", str(large_file("900 MP PNG bomb")), "268000000", "20")
    if not once["error"].startswith("TooManyPixels"):
        raise RuntimeError(f"the bomb was not refused: {once['error'] or 'it was decoded'}")
    worst = max(once["wall"]) * 1000
    yield Row(
        "900 MP PNG bomb, until refused",
        worst,
        "ms",
        at_most(50),
        f"worst of 20; peak {once['peak'] / _MB:.0f} MB",
    )


def malloc(scale: Scale) -> Iterator[Row]:
    """What the children's malloc settings are worth: one process over mixed images,
    with them and without.
    """
    paths = sorted(mixed_folder().rglob("*.*"))
    environments: dict[str, Mapping[str, str]] = {
        "as children have it": CHILD_ENVIRONMENT,
        "glibc's own settings": {"VIPS_CONCURRENCY": "1", "OMP_NUM_THREADS": "1"},
        "one arena, rest glibc's": {
            "VIPS_CONCURRENCY": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
        },
    }
    servers = {
        name: python_server("engine", "cache and thumbnail", each)
        for name, each in environments.items()
    }
    with Match(servers) as match:
        rounds = match.play(paths, scale.pick(3, 8))
    for name in servers:
        yield Row(
            f"mixed images, {name}",
            rounds.cpu_ms(name),
            "ms CPU",
            note=f"peak {rounds.peak(name) / _MB:.0f} MB",
        )


def _soak(workers: int, images: int, window: int) -> tuple[list[int], float]:
    """(peak of all children together in each window, seconds)."""
    soak = run_module(
        "soak", str(workers), str(images), str(window), str(mixed_folder()), environment={}
    )
    if soak["failed"]:
        raise RuntimeError(f"{soak['failed']} images failed")
    return [sum(children) for children in soak["windows"]], soak["wall"]


def _flatness(who: str, windows: Sequence[int], window: int) -> Row:
    """How far apart the peaks of the windows are, once the first has warmed everything up."""
    warm = windows[1:]
    note = (
        f"peaks of every {window} images, MB: {', '.join(f'{each / _MB:.0f}' for each in windows)}"
    )
    return Row(
        f"{who}, highest peak / lowest after {window} images",
        max(warm) / min(warm),
        "",
        at_most(1.10),
        note,
    )


BENCHMARKS = (
    Benchmark("child-memory", "Memory of one child over mixed images", one_child),
    Benchmark("pod-memory", "Memory of four children over mixed images", four_children),
    Benchmark("operations", "Memory of one operation", operations),
    Benchmark("bomb", "A decompression bomb", bomb, in_quick=False),
    Benchmark("malloc", "Children's malloc settings", malloc),
)
