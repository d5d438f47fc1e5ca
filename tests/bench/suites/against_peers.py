"""The engine beside its peers and the limit, on the same photographs, for the same outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.measure import Match, Rounds
from bench.peers import contestants
from bench.photographs import photographs, web_images, wide_gamut
from bench.result import Benchmark, Row, Scale, Target, at_least, at_most

_EVERYONE = (
    (
        "engine",
        "limit",
        "libvips",
        "libvips thumbnail",
        "imgproxy",
        "sharp",
        "sharp, plain Huffman",
        "pillow",
    )
) + ("vipsthumbnail", "ImageMagick")
_CHOSEN = ("engine", "limit", "libvips", "imgproxy", "sharp")

_TARGETS: Mapping[tuple[str, str], Target] = {
    ("12 MP", "sharp"): at_most(0.50),
    ("12 MP", "imgproxy"): at_most(0.55),
    ("12 MP", "limit"): at_most(1.35),
    ("24 MP", "limit"): at_most(1.35),
}


def peers(scale: Scale) -> Iterator[Row]:
    """12 MP against everyone."""
    yield from _compare("12 MP", _EVERYONE, scale.pick(6, 16), scale.pick(3, 5))


def sizes(scale: Scale) -> Iterator[Row]:
    """8 and 24 MP against those that matter."""
    for size in ("24 MP", "8 MP"):
        yield from _compare(size, _CHOSEN, scale.pick(6, 16), scale.pick(3, 7))


def wide_gamut_photographs(scale: Scale) -> Iterator[Row]:
    """The same photographs with and without a Display P3 profile."""
    count = scale.pick(6, 16)
    files = {"tagged": wide_gamut(count), "untagged": photographs("12 MP", count)}
    who = {"engine": "engine", "sharp": "sharp"}
    named: dict[str, Sequence[Path]] = {}
    players = {}
    for name in who:
        for kind, paths in files.items():
            for player in contestants([name]).values():
                players[f"{name}, {kind}"] = player
                named[f"{name}, {kind}"] = paths
    with Match(players) as match:
        rounds = match.play(named, scale.pick(3, 7))
    for name in players:
        yield _cost_row(rounds, name, "")
    ratio = rounds.ratio("engine, tagged", "engine, untagged")
    yield Row("Display P3 / untagged", ratio, "", at_most(1.5))


def small_web_images(scale: Scale) -> Iterator[Row]:
    """Images of 100 KB, as found on web pages, to 256 px."""
    with Match(
        contestants(("engine", "limit", "libvips", "imgproxy", "sharp", "pillow"), "web")
    ) as match:
        rounds = match.play(web_images(scale.pick(60, 120)), scale.pick(5, 15))
    for name in rounds.costs:
        target = at_least(400) if name == "engine" else None
        note = f"{rounds.cpu_ms(name):.2f} ms, peak {rounds.peak(name) / 2**20:.0f} MB"
        yield Row(
            f"web images, {name}", 1000 / rounds.cpu_ms(name), "images/s a core", target, note
        )


def _compare(size: str, names: Sequence[str], count: int, turns: int) -> Iterator[Row]:
    with Match(contestants(names)) as match:
        rounds = match.play(photographs(size, count), turns)
    for name in rounds.costs:
        yield _cost_row(rounds, name, f"{size}, ")
    for other in rounds.costs:
        if other != "engine":
            yield Row(
                f"{size}: engine / {other}",
                rounds.ratio("engine", other),
                "",
                _TARGETS.get((size, other)),
            )


def _cost_row(rounds: Rounds, name: str, prefix: str) -> Row:
    note = f"wall {rounds.wall_ms(name):.0f} ms, peak {rounds.peak(name) / 2**20:.0f} MB"
    if rounds.bytes(name):
        note += f", {rounds.bytes(name) / 1024:.0f} KiB out"
    return Row(f"{prefix}{name}", rounds.cpu_ms(name), "ms CPU", note=note)


BENCHMARKS = (
    Benchmark("peers", "12 MP photograph to 1920 px q85 and 300 px q80, all ways", peers),
    Benchmark("sizes", "The same at 8 and 24 MP", sizes),
    Benchmark("wide-gamut", "Display P3 photographs", wide_gamut_photographs),
    Benchmark("web", "Small web images to 256 px", small_web_images),
)
