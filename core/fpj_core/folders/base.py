"""The contract of a cache folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from fpj_core.folders.ownership import FolderState
from fpj_core.folders.walking import Entry
from fpj_core.sources.base import nothing

BATCH = 1_000
"""Files asked about at a time."""

Expected = tuple[str, int, tuple[int, str]]
"""A file's path and size as recorded, and the (ordinal, tier) that it is of."""


class CacheFolder(Protocol):
    """A place for derivatives. Paths are relative, as `fpj_core.paths` makes them."""

    def check_writable(self) -> None:
        """Make the folder if need be. Raises `CacheFolderError` when it cannot be written."""

    def look(self) -> FolderState:
        """What is there.

        Changes nothing. Raises `CacheFolderError` when the folder cannot be read.
        """

    def mark(self, marker: bytes, own: Sequence[str]) -> None:
        """Make the folder if need be, and put the marker where there is none or an empty one.

        ``own`` are the folders right below it that the job writes to
        (`fpj_core.paths.own_folders`). Raises `CacheFolderError` when it cannot be written.
        """

    def require_marker(self) -> None:
        """Raise `CacheFolderError` where there is no marker: then another folder is in its place,
        say a mount point.
        """

    def free_bytes(self) -> int | None:
        """Free space, or None where there is no such bound."""

    def write(self, relative: str, data: bytes, *, token: str) -> None:
        """Write a file whole or not at all.

        ``token`` tells this writer's temporary names from others'.

        It begins with the identity of the writer's store and a dash: see `sweep`.

        Raises `ImageError`: DiskFull, WriteFailed, AccessDenied, PathViolation, StoreUnavailable.
        """

    def size(self, relative: str) -> int | None:
        """A file's size in bytes, None if it is not there.

        Raises `CacheFolderError` or `ImageError` where that cannot be known: only "no such file"
        means missing.
        """

    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        """`size` of each, asked in parallel where answers take their time."""

    @property
    def answers_at_once(self) -> bool:
        """Whether asking about single files is cheap: neither slow nor paid for."""

    def lacking(
        self, expected: Iterable[Expected], on_step: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, str]]:
        """The (ordinal, tier) of each file that is not there with the expected size, in any order.

        Memory does not grow with the files. ``on_step`` is called for each; what it raises ends the
        check.
        """

    def entries(
        self, below: str, depth: int, on_step: Callable[[], None] = nothing
    ) -> Iterator[Entry]:
        """What is in the folder ``below`` (empty: in all of it), ascending by `Entry.order`.

        Folders ``depth`` levels further down are given as they are, and not entered. Links are not
        followed. What fpj and systems leave beside outputs is left out. Memory does not grow with
        the files; ``on_step`` is called every few thousand. Raises `CacheFolderError`.
        """

    def now(self) -> float:
        """Seconds since the epoch by the clock that dates the files. Raises `CacheFolderError`."""

    def remove(self, relative: str) -> None:
        """Remove a file if it is there."""

    def remove_many(self, paths: Sequence[str]) -> Mapping[str, str]:
        """Remove files that are there, up to 1,000, and the folders that this leaves empty.

        Those right below the cache folder stay. Nobody may write to the collection's folders at the
        time. Gives the files that could not be removed, with the reason. Raises `CacheFolderError`
        or `ImageError` where nothing can be removed at the moment; some may be gone then.
        """

    def probe(self, own: str) -> None:
        """Show that a file can be kept here at this moment, by keeping one for a moment.

        It leaves nothing behind.

        ``own`` is a folder right below it that the job writes to. Raises
        `CacheFolderError`, also where a folder has lost its marker: then another one is in its
        place.
        """

    def syncer(self) -> Callable[[], None]:
        """What brings everything written from now on, by whichever process, to disk.

        Calling it raises `CacheFolderError` when some of it may be lost. That is reported once
        only: what was written before must then not be relied on, also when a later call succeeds.
            Raises `CacheFolderError`, too.
        """

    def sweep(self, own: Sequence[str], store: str) -> None:
        """Remove what killed writers left in these folders.

        Only for whoever holds their collection's lease.

        That lease is of one store, whose identity is ``store``: of other stores' writers, which may
        be active, only what is old is removed.
        """


def lacking_by_asking(
    folder: CacheFolder, expected: Iterable[Expected], on_step: Callable[[], None]
) -> Iterator[tuple[int, str]]:
    """`CacheFolder.lacking` by asking for each file."""
    iterator = iter(expected)
    while batch := list(islice(iterator, BATCH)):
        found = folder.sizes([path for path, _, _ in batch])
        for (_, size, which), there in zip(batch, found, strict=True):
            on_step()
            if there != size:
                yield which


class FolderConfig(Protocol):
    """How to reach a cache folder; small and picklable,
    so that each worker process builds its own.
    """

    @property
    def location(self) -> str:
        """A path, or ``s3://bucket/prefix``."""

    def build(self) -> CacheFolder:
        """A cache folder, not yet touched."""
