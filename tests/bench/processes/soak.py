"""Runs many mixed images through a pool of real children and watches the memory they hold.

Usage: soak WORKERS IMAGES WINDOW FOLDER. Every image of FOLDER is made again and again, sources
opened, outputs written and children
confined as in a job. Prints `{"windows": [[bytes of each child], …], "wall": s, "failed": n}`: the
peak of each child in each window of so many images.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain, cycle, islice, repeat

from bench.memory import forget_peak, peak_bytes
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.ids import image_id
from fpj_core.model import Format, ImageLimits, TierSpec
from fpj_core.sources.local import LocalSourceConfig
from fpj_worker.tasks import ImageHandler, ImageTask, start_image_pool

_TIERS = (
    TierSpec("full", 1920, 1440, 85, Format.JPEG),
    TierSpec("thumbnail", 300, 300, 80, Format.JPEG),
)
_NAMES = tuple(tier.name for tier in _TIERS)


def tasks(folder: str, times: int) -> Iterator[ImageTask]:
    """The folder's images, over and over, each so many times in a row:
    then each child meets each.
    """
    entries = list(LocalSourceConfig(folder).build().list())
    rounds = chain.from_iterable(repeat(entry, times) for entry in cycle(entries))
    for ordinal, entry in enumerate(rounds):
        yield ImageTask(ordinal, image_id("soak", entry.key), entry.key, entry.size, _NAMES)


def main() -> None:
    """Soak the pool."""
    workers, images, window = map(int, sys.argv[1:4])
    folder = sys.argv[4]
    windows: list[list[int]] = []
    failed = settled = 0
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fpj-bench-") as out:
        handler = ImageHandler(
            source=LocalSourceConfig(folder),
            folder=LocalFolderConfig(out),
            collection="soak",
            tiers=_TIERS,
            limits=ImageLimits(),
            token="soak",
        )
        pool = start_image_pool(handler, workers)
        first = {child.process.pid for child in pool._children}
        ahead = islice(tasks(folder, workers), images)
        with pool:
            while settled < images:
                while pool.has_room and (task := next(ahead, None)) is not None:
                    pool.submit(task)
                for outcome in pool.poll(1.0):
                    settled += 1
                    failed += outcome.error is not None
                    if settled % window == 0:
                        children = [child.process.pid or 0 for child in pool._children]
                        if not first.issuperset(children):
                            raise SystemExit(f"a child was replaced; last: {outcome.error}")
                        windows.append([peak_bytes(child) for child in children])
                        for child in children:
                            forget_peak(child)
    print(json.dumps({"windows": windows, "wall": time.perf_counter() - started, "failed": failed}))


if __name__ == "__main__":
    main()
