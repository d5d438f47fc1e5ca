"""Bringing a file system's unwritten data to disk, and hearing of what could not be written."""

from __future__ import annotations

import ctypes
import errno
import os

_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


class FileSystemSync:
    """Syncs the file system that a folder is on: one call for any number of files and new folders.

    The descriptor is opened once and kept: since Linux 5.8 the kernel reports a failed write to
    each descriptor that was open before the failure, and once only. Other errors than `OSError` are
    not raised.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __call__(self) -> None:
        """Return when what was written is on disk.

        Raises `OSError`: some of it may be lost, now and for good.
        """
        if os.stat(self._root).st_dev != os.fstat(self._descriptor).st_dev:
            raise OSError(errno.ESTALE, "another file system has taken its place")
        if _syncfs is None:
            os.sync()
        elif _syncfs(self._descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)
