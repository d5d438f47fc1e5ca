"""Before a job writes: the cache folder is there and not somebody else's, and the source is the same as before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice

from fpj_core.errors import SourceChangedError
from fpj_core.folders import CacheFolder, FolderConfig, LocalFolderConfig
from fpj_core.folders.ownership import new_marker, refuse_overlap, refuse_strange
from fpj_core.sources.base import SourceConfig
from fpj_core.sources.local import LocalSourceConfig
from fpj_core.store.protocol import Store

_LOOKED_FOR = 100


def refuse_own_source(source: SourceConfig, folder: FolderConfig) -> None:
    """Raise `CacheFolderError` if the cache folder is the source or lies above it."""
    if isinstance(source, LocalSourceConfig) and isinstance(folder, LocalFolderConfig):
        real = os.path.realpath(source.root)
        refuse_overlap(os.path.dirname(real) if os.path.isfile(real) else real, folder.location)


class SourceClaim:
    """A job's claim that ``identity`` is its collection's source; ``accept`` lets it be another than before."""

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
    """A job's claim to its cache folder. ``tiers`` are the names of what it makes."""

    def __init__(
        self, store: Store, folder: CacheFolder, name: str, location: str, collection: str, tiers: Sequence[str]
    ) -> None:
        self._store = store
        self._folder = folder
        self._name = name
        self._location = location
        self._collection = collection
        self._tiers = tiers

    def check(self) -> None:
        """Change nothing. Raises `CacheFolderError` unless the job may write there."""
        state = self._folder.look()
        if state.marker is not None:
            return
        recorded = self._recorded()
        found = any(self._folder.size(path) == size for path, size in recorded[:_LOOKED_FOR])
        refuse_strange(state, self._location, recorded=bool(recorded) or self._has_files(), found=found)

    def take(self) -> None:
        """Check, make the folder if need be, and mark it. Raises `CacheFolderError`."""
        self.check()
        self._folder.mark(new_marker(self._store.identity(), self._name), self._collection)

    def _recorded(self) -> list[tuple[str, int]]:
        """Path and size of some of the collection's files in the folder."""
        files = self._store.derivative_files(self._collection, self._tiers)
        return [(path, size) for _, _, folder, path, size in islice(files, 50 * _LOOKED_FOR) if folder == self._name]

    def _has_files(self) -> bool:
        return self._store.folder_totals(self._name)[0] > 0
