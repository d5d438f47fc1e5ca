"""Before a job writes: the cache folder is there and not somebody else's,
and the source is the same as before.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import PurePosixPath

from fpj_core.errors import SourceChangedError
from fpj_core.folders.base import CacheFolder, FolderConfig
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.folders.ownership import (
    new_marker,
    overlap_refusal,
    refuse_other_layout,
    refuse_strange,
)
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.model import Folder
from fpj_core.objects import Bucket
from fpj_core.overlap import overlap
from fpj_core.paths import own_folders
from fpj_core.sources.base import SourceConfig
from fpj_core.sources.keys import display_key
from fpj_core.sources.local import LocalSourceConfig
from fpj_core.sources.s3 import S3SourceConfig
from fpj_core.store.protocol import Store

_LOOKED_FOR = 100


def refuse_own_source(source: SourceConfig, folder: FolderConfig) -> None:
    """Raise `CacheFolderError` if the cache folder is the source or lies above it."""
    if isinstance(source, LocalSourceConfig) and isinstance(folder, LocalFolderConfig):
        real = os.path.realpath(source.root)
        where = PurePosixPath(os.path.dirname(real) if os.path.isfile(real) else real)
        how = overlap(where, PurePosixPath(folder.location)) or _overlap_by_another_path(
            where, folder.location
        )
        said = display_key(str(where))
    elif isinstance(source, S3SourceConfig) and isinstance(folder, S3FolderConfig):
        how = overlap(_address(source.bucket), _address(folder.bucket))
        said = source.bucket.url
    else:
        return
    if how:
        raise overlap_refusal(folder.location, how, said)


def _overlap_by_another_path(source: PurePosixPath, folder: str) -> str | None:
    """How they overlap where one volume is mounted twice, as a claim that is both is in a pod."""
    there = _identity(folder)
    if there is None:
        return None
    for above in (source, *source.parents):
        if _identity(str(above)) == there:
            return overlap(source, above)
    return None


def _identity(path: str) -> tuple[int, int] | None:
    """Of a file or folder; None where there is none that can be asked about."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _address(bucket: Bucket) -> PurePosixPath:
    return PurePosixPath(bucket.address.lower()) / bucket.prefix


class SourceClaim:
    """A job's claim that ``identity`` is its collection's source; ``accept`` lets it be another
    than before.
    """

    def __init__(self, store: Store, collection: str, identity: str, *, accept: bool) -> None:
        self._store = store
        self._collection = collection
        self._identity = identity
        self._accept = accept

    def check(self) -> str | None:
        """What is recorded. Changes nothing. Raises `SourceChangedError`."""
        known = self._store.collection_source(self._collection)
        if known not in (None, self._identity) and not self._accept:
            raise SourceChangedError(self._collection, known, self._identity)
        return known

    def take(self, fence: int) -> None:
        """Check and record it. Raises `SourceChangedError`."""
        if self.check() != self._identity:
            self._store.record_source(self._collection, self._identity, fence)


class Claim:
    """A job's claim to its cache folder, as ``record`` has it.

    ``tiers`` are the names of what it makes.
    """

    def __init__(
        self,
        store: Store,
        folder: CacheFolder,
        record: Folder,
        collection: str,
        tiers: Sequence[str],
    ) -> None:
        self._store = store
        self._folder = folder
        self._record = record
        self._collection = collection
        self._tiers = tiers

    def check(self) -> bytes | None:
        """The marker that is there.

        Changes nothing. Raises `CacheFolderError` unless the job may write there.
        """
        state = self._folder.look()
        refuse_other_layout(self._record, state.marker, self._known())
        if state.marker is not None:
            return state.marker
        recorded = self._recorded()
        found = any(self._folder.size(path) == size for path, size in recorded[:_LOOKED_FOR])
        refuse_strange(
            state, self._record.location, recorded=bool(recorded) or self._has_files(), found=found
        )
        return None

    def take(self) -> None:
        """Check, make the folder if need be, and mark it. Raises `CacheFolderError`."""
        marker = self.check()
        own = own_folders(self._record.layout, self._collection, self._tiers)
        self._folder.mark(new_marker(self._store.identity(), self._record), own)
        if not marker:  # another job may have been faster
            refuse_other_layout(self._record, self._folder.look().marker, None)

    def _known(self) -> Folder | None:
        """What the store knows of a folder that has files."""
        known = next(
            (each for each in self._store.folders() if each.name == self._record.name), None
        )
        return known if known and self._has_files() else None

    def _recorded(self) -> list[tuple[str, int]]:
        """Path and size of some of the collection's files in the folder."""
        files = self._store.derivative_files(self._collection, self._tiers)
        name = self._record.name
        return [
            (path, size)
            for _, _, folder, path, size in islice(files, 50 * _LOOKED_FOR)
            if folder == name
        ]

    def _has_files(self) -> bool:
        return self._store.folder_totals(self._record.name)[0] > 0
