"""Temporary folders that the next process removes if their owner was killed.

The owner holds a lock on a file in its folder. A lock that can be taken is the evidence that the
owner is dead; without a lock file there is none, and the folder stays, however old it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from itertools import islice

from typing_extensions import override

from fpj_core.errors import EnvironmentFaultError

LOCK = ".fpj-lock"
_PREFIXES = ("fpj-", "pymp-")
"""Ours, and those of Python's multiprocessing that were locked with `hold`."""
_MOST_LOOKED_AT = 10_000
_MOST_SWEPT = 1_000
_BLOCK = 4_096
_ROOM = 16 * 2**20
"""Twice `fpj_core.sources.base.IN_MEMORY`."""


class Scratch(tempfile.TemporaryDirectory[str]):
    """A temporary folder of this process, below ``TMPDIR``."""

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix=prefix)
        self._held = hold(self.name)

    @override
    def cleanup(self) -> None:
        super().cleanup()
        if self._held is not None:
            os.close(self._held)
            self._held = None


def require_room() -> None:
    """Raise `EnvironmentFaultError` where temporary files cannot be kept:
    a disk that is full or read-only.

    There must be room for two of the smallest copies that are made of images at all; where half of
    the file system is less than that, half of it. None of it is taken: images may need it at this
    moment.
    """
    folder = ""
    try:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile(prefix="fpj-probe-", dir=folder) as stream:
            stream.write(bytes(_BLOCK))
            stream.flush()
            if _lacks_room(os.fstatvfs(stream.fileno())):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise no_room(error, folder) from error


def _lacks_room(file_system: os.statvfs_result) -> bool:
    """File systems that state no size are taken at their word only when they refuse to write."""
    free = file_system.f_bfree if os.geteuid() == 0 else file_system.f_bavail
    return free * file_system.f_frsize < min(
        _ROOM, file_system.f_blocks * file_system.f_frsize // 2
    )


def no_room(error: OSError, folder: str = "") -> EnvironmentFaultError:
    """What to raise for a temporary file that cannot be made."""
    where = folder or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - only named
    return EnvironmentFaultError(
        f"temporary files cannot be kept in {where}: {error.strerror or error}"
    )


def hold(folder: str) -> int | None:
    """Lock a folder for as long as the descriptor is open.

    None where its file system has no locks.
    """
    new = os.path.join(folder, f"{LOCK}.new")
    try:
        lock = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(new, os.path.join(folder, LOCK))  # never seen unlocked while we live
    except OSError:
        os.close(lock)
        with suppress(OSError):
            os.unlink(new)
        return None
    return lock


def sweep(parent: str | None = None) -> None:
    """Remove folders of this user in ``parent`` (``TMPDIR``) whose owners are dead.

    What cannot be removed stays.
    """
    parent = parent or tempfile.gettempdir()
    swept = 0
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in islice(entries, _MOST_LOOKED_AT):
            if swept < _MOST_SWEPT and entry.name.startswith(_PREFIXES):
                with suppress(OSError):
                    swept += _swept(entry)


def _swept(entry: os.DirEntry[str]) -> bool:
    if (
        not entry.is_dir(follow_symlinks=False)
        or entry.stat(follow_symlinks=False).st_uid != os.getuid()
    ):
        return False
    path = os.path.join(entry.path, LOCK)
    lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path, follow_symlinks=False).st_ino != os.fstat(lock).st_ino:
            return False  # another process swept it, and this is a new one
        shutil.rmtree(entry.path, ignore_errors=True)
    finally:
        os.close(lock)
    return True
