"""The file check: forget recorded derivatives whose files are gone, so that they are made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fpj_core.errors import CacheFolderError
from fpj_core.folders import CacheFolder
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

    One that lies in another cache folder counts as missing: the job's own folder is where it is wanted.
    ``on_progress`` is called for each; what it raises ends the check.
    """
    forgotten = 0
    for batch in batched(store.derivative_files(collection, tiers, on_progress), _BATCH):
        missing = []
        for ordinal, tier, recorded_folder, path, size in batch:
            on_progress()  # an object storage may need its time for each
            if recorded_folder != folder_name or folder.size(path) != size:
                missing.append((ordinal, tier))
        if missing:
            _refuse_gone(folder)
            store.delete_derivatives(collection, missing)
            forgotten += len(missing)
    return forgotten


def _refuse_gone(folder: CacheFolder) -> None:
    """Raise `CacheFolderError` if the folder itself has gone while it was checked: its files may still be there."""
    if folder.look().marker is None:
        raise CacheFolderError("the cache folder has lost its marker while it was checked: is it still mounted?")


def forget_made_by_others(
    store: Store, collection: str, tiers: Sequence[str], job: str, on_progress: Callable[[], None] = lambda: None
) -> None:
    """Forget every derivative of the tiers that ``job`` (an id) has not made, for a job that must make all itself.

    Those that it made by earlier settings stay: their digests make them pending.
    """
    for start in range(0, store.next_ordinal(collection), _BATCH):
        made = store.derivatives(collection, start, start + _BATCH, tiers)
        others = [(each.ordinal, each.tier) for each in made if each.job != job]
        for refs in batched(others, _BATCH):
            store.delete_derivatives(collection, refs)
            on_progress()
        on_progress()
