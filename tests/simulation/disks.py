"""Source and cache folder in memory. What was written and not synced is lost with its node."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from fpj_core.errors import CacheFolderError, ErrorType, ImageError, SourceError
from fpj_core.folders.base import Expected, lacking_by_asking
from fpj_core.folders.local import write_error
from fpj_core.folders.ownership import FolderState
from fpj_core.folders.walking import Entry
from fpj_core.model import SourceEntry
from fpj_core.sources.base import FORGETFUL, Memory, OpenedImage, Problems, Source, nothing
from fpj_core.sources.filters import Filter, LeftOut
from simulation.kernel import CURRENT, Node, Process


@dataclass
class Photos:
    """A source: keys and their versions. ``bad`` ones can never be decoded."""

    versions: dict[str, str] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    broken: str = ""
    """Why none of it can be read now."""
    unmounted: bool = False
    """There is an empty folder in its place."""

    @property
    def shown(self) -> dict[str, str]:
        return {} if self.unmounted else self.versions

    def check(self) -> None:
        if self.broken:
            raise ImageError(ErrorType.READ_FAILED, self.broken, environment=True)


@dataclass
class SimSource:
    """See `fpj_core.sources.base.Source` and `SourceConfig`."""

    photos: Photos
    filter: Filter = field(default_factory=Filter)
    problems: Problems = field(default_factory=Problems)
    left_out: LeftOut = field(default_factory=LeftOut)

    def build(self) -> Source:
        return self

    def leaves_out(self, key: str) -> bool:
        return False

    def list(
        self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
    ) -> Iterator[SourceEntry]:
        on_step()
        if self.photos.broken:
            error = ImageError(ErrorType.READ_FAILED, self.photos.broken, environment=True)
            raise SourceError(self.photos.broken) from error
        for key, version in sorted(self.photos.shown.items()):  # some may vanish meanwhile
            yield SourceEntry(key, 1_000, version)

    def open(
        self, key: str, size: int, *, max_file_size: int
    ) -> AbstractContextManager[OpenedImage]:
        raise AssertionError("no image is opened here")

    def look(self, keys: Sequence[str]) -> Sequence[ImageError | None]:
        return [self._look(key) for key in keys]

    def _look(self, key: str) -> ImageError | None:
        if self.photos.broken:
            return ImageError(ErrorType.READ_FAILED, self.photos.broken, environment=True)
        return (
            None if key in self.photos.shown else ImageError(ErrorType.NOT_FOUND, f"{key} is gone")
        )


Content = tuple[int, str, str]
"""Size, version of the source, settings digest."""


@dataclass
class Disk:
    """A cache folder. Each file is on disk, or only in the memory of the node that wrote it."""

    files: dict[str, Content] = field(default_factory=dict)
    unsynced: dict[str, tuple[Process, Content | None]] = field(default_factory=dict)
    """By path, who has written it, and what was there before; nobody has synced it yet."""
    marker: bytes | None = None
    broken: int = 0
    """The error number of each write to it."""

    def write(self, path: str, content: Content, process: Process) -> None:
        if self.broken:
            raise write_error(self._error())
        before = self.files.get(path)
        if path in self.unsynced:
            before = self.unsynced[path][1]
        self.unsynced[path] = (process, before)
        self.files[path] = content

    def _error(self) -> OSError:
        return OSError(self.broken, os.strerror(self.broken))

    def check(self) -> None:
        if self.broken:
            raise CacheFolderError("the cache folder does not work") from self._error()

    def sync(self) -> None:
        self.check()
        self.unsynced.clear()

    def not_on_disk(self, process: str, paths: Iterable[str]) -> list[str]:
        """Of these, what a process of that name has written and nobody has synced."""
        return [
            path
            for path in paths
            if path in self.unsynced and self.unsynced[path][0].name == process
        ]

    def power_cut(self, node: Node) -> None:
        """What the node has not synced: the new file's name is there, and its bytes are not."""
        for path, (who, before) in list(self.unsynced.items()):
            if who.node is node:
                del self.unsynced[path]
                self.files[path] = before or (0, "", "")


@dataclass(frozen=True)
class SimFolder:
    """See `fpj_core.folders.base.CacheFolder` and `FolderConfig`."""

    disk: Disk
    location: str = "pvc://team/cache"
    answers_at_once: bool = True

    def build(self) -> SimFolder:
        return self

    def check_writable(self) -> None:
        self.disk.check()

    def look(self) -> FolderState:
        return FolderState(self.disk.marker, empty=not self.disk.files)

    def mark(self, marker: bytes, own: Sequence[str]) -> None:
        self.disk.check()
        self.disk.marker = self.disk.marker or marker

    def require_marker(self) -> None:
        if self.disk.marker is None:
            raise CacheFolderError("the marker is gone") from FileNotFoundError(2, "no marker")

    def free_bytes(self) -> int | None:
        return None

    def write(self, relative: str, data: bytes, *, token: str) -> None:
        raise AssertionError("children write, see `simulation.pods`")

    def size(self, relative: str) -> int | None:
        found = self.disk.files.get(relative)
        return found[0] if found else None

    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        return [self.size(path) for path in paths]

    def lacking(
        self, expected: Iterable[Expected], on_step: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, str]]:
        return lacking_by_asking(self, expected, on_step)

    def entries(
        self, below: str, depth: int, on_step: Callable[[], None] = nothing
    ) -> Iterator[Entry]:
        raise AssertionError("no pod takes an inventory")

    def now(self) -> float:
        raise AssertionError("no pod takes an inventory")

    def remove(self, relative: str) -> None:
        self.disk.files.pop(relative, None)
        self.disk.unsynced.pop(relative, None)

    def remove_many(self, paths: Sequence[str]) -> dict[str, str]:
        self.disk.check()
        for path in paths:
            self.remove(path)
        return {}

    def probe(self, own: str) -> None:
        self.disk.check()
        self.require_marker()

    def syncer(self) -> Callable[[], None]:
        CURRENT.get().check()
        return self.disk.sync

    def sweep(self, own: Sequence[str], *_store: str) -> None:
        self.disk.check()
