"""Cache folders of many tiny files, recorded in a store, for what compares and removes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from fpj_core.folders.ownership import MARKER, new_marker
from fpj_core.model import Counts, Derivative, Folder, ImageRecord, Shard, ShardBatch
from fpj_core.store.protocol import Store

FOLDER = "cache"
COLLECTION = "photos"
_BATCH = 5_000
_LONG_AGO = 1_000_000_000


def source(number: int) -> ImageRecord:
    """As the index records it."""
    image = blake2b(f"{COLLECTION}{number}".encode(), digest_size=16).hexdigest()
    return ImageRecord(COLLECTION, number, image, f"{number:09}.jpg", 1, "v")


def derivative(number: int) -> Derivative:
    """As a worker records it."""
    image = source(number).id
    path = f"{COLLECTION}/full/{image[:2]}/{image}.jpg"
    return Derivative(
        image, "full", COLLECTION, number, "d", "v", FOLDER, path, 4, 3, 1, "job", 1.0
    )


def fill(
    store: Store,
    root: Path,
    count: int,
    is_recorded: Callable[[int], bool] = lambda _: True,
    size_of: Callable[[int], int | None] = lambda _: 1,
) -> None:
    """Make a folder whose files are of one byte and recorded.

    Differences are by number: which are not recorded, and the sizes of the files themselves; None
    leaves the file out.
    """
    store.upsert_folder(Folder(FOLDER, str(root)))
    store.put_shards("job", 1, [Shard("job", 1, 0, COLLECTION, 0, count, 0)])
    held = store.claim_shard("job", 1, "bench", 1.0)
    if held is None:
        raise SystemExit("the shard cannot be claimed")
    (root / MARKER).write_bytes(new_marker(store.identity(), Folder(FOLDER, str(root))))
    for part in range(256):
        (root / COLLECTION / "full" / f"{part:02x}").mkdir(parents=True)
    for start in range(0, count, _BATCH):
        stop = min(start + _BATCH, count)
        store.upsert_images([source(number) for number in range(start, stop)], fence=0)
        made = [derivative(number) for number in range(start, stop)]
        kept = tuple(each for each in made if is_recorded(each.ordinal))
        store.flush(
            ShardBatch(
                "job", 1, 0, COLLECTION, held.epoch, 0, start, stop, Counts(stop - start), kept
            ),
            1.0,
        )
        for each in made:
            if (size := size_of(each.ordinal)) is not None:
                _put(f"{root}/{each.path}", size)


def _put(path: str, size: int) -> None:
    """A file of long ago."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, bytes(size))
    os.utime(descriptor, (_LONG_AGO, _LONG_AGO))
    os.close(descriptor)
