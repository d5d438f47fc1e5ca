"""Removing at once what was made of some images, or of a whole collection: `fpj purge`.

In two phases (`fpj_core.store.removals`), under the collection's lock. Each step may be the last:
whoever asks again goes on. Memory does not grow with the collection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

from fpj_core.folders.base import BATCH, CacheFolder
from fpj_core.model import Removal, RemovalReason
from fpj_core.store.codec import batched
from fpj_core.store.protocol import Store, nothing
from fpj_worker.locking import Lock
from fpj_worker.removal import Removed, Remover

_REASON = RemovalReason.PURGED


@dataclass(frozen=True, slots=True)
class PurgedFile:
    """A file that was removed. ``source`` is empty where nothing is known of its image any more."""

    collection: str
    source: str
    tier: str
    folder: str
    path: str
    bytes: int


OnPurged = Callable[[Sequence[PurgedFile]], None]


def ignored(_purged: Sequence[PurgedFile]) -> None:
    """For callers who need not know."""


class Purge:
    """A purge of one collection, whose lock the caller holds.

    ``on_step`` is called between batches; what it raises ends the purge. Methods raise
    `FencedError`, `StoreError`, `CacheFolderError` and `ImageError`.
    """

    def __init__(
        self, store: Store, collection: str, lock: Lock, on_step: Callable[[], None] = nothing
    ) -> None:
        self._store = store
        self._collection = collection
        self._lock = lock
        self._on_step = on_step

    def tick(self) -> None:
        """Renew the lock, and call ``on_step``."""
        self._lock.renew()
        self._on_step()

    def mark(self, refs: Iterable[tuple[int, str]]) -> None:
        """The first phase, of derivatives by (ordinal, tier): nothing lists them any more."""
        for some in batched(refs, BATCH):
            self._store.start_removals(self._collection, some, _REASON, self._lock.fence)
            self.tick()

    def mark_images(self, folder: str, ordinals: Iterable[int]) -> None:
        """The first phase, of all that was made of these images in one cache folder."""
        amounts = self._store.folder_amounts(folder)
        tiers = sorted(tier for collection, tier in amounts if collection == self._collection)
        self.mark(self._made_of(folder, ordinals, tiers))

    def mark_all(self, folder: str) -> None:
        """The first phase, of all that the collection has in one cache folder."""
        files = self._store.derivative_files(self._collection, None, self.tick)
        self.mark((ordinal, tier) for ordinal, tier, where, *_ in files if where == folder)

    def _made_of(
        self, folder: str, ordinals: Iterable[int], tiers: Sequence[str]
    ) -> Iterator[tuple[int, str]]:
        for start, stop in _runs(ordinals):
            self.tick()
            for each in self._store.derivatives(self._collection, start, stop, tiers):
                if each.folder == folder:
                    yield each.ordinal, each.tier

    def finish(
        self,
        folder: CacheFolder,
        name: str,
        on_purged: OnPurged = ignored,
        *,
        ordinals: Set[int] = frozenset(),
        everything: bool = False,
    ) -> Removed:
        """The second phase, in one cache folder: the files go, and then their records.

        Also what an earlier purge has left; of the images ``ordinals``, or of ``everything``, also
        what was to be removed for another reason. ``on_purged`` gets the files of a batch once they
        are gone: all of a batch again where it, or the purge, ended early.
        """

        def on_gone(gone: Sequence[Removal]) -> None:
            if gone:
                on_purged(self._receipt(gone))

        remover = Remover(self._store, folder, name, self._collection, self.tick)
        reasons = tuple(RemovalReason) if everything else (_REASON,)
        removed = remover.finish(reasons=reasons, ordinals=ordinals, on_gone=on_gone)
        self._store.refresh_folder(name)
        return removed

    def _receipt(self, gone: Sequence[Removal]) -> list[PurgedFile]:
        ordinals = sorted({each.ordinal for each in gone})
        keys: dict[int, str] = {}
        for some in batched(ordinals, BATCH):
            keys |= self._store.image_keys(self._collection, some)
        return [
            PurgedFile(
                self._collection,
                keys.get(each.ordinal, ""),
                each.tier,
                each.folder,
                each.path,
                each.bytes,
            )
            for each in gone
        ]


def known_images(store: Store, collection: str, keys: Sequence[str]) -> tuple[set[int], list[str]]:
    """The ordinals of images by their keys, and the keys that the store does not know."""
    found: dict[str, int] = {}
    for some in batched(dict.fromkeys(keys), BATCH):
        images = store.images_by_key(collection, some)
        found |= {key: image.ordinal for key, image in images.items()}
    return set(found.values()), [key for key in dict.fromkeys(keys) if key not in found]


def _runs(ordinals: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ranges that hold these ordinals and no others, each of a batch at most."""
    start: int | None = None
    stop = 0
    for each in sorted(ordinals):
        if start is not None and each == stop and stop - start < BATCH:
            stop += 1
            continue
        if start is not None:
            yield start, stop
        start, stop = each, each + 1
    if start is not None:
        yield start, stop
