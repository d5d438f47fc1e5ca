"""Is what is made fast also good? Likeness to a full decode scaled by Lanczos,
beside what sharp makes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean

import simplejpeg

from bench.measure import Server
from bench.peers import contestants
from bench.photographs import photographs
from bench.result import Benchmark, Row, Scale, at_least
from bench.similarity import multi_scale_ssim, reference, ssim

_OUTPUTS = ("1920 px", "300 px")
_MEASURES = {"SSIM": ssim, "MS-SSIM": multi_scale_ssim}
_NOT_WORSE = at_least(-0.001)
"""Differences below a thousandth change from one set of photographs to the next."""

Scores = Mapping[tuple[str, str], float]
"""By output and measure."""


def quality(scale: Scale) -> Iterator[Row]:
    """Both outputs for each size of photograph, on one scale and on several."""
    for size in ("8 MP", "12 MP", "24 MP"):
        paths = photographs(size, scale.pick(4, 12))
        players = contestants(("engine", "sharp", "libvips"))
        scores = {
            name: _scores(player, paths)
            for name, player in players.items()
            if isinstance(player, Server)
        }
        for output in _OUTPUTS:
            for measure in _MEASURES:
                values = {name: found[output, measure] for name, found in scores.items()}
                note = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
                if "sharp" in values:
                    better = values["engine"] - values["sharp"]
                    yield Row(
                        f"{size} to {output}, engine - sharp", better, measure, _NOT_WORSE, note
                    )
                else:
                    yield Row(f"{size} to {output}, engine", values["engine"], measure, note=note)


def _scores(server: Server, paths: Sequence[Path]) -> Scores:
    with tempfile.TemporaryDirectory(prefix="fpj-bench-") as folder:
        server.make(paths, keep=Path(folder))
        server.close()
        found = {
            output: [_score(path, Path(folder, f"{path.stem}-{number}")) for path in paths]
            for number, output in enumerate(_OUTPUTS)
        }
    return {
        (o, m): mean(score[m] for score in each) for o, each in found.items() for m in _MEASURES
    }


def _score(original: Path, output: Path) -> dict[str, float]:
    pixels = simplejpeg.decode_jpeg(output.read_bytes())
    target = reference(original, pixels.shape[1], pixels.shape[0])
    return {name: measure(pixels, target) for name, measure in _MEASURES.items()}


BENCHMARKS = (Benchmark("quality", "Likeness to a full decode scaled by Lanczos", quality),)
