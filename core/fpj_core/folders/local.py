"""A cache folder on a file system.

The folder's own path is resolved once; below it no link is ever followed, so a link planted inside leads nowhere.
Files appear whole: each is written to ``<collection>/.tmp`` and renamed. They are not forced to disk one by one:
after a power cut the file check of the next run finds a torn file by its size and makes it again.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
import uuid
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

from fpj_core.errors import CacheFolderError, ErrorType, ImageError
from fpj_core.sources.local import CACHE_TAG, CACHE_TAG_SIGNATURE

_TEMPORARY = ".tmp"
_OPEN_FOLDERS = 64
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TAG = CACHE_TAG_SIGNATURE + b"\n# This folder holds images that fpj can make again.\n"
_LINKS = {errno.ELOOP, errno.ENOTDIR}


@dataclass(frozen=True, slots=True)
class LocalFolderConfig:
    """A cache folder by its path."""

    root: str

    @property
    def location(self) -> str:
        """The real path."""
        return os.path.realpath(self.root)

    def build(self) -> LocalFolder:
        """See `fpj_core.folders.base.FolderConfig`."""
        return LocalFolder(self.location)


class LocalFolder:
    """See `fpj_core.folders.base.CacheFolder`."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._prefix = root.rstrip("/") + "/"
        self._folders: OrderedDict[str, int] = OrderedDict()
        self._numbers = itertools.count()

    def check_writable(self) -> None:
        """See `fpj_core.folders.base.CacheFolder.check_writable`; also tags the folder as a cache."""
        try:
            os.makedirs(self._root, exist_ok=True)
            self._write_tag()
        except OSError as error:
            raise CacheFolderError(f"cache folder {self._root} cannot be written: {error.strerror}") from error

    def _write_tag(self) -> None:
        """Write a tag under a name of its own (process ids come again in containers), and keep it if there is none."""
        tag = os.path.join(self._root, CACHE_TAG)
        probe = os.path.join(self._root, f".fpj-probe-{uuid.uuid4().hex}")
        try:
            with open(probe, "xb") as stream:
                stream.write(_TAG)
            if not os.path.lexists(tag):
                os.rename(probe, tag)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(probe)

    def free_bytes(self) -> int | None:
        """See `fpj_core.folders.base.CacheFolder.free_bytes`; of the file system, for this user."""
        existing = self._root
        while not os.path.isdir(existing) and existing != "/":
            existing = os.path.dirname(existing)
        return shutil.disk_usage(existing).free

    def write(self, relative: str, data: bytes, *, token: str) -> None:
        """See `fpj_core.folders.base.CacheFolder.write`."""
        folder, _, name = relative.rpartition("/")
        collection = relative.partition("/")[0]
        temporary = f"{token}-{os.getpid()}-{next(self._numbers)}"
        try:
            source = self._folder(f"{collection}/{_TEMPORARY}")
            target = self._folder(folder)
            self._write_temporary(source, temporary, data)
            try:
                os.rename(temporary, name, src_dir_fd=source, dst_dir_fd=target)
            except OSError:
                _unlink(temporary, source)
                self._forget_folders()  # one of them may have been removed under us
                raise
        except OSError as error:
            raise _typed(error) from error

    def size(self, relative: str) -> int | None:
        """See `fpj_core.folders.base.CacheFolder.size`."""
        try:
            info = os.lstat(self._prefix + relative)
        except OSError:
            return None
        return info.st_size if stat.S_ISREG(info.st_mode) else None

    def remove(self, relative: str) -> None:
        """See `fpj_core.folders.base.CacheFolder.remove`."""
        folder, _, name = relative.rpartition("/")
        try:
            _unlink(name, self._folder(folder, make=False))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _typed(error) from error

    def sweep(self, collection: str) -> None:
        """See `fpj_core.folders.base.CacheFolder.sweep`."""
        with suppress(OSError):
            folder = self._folder(f"{collection}/{_TEMPORARY}", make=False)
            for name in os.listdir(folder):
                with suppress(OSError):
                    _unlink(name, folder)

    def _write_temporary(self, folder: int, name: str, data: bytes) -> None:
        try:
            descriptor = os.open(name, _FILE_FLAGS, 0o644, dir_fd=folder)
        except FileNotFoundError:
            self._forget_folders()
            raise
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            _unlink(name, folder)
            raise
        finally:
            os.close(descriptor)

    def _folder(self, relative: str, *, make: bool = True) -> int:
        """A descriptor of a folder below the root, opened component by component, no link followed."""
        if relative in self._folders:
            self._folders.move_to_end(relative)
            return self._folders[relative]
        # O_PATH: a confined process may write below the collection's own folder, and not even list this one.
        current = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for component in relative.split("/"):
            parent = current
            try:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(component, 0o755, dir_fd=parent)
                current = os.open(component, _FOLDER_FLAGS, dir_fd=parent)
            finally:
                os.close(parent)
        self._folders[relative] = current
        if len(self._folders) > _OPEN_FOLDERS:
            os.close(self._folders.popitem(last=False)[1])
        return current

    def _forget_folders(self) -> None:
        while self._folders:
            os.close(self._folders.popitem()[1])


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _typed(error: OSError) -> ImageError:
    if error.errno in _FULL:
        return ImageError(ErrorType.DISK_FULL, f"the cache folder is full: {error.strerror}")
    if error.errno in _LINKS:
        return ImageError(ErrorType.PATH_VIOLATION, "a link or a file stands where the cache folder has a folder")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return ImageError(ErrorType.ACCESS_DENIED, f"the cache folder cannot be written: {error.strerror}")
    return ImageError(ErrorType.WRITE_FAILED, f"the cache folder cannot be written: {error.strerror}")
