"""Forgetting a whole collection: its files, and then what the store knows of it.

Each step may be the last; whoever asks again goes on. Sources are not touched, and not even asked
for. First every folder that has files of the collection must show its marker, then the files go in
two phases (`fpj_core.store.removals`), then what has no record, and only when no file is left the
records: a folder that cannot be reached keeps all of them. The records of the jobs go last, since
one may find the collection by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from fpj_core.errors import CacheFolderError, ImageError
from fpj_core.folders.base import BATCH, CacheFolder
from fpj_core.model import Job, RemovalReason
from fpj_core.store.codec import batched
from fpj_core.store.protocol import Store
from fpj_worker.inventory import take_inventory
from fpj_worker.locking import Lock
from fpj_worker.removal import Removed, Remover

_JOBS = 100
_MOST_TROUBLES = 10


@dataclass(frozen=True, slots=True)
class Holdings:
    """What there is of a collection: files and bytes by (folder, tier), images, and jobs."""

    collection: str
    files: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    images: int = 0
    jobs: int = 0

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of the cache folders that have its files."""
        return tuple(sorted({folder for folder, _ in self.files}))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten.

    ``troubles`` say which files could not be removed; then the records are there yet.
    """

    collection: str
    removed: Removed
    images: int = 0
    jobs: int = 0
    unrecorded: int = 0
    """Files of it that had no record and were written within the last hour: they are there yet."""
    troubles: tuple[str, ...] = ()


def holdings_of(store: Store, collection: str, on_step: Callable[[], None]) -> Holdings:
    """What there is of a collection, by its records, those of removals included."""
    files: dict[tuple[str, str], tuple[int, int]] = {}

    def add(folder: str, tier: str, size: int) -> None:
        number, total = files.get((folder, tier), (0, 0))
        files[folder, tier] = number + 1, total + size

    for _, tier, folder, _, size in store.derivative_files(collection, None, on_step):
        add(folder, tier, size)
    for known in store.folders():
        for each in store.removals(collection, known.name):
            if not each.recorded:
                add(each.folder, each.tier, each.bytes)
    images = store.count_images(collection, on_step=on_step)
    return Holdings(collection, files, images, sum(1 for _ in _jobs(store, collection)))


def forget(
    store: Store,
    holdings: Holdings,
    folders: Mapping[str, CacheFolder],
    lock: Lock,
    on_step: Callable[[], None],
) -> Forgotten:
    """Forget a collection, under its lock; ``folders`` are those of ``holdings``, by name.

    ``on_step`` is called every few thousand files or images; what it raises ends it. Raises
    `CacheFolderError` before anything has changed where a folder cannot be reached, or is unknown;
    `FencedError` and `StoreError`.
    """
    collection = holdings.collection

    def tick() -> None:
        lock.renew()
        on_step()

    _require(holdings, folders)
    _start(store, collection, lock, tick)
    removed = Removed()
    troubles: list[str] = []
    for name, folder in folders.items():
        try:
            removed += Remover(store, folder, name, collection, tick).finish()
        except (CacheFolderError, ImageError) as error:
            troubles.append(str(error))
    troubles += [f"{path}: {why}" for path, why in removed.troubles.items()]
    if troubles:
        return Forgotten(collection, removed, troubles=tuple(troubles[:_MOST_TROUBLES]))
    unrecorded = _remove_unrecorded(store, collection, folders, lock, tick)
    store.forget_collection(collection, lock.fence, tick)
    jobs = _delete_jobs(store, collection, tick)
    for name in folders:
        store.refresh_folder(name)
    return Forgotten(collection, removed, holdings.images, jobs, unrecorded)


def _require(holdings: Holdings, folders: Mapping[str, CacheFolder]) -> None:
    """Raise `CacheFolderError` unless each folder is known, and is what it was."""
    for name in holdings.folders:
        if name not in folders:
            raise CacheFolderError(
                f"files of {holdings.collection} are in the cache folder {name}, which cannot be"
                " reached from here"
            )
        folders[name].require_marker()


def _start(store: Store, collection: str, lock: Lock, tick: Callable[[], None]) -> None:
    """The first phase, for all that is recorded."""
    files = store.derivative_files(collection, None, tick)
    refs = ((ordinal, tier) for ordinal, tier, *_ in files)
    for some in batched(refs, BATCH):
        store.start_removals(collection, some, RemovalReason.FORGOTTEN, lock.fence)
        tick()


def _remove_unrecorded(
    store: Store,
    collection: str,
    folders: Mapping[str, CacheFolder],
    lock: Lock,
    tick: Callable[[], None],
) -> int:
    """Remove files that have no record, as a writer that was killed left them; how many stay,
    since they may be of a writer that still goes on.
    """
    left = 0
    for name, folder in folders.items():
        with suppress(CacheFolderError):  # none of its files are recorded here
            found = take_inventory(
                store,
                folder,
                name,
                lambda _so_far: tick(),
                repair=True,
                collection=collection,
                lock=lock,
            )
            left += found.left
    return left


def _delete_jobs(store: Store, collection: str, tick: Callable[[], None]) -> int:
    deleted = 0
    while some := store.jobs(collection=collection, limit=_JOBS):
        for job in some:
            store.delete_job(job.id, tick)
            deleted += 1
    return deleted


def _jobs(store: Store, collection: str) -> Iterator[Job]:
    """The collection's jobs, newest first, some at a time."""
    before: float | None = None
    while some := store.jobs(collection=collection, limit=_JOBS, before=before):
        yield from some
        before = some[-1].created_at
