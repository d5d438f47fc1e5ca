"""The contract of a cache folder."""

from __future__ import annotations

from typing import Protocol

from fpj_core.folders.ownership import FolderState


class CacheFolder(Protocol):
    """A place for derivatives. Paths are relative, as `fpj_core.paths.derivative_path` makes them."""

    def check_writable(self) -> None:
        """Make the folder if need be. Raises `CacheFolderError` when it cannot be written."""

    def look(self) -> FolderState:
        """What is there. Changes nothing. Raises `CacheFolderError` when the folder cannot be read."""

    def mark(self, marker: bytes, collection: str) -> None:
        """Make the folder if need be, and put the marker where there is none or an empty one.

        Raises `CacheFolderError` when it cannot be written.
        """

    def free_bytes(self) -> int | None:
        """Free space, or None where there is no such bound."""

    def write(self, relative: str, data: bytes, *, token: str) -> None:
        """Write a file whole or not at all. ``token`` tells this writer's temporary names from others'.

        Raises `ImageError`: DiskFull, WriteFailed, AccessDenied, PathViolation, StoreUnavailable.
        """

    def size(self, relative: str) -> int | None:
        """A file's size in bytes, None if it is not there.

        Raises `CacheFolderError` or `ImageError` where that cannot be known: only "no such file" means missing.
        """

    def remove(self, relative: str) -> None:
        """Remove a file if it is there."""

    def sweep(self, collection: str) -> None:
        """Remove what killed writers left behind. Only for whoever holds the collection's lease."""


class FolderConfig(Protocol):
    """How to reach a cache folder; small and picklable, so that each worker process builds its own."""

    @property
    def location(self) -> str:
        """A path, or ``s3://bucket/prefix``."""

    def build(self) -> CacheFolder:
        """A cache folder, not yet touched."""
