"""What looking at files costs: such as answer at once, and such as take half a millisecond,
as over a network.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cache import cache_folder
from bench.result import Benchmark, Row, Scale, at_least
from fpj_core.folders.local import LocalFolder
from fpj_core.sources.local import LocalSource

_DELAY_SECONDS = 0.0005


def looks(scale: Scale) -> Iterator[Row]:
    """Files per second: listing them as a source, and checking them as derivatives."""
    count = 4_000 if scale.quick else 20_000
    with tempfile.TemporaryDirectory(prefix="looks-", dir=cache_folder()) as folder:
        names = [f"{number}.jpg" for number in range(count)]
        for name in names:
            Path(folder, name).touch()
        expected = [(name, 0, (number, "full")) for number, name in enumerate(names)]
        for what, work in (
            ("listing a source", lambda: sum(1 for _ in LocalSource(folder).list())),
            (
                "the file check",
                lambda: count - sum(1 for _ in LocalFolder(folder).lacking(expected)),
            ),
        ):
            yield Row(f"{what}, a local disk", count / _seconds(work, count), "files/s")
            with _slow_stats():
                seconds = _seconds(work, count)
            yield Row(f"{what}, 0.5 ms more for every stat", count / seconds, "files/s")
            alone = count * _delay()
            yield Row(
                f"{what}: gain over one stat after another",
                alone / seconds,
                "x",
                target=at_least(8),
            )


def _seconds(work: Callable[[], int], count: int) -> float:
    started = time.perf_counter()
    if work() != count:
        raise RuntimeError("not every file was found")
    return time.perf_counter() - started


def _delay() -> float:
    """What the delay really takes on this machine, in seconds."""
    started = time.perf_counter()
    for _ in range(200):
        time.sleep(_DELAY_SECONDS)
    return (time.perf_counter() - started) / 200


@contextmanager
def _slow_stats() -> Iterator[None]:
    """An entry's own stat cannot be replaced: whatever looks at one is made slow."""
    places = ((os, "lstat"), (LocalSource, "_look_at"))
    real = [getattr(place, name) for place, name in places]

    def slow(ask: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*arguments: Any, **options: Any) -> Any:
            time.sleep(_DELAY_SECONDS)
            return ask(*arguments, **options)

        return asked

    for (place, name), ask in zip(places, real, strict=True):
        setattr(place, name, slow(ask))
    try:
        yield
    finally:
        for (place, name), ask in zip(places, real, strict=True):
            setattr(place, name, ask)


BENCHMARKS = (Benchmark("looks", "Looking at files", looks),)
