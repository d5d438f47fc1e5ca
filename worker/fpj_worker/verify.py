"""The file check: forget recorded derivatives whose files are gone, so that they are made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fpj_core.errors import CacheFolderError
from fpj_core.folders.base import CacheFolder, Expected
from fpj_core.store.codec import batched
from fpj_core.store.protocol import Store

_BATCH = 1_000


def forget_missing_files(
    store: Store,
    collection: str,
    tiers: Sequence[str],
    folder_name: str,
    folder: CacheFolder,
    on_progress: Callable[[], None] = lambda: None,
) -> int:
    """Forget derivatives that are not in the folder with their recorded size; returns how many.

    One that lies in another cache folder counts as missing: the job's own folder is where it is
    wanted. ``on_progress`` is called for each; what it raises ends the check.
    """
    elsewhere = _Doomed(store, folder, collection)
    doomed = _Doomed(store, folder, collection)

    def here() -> Iterator[Expected]:
        for ordinal, tier, recorded_folder, path, size in store.derivative_files(
            collection, tiers, on_progress
        ):
            if recorded_folder == folder_name:
                yield path, size, (ordinal, tier)
            else:
                elsewhere.add((ordinal, tier))

    for which in folder.lacking(here(), on_progress):
        doomed.add(which)
    elsewhere.forget()
    doomed.forget()
    return elsewhere.forgotten + doomed.forgotten


class _Doomed:
    """Derivatives to be forgotten, a batch at a time."""

    def __init__(self, store: Store, folder: CacheFolder, collection: str) -> None:
        self._store = store
        self._folder = folder
        self._collection = collection
        self._gathered: list[tuple[int, str]] = []
        self.forgotten = 0

    def add(self, which: tuple[int, str]) -> None:
        self._gathered.append(which)
        if len(self._gathered) >= _BATCH:
            self.forget()

    def forget(self) -> None:
        if self._gathered:
            _refuse_gone(self._folder)
            self._store.delete_derivatives(self._collection, self._gathered)
            self.forgotten += len(self._gathered)
            self._gathered = []


def _refuse_gone(folder: CacheFolder) -> None:
    """Raise `CacheFolderError` if the folder itself has gone while it was checked:
    its files may still be there.
    """
    if folder.look().marker is None:
        raise CacheFolderError(
            "the cache folder has lost its marker while it was checked: is it still mounted?"
        )


def forget_made_by_others(
    store: Store,
    collection: str,
    tiers: Sequence[str],
    job: str,
    on_progress: Callable[[], None] = lambda: None,
) -> None:
    """Forget every derivative of the tiers that ``job`` (an id) has not made,
    for a job that must make all itself.

    Those that it made by earlier settings stay: their digests make them pending.
    """
    for start in range(0, store.next_ordinal(collection), _BATCH):
        made = store.derivatives(collection, start, start + _BATCH, tiers)
        others = [(each.ordinal, each.tier) for each in made if each.job != job]
        for refs in batched(others, _BATCH):
            store.delete_derivatives(collection, refs)
            on_progress()
        on_progress()
