"""A cache folder on a file system.

The folder's own path is resolved once; below it no link is ever followed, so a link planted inside
leads nowhere. Files appear whole: each is written to ``.tmp`` in the first folder of its path, and
renamed. They are not forced to disk one by one: who records them syncs the file system before
(`LocalFolder.syncer`).
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import stat
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from typing_extensions import override

from fpj_core import faults
from fpj_core.errors import CacheFolderError, ErrorType, ImageError
from fpj_core.folders.base import CacheFolder, Expected, FolderConfig, lacking_by_asking
from fpj_core.folders.ownership import MARKER, PROBE, FolderState, is_litter
from fpj_core.folders.syncing import FileSystemSync
from fpj_core.folders.walking import Entry, walk
from fpj_core.manyfold import Manyfold
from fpj_core.places import brief, words_of
from fpj_core.sources.base import nothing
from fpj_core.sources.local import CACHE_TAG, CACHE_TAG_SIGNATURE

_TEMPORARY = ".tmp"
_OPEN_FOLDERS = 64
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TAG = CACHE_TAG_SIGNATURE + b"\n# This folder holds images that fpj can make again.\n"
_MOST_MARKER = 4_096
_ABANDONED_SECONDS = 3_600.0
"""A temporary file lives for as long as one write takes: seconds,
or minutes on storage that stalls.
"""
_PROBE_BYTES = 4 * 2**20
"""What a probe writes: a disk that is full for images has room for small files, often."""
_PART = re.compile(r"[0-9a-f]{2}")
_LINKS = {errno.ELOOP, errno.ENOTDIR}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
"""What a file system says that has no hard links."""


@dataclass(frozen=True, slots=True)
class LocalFolderConfig(FolderConfig):
    """A cache folder by its path."""

    root: str

    @property
    @override
    def location(self) -> str:
        """The real path."""
        return os.path.realpath(self.root)

    @override
    def build(self) -> LocalFolder:
        return LocalFolder(self.location)


class LocalFolder(CacheFolder):
    """See `fpj_core.folders.base.CacheFolder`."""

    answers_at_once = True

    def __init__(self, root: str) -> None:
        self._root = root
        self._many = Manyfold()
        self._prefix = root.rstrip("/") + "/"
        self._folders: OrderedDict[str, int] = OrderedDict()
        self._numbers = itertools.count()

    @override
    def check_writable(self) -> None:
        """A folder that is made here is tagged as a cache."""
        with self._refusing():
            made = _make(self._root)
            self._put(CACHE_TAG if made else None, _TAG)

    @override
    def look(self) -> FolderState:
        try:
            names = set(os.listdir(self._root))
            marker = _read(os.path.join(self._root, MARKER)) if MARKER in names else None
            return FolderState(
                marker=marker,
                empty=all(map(is_litter, names)),
                ours=_is_tagged(self._root) and _holds_ours(self._root),
            )
        except (FileNotFoundError, NotADirectoryError):
            return FolderState()
        except OSError as error:
            raise CacheFolderError(
                f"cache folder {brief(self._root)} cannot be read: {words_of(error)}"
            ) from error

    @override
    def mark(self, marker: bytes, own: Sequence[str]) -> None:
        """The cache tag goes only into what is made here: the folder,
        else the job's own folders in it.
        """
        self.check_writable()
        with self._refusing():
            self._put(MARKER, marker)
            if _is_tagged(self._root):
                return
            for name in own:
                with suppress(FileExistsError):
                    os.mkdir(os.path.join(self._root, name))
                    self._put(f"{name}/{CACHE_TAG}", _TAG)

    @override
    def require_marker(self) -> None:
        try:
            os.lstat(os.path.join(self._root, MARKER))
        except OSError as error:
            if isinstance(error, FileNotFoundError) and os.path.isdir(self._root):
                text = f"cache folder {self._root} has lost its marker ({MARKER}): is it mounted?"
                raise CacheFolderError(text) from error
            raise CacheFolderError(
                f"cache folder {brief(self._root)} cannot be read: {words_of(error)}"
            ) from error

    def _put(self, name: str | None, content: bytes) -> None:
        """Write a file under a name of its own (process ids come again in containers),
        and keep it if there is none.

        Without a name it only shows that the folder can be written. An empty marker is one put
        there by hand.
        """
        probe = os.path.join(self._root, f"{PROBE}{uuid.uuid4().hex}")
        try:
            with open(probe, "xb") as stream:
                stream.write(content)
            target = name and os.path.join(self._root, name)
            if target:
                _keep(probe, target, replace_empty=name == MARKER)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(probe)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheFolderError(
                f"cache folder {brief(self._root)} cannot be written: {words_of(error)}"
            ) from error

    @override
    def free_bytes(self) -> int | None:
        """Of the file system, for this user."""
        existing = self._root
        while not os.path.isdir(existing) and existing != "/":
            existing = os.path.dirname(existing)
        return shutil.disk_usage(existing).free

    @override
    def write(self, relative: str, data: bytes, *, token: str) -> None:
        folder, _, name = relative.rpartition("/")
        own = relative.partition("/")[0]
        temporary = f"{token}-{os.getpid()}-{next(self._numbers)}"
        try:
            source = self._folder(f"{own}/{_TEMPORARY}")
            target = self._folder(folder)
            self._write_temporary(source, temporary, data)
            try:
                os.rename(temporary, name, src_dir_fd=source, dst_dir_fd=target)
            except OSError:
                _unlink(temporary, source)
                self._forget_folders()  # one of them may have been removed under us
                raise
        except OSError as error:
            raise write_error(error) from error

    @override
    def size(self, relative: str) -> int | None:
        try:
            info = os.lstat(self._prefix + relative)
        # A file stands in a folder's place: nothing is behind it.
        except (FileNotFoundError, NotADirectoryError):
            return None
        # An error does not mean that the file is missing: the record would be forgotten.
        except OSError as error:
            raise CacheFolderError(
                f"cache folder {brief(self._root)} cannot be read: {words_of(error)}"
            ) from error
        return info.st_size if stat.S_ISREG(info.st_mode) else None

    @override
    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        return self._many(self.size, paths)

    @override
    def lacking(
        self, expected: Iterable[Expected], on_step: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, str]]:
        return lacking_by_asking(self, expected, on_step)

    @override
    def entries(
        self, below: str, depth: int, on_step: Callable[[], None] = nothing
    ) -> Iterator[Entry]:
        return walk(self._root, below, depth, on_step)

    @override
    def now(self) -> float:
        probe = os.path.join(self._root, f"{PROBE}{uuid.uuid4().hex}")
        with self._refusing():
            try:
                with open(probe, "xb") as stream:
                    return os.fstat(stream.fileno()).st_mtime
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(probe)

    @override
    def remove(self, relative: str) -> None:
        folder, _, name = relative.rpartition("/")
        try:
            _unlink(name, self._folder(folder, make=False))
        except FileNotFoundError:
            return
        except OSError as error:
            raise write_error(error) from error

    @override
    def remove_many(self, paths: Sequence[str]) -> Mapping[str, str]:
        troubles = self._many(self._remove_one, paths, self._remove_alone)
        left = {}
        for path, trouble in zip(paths, troubles, strict=True):
            if trouble is not None and trouble.environment:
                raise trouble
            if trouble is not None:
                left[path] = trouble.message
        self._forget_folders()  # some of them go now
        emptied = {path.rpartition("/")[0] for path in paths if path not in left}
        for folder in sorted(emptied, reverse=True):
            self._remove_empty(folder)
        return left

    def _remove_one(self, path: str) -> ImageError | None:
        """What is in the way, unless it is the environment's: that is raised."""
        try:
            self.remove(path)
        except ImageError as error:
            if error.environment:
                raise
            return error
        return None

    def _remove_alone(self, path: str) -> ImageError | None:
        """The same in a thread, whose folder no other closes.

        Raises nothing: who hears of an error may make the files again, while threads go on.
        """
        relative, _, name = path.rpartition("/")
        try:
            folder = self._opened(relative, make=False)
            try:
                _unlink(name, folder)
            finally:
                os.close(folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            return write_error(error)
        except ImageError as error:
            return error
        return None

    def _remove_empty(self, folder: str) -> None:
        """And those above it, up to the one right below the cache folder, which stays."""
        while "/" in folder:
            above, _, name = folder.rpartition("/")
            try:
                os.rmdir(name, dir_fd=self._folder(above, make=False))
            except OSError:  # it is not empty, or gone already
                return
            self._forget_folders()
            folder = above

    @override
    def probe(self, own: str) -> None:
        self._forget_folders()  # another file system may have taken their place
        self.require_marker()
        with self._refusing():
            folder = self._folder(f"{own}/{_TEMPORARY}")
            name = f"{PROBE}{uuid.uuid4().hex}"
            try:
                self._write_temporary(folder, name, os.urandom(_PROBE_BYTES), sync=True)
            finally:
                _unlink(name, folder)

    @override
    def syncer(self) -> Callable[[], None]:
        with self._refusing():
            sync = FileSystemSync(self._root)

        def refusing() -> None:
            with self._refusing():
                sync()

        return refusing

    @override
    def sweep(self, own: Sequence[str], store: str) -> None:
        for each in own:
            with suppress(OSError):
                folder = self._folder(f"{each}/{_TEMPORARY}", make=False)
                names = os.listdir(folder)
                ours = [name for name in names if name.startswith(f"{store}-")]
                for name in (*ours, *self._abandoned(folder, set(names).difference(ours))):
                    with suppress(OSError):
                        _unlink(name, folder)

    def _abandoned(self, folder: int, names: Iterable[str]) -> Iterator[str]:
        """Those that nobody can still be writing, by the clock that dates them:
        a server's may differ from ours.
        """
        modified = {}
        for name in names:
            with suppress(OSError):
                modified[name] = os.lstat(name, dir_fd=folder).st_mtime
        if modified:
            now = self._time_in(folder)
            yield from (name for name, at in modified.items() if now - at > _ABANDONED_SECONDS)

    def _time_in(self, folder: int) -> float:
        """By the clock of the server of the folder. Raises OSError."""
        name = f"{PROBE}{uuid.uuid4().hex}"
        self._write_temporary(folder, name, b"")
        try:
            return os.lstat(name, dir_fd=folder).st_mtime
        finally:
            _unlink(name, folder)

    def _write_temporary(self, folder: int, name: str, data: bytes, *, sync: bool = False) -> None:
        try:
            descriptor = os.open(name, _FILE_FLAGS, 0o666, dir_fd=folder)
        except FileNotFoundError:
            self._forget_folders()
            raise
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if sync:
                os.fsync(descriptor)
        except OSError:
            _unlink(name, folder)
            raise
        finally:
            os.close(descriptor)

    def _folder(self, relative: str, *, make: bool = True) -> int:
        """A descriptor of a folder below the root, opened component by component,
        no link followed.
        """
        if relative in self._folders:
            self._folders.move_to_end(relative)
            return self._folders[relative]
        current = self._folders[relative] = self._opened(relative, make=make)
        if len(self._folders) > _OPEN_FOLDERS:
            os.close(self._folders.popitem(last=False)[1])
        return current

    def _opened(self, relative: str, *, make: bool) -> int:
        """A descriptor that the caller closes."""
        if not {"", ".", ".."}.isdisjoint(relative.split("/")):
            raise ImageError(
                ErrorType.PATH_VIOLATION, f"not a path in the cache folder: {relative!r}"
            )
        # O_PATH: a confined process may write below the job's own folders, and not even list this
        # one.
        current = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for component in relative.split("/"):
            parent = current
            try:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(component, dir_fd=parent)
                current = os.open(component, _FOLDER_FLAGS, dir_fd=parent)
            finally:
                os.close(parent)
        return current

    def _forget_folders(self) -> None:
        while self._folders:
            os.close(self._folders.popitem()[1])


def _make(root: str) -> bool:
    """Make a folder, and those above it; whether it was not there."""
    try:
        os.mkdir(root)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(root), exist_ok=True)
        return _make(root)
    except FileExistsError:
        if not os.path.isdir(root):
            raise
        return False
    return True


def _keep(probe: str, target: str, *, replace_empty: bool) -> None:
    """Give the file its name if that is free.

    Of several who try at once, one succeeds, where there are hard links.
    """
    if replace_empty and os.path.lexists(target) and not os.path.getsize(target):
        os.rename(probe, target)
        return
    try:
        os.link(probe, target)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if not os.path.lexists(target):
            os.rename(probe, target)


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(_MOST_MARKER)


def _is_tagged(root: str) -> bool:
    try:
        return _read(os.path.join(root, CACHE_TAG)).startswith(CACHE_TAG_SIGNATURE)
    except FileNotFoundError:
        return False


def _holds_ours(root: str) -> bool:
    """Whether there are only collections, with nothing but folders of tiers:
    what versions before the marker wrote.
    """
    with os.scandir(root) as entries:
        kept = [entry for entry in entries if not is_litter(entry.name)]
    return bool(kept) and all(
        entry.is_dir(follow_symlinks=False) and _is_collection(entry.path) for entry in kept
    )


def _is_collection(path: str) -> bool:
    with os.scandir(path) as tiers:
        return all(
            tier.is_dir(follow_symlinks=False) and (tier.name == _TEMPORARY or _is_tier(tier))
            for tier in tiers
        )


def _is_tier(tier: os.DirEntry[str]) -> bool:
    with os.scandir(tier.path) as parts:
        return all(_PART.fullmatch(part.name) for part in parts)


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def write_error(error: OSError) -> ImageError:
    """What it means for the image whose file could not be written."""
    environment = faults.of_errno(error.errno).environment
    if error.errno in _FULL:
        return ImageError(
            ErrorType.DISK_FULL, f"the cache folder is full: {error.strerror}", environment
        )
    if error.errno in _LINKS:
        return ImageError(
            ErrorType.PATH_VIOLATION, "a link or a file stands where the cache folder has a folder"
        )
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return ImageError(
            ErrorType.ACCESS_DENIED,
            f"the cache folder cannot be written: {error.strerror}",
            environment,
        )
    # A folder that is missing is missing for all.
    gone = error.errno == errno.ENOENT
    message = f"the cache folder cannot be written: {error.strerror}"
    return ImageError(ErrorType.WRITE_FAILED, message, environment or gone)
