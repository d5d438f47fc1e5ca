"""Images in a folder of this machine, which is also how a mounted volume looks.

Links: a link to a file inside the folder is listed; one to a folder inside it is skipped, since
that folder is
listed at its own place (so link loops cannot arise); one that leaves the folder is left out, and
counted. A folder tagged as a cache (CACHEDIR.TAG, https://bford.info/cachedir/) is skipped: fpj
tags its own cache folders.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from typing_extensions import override

from fpj_core.errors import ErrorType, ImageError, SourceError
from fpj_core.manyfold import Manyfold
from fpj_core.model import SourceEntry
from fpj_core.places import brief, words_of
from fpj_core.sources.archive import Archives
from fpj_core.sources.base import (
    ARCHIVE_EXTENSIONS,
    FORGETFUL,
    IMAGE_EXTENSIONS,
    STEP,
    Memory,
    OpenedImage,
    Problems,
    Source,
    SourceConfig,
    extension,
    image_error_from_os,
    left_out,
    nothing,
    open_regular,
    refuse_too_large,
    stepping,
)
from fpj_core.sources.choice import Choice
from fpj_core.sources.filters import (
    IGNORE_FILE,
    MOST_IGNORE_BYTES,
    Filter,
    LeftOut,
    Reason,
    kind_left_out,
    path_of,
)
from fpj_core.sources.keys import key_from_path, path_from_key, split_key
from fpj_core.sources.natural import natural_key, sorted_externally
from fpj_core.sources.sniff import HEAD, sniff

CACHE_TAG = "CACHEDIR.TAG"
CACHE_TAG_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"

_MOST_DEPTH = 200
_TOO_DEEP = (
    f"folders nest deeper than {_MOST_DEPTH}, and nothing below this one is read; move its images"
    " further up, or process it as a source of its own"
)
_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class LocalSourceConfig(SourceConfig):
    """A folder, or a single image or archive, by its path."""

    root: str
    filter: Filter = field(default=Filter(), repr=False)

    @override
    def build(self) -> LocalSource:
        return LocalSource(self.root, self.filter)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of a directory entry. ``size`` is -1 for a folder."""

    name: str
    size: int
    mtime_ns: int


_Trouble = tuple[ErrorType, str] | Reason
"""Reason an entry cannot be listed, or is left out."""


class LocalSource(Source):
    """See `fpj_core.sources.base.Source`."""

    def __init__(self, root: str, wanted: Filter = Filter()) -> None:  # noqa: B008 - frozen
        self._given = brief(root)
        self._root = os.fsencode(os.path.realpath(root))
        self._single: str | None = None
        if os.path.isfile(self._root):
            self._single = os.fsdecode(os.path.basename(self._root))
            self._root = os.path.dirname(self._root)
        self._archives = Archives()
        self._many = Manyfold()
        self._choice = Choice(wanted)
        self._piece = bytearray(_PIECE)
        self.problems = Problems()

    @property
    @override
    def left_out(self) -> LeftOut:
        return self._choice.left_out

    @override
    def leaves_out(self, key: str) -> bool:
        return self._choice.leaves_out(key)

    @override
    def list(
        self,
        on_step: Callable[[], None] = nothing,
        memory: Memory = FORGETFUL,
    ) -> Iterator[SourceEntry]:
        self.problems = Problems()
        self._choice.begin()
        self._archives.close()  # they may have been replaced since
        if self._single is not None:
            yield from self._list_single(self._single)
            return
        try:
            os.scandir(self._root).close()
        except OSError as error:
            raise SourceError(f"{self._given}: {words_of(error)}") from error
        if _is_cache(self._root):
            raise SourceError(
                f"{self._given} is a cache folder ({CACHE_TAG} says so), not a source of images"
            )
        if trouble := self._take_up_ignore_file(self._root, ""):
            raise SourceError(f"{self._given}: {trouble[1]}")
        yield from self._list_folder(self._root, "", 0, on_step)

    @contextmanager
    @override
    def open(self, key: str, size: int, *, max_file_size: int) -> Iterator[OpenedImage]:
        container, member = split_key(key)
        path = self._contained(container)
        if member is not None:
            with self._archives.open_member(path, member, max_file_size=max_file_size) as opened:
                yield opened
            return
        self._fetch(path, max_file_size)
        yield OpenedImage(name=key, path=path)

    def _fetch(self, path: bytes, max_file_size: int) -> None:
        """Have the system read a regular file, so that its cache has it, as far as it fits.

        Raises `ImageError`.

        Decoders then find it there. They have a time limit that says nothing of slow storage; this
        has another.
        """
        descriptor = open_regular(path, "the file")
        try:
            refuse_too_large(os.fstat(descriptor).st_size, max_file_size)
            while os.readv(descriptor, [self._piece]):
                pass
        except OSError as error:
            raise image_error_from_os(error, "the file") from error
        finally:
            os.close(descriptor)

    @override
    def look(self, keys: Sequence[str]) -> Sequence[ImageError | None]:
        try:
            with os.scandir(self._root) as entries:
                empty = next(entries, None) is None
        except OSError as error:
            raise SourceError(
                f"the source {self._given} cannot be read: {words_of(error)}"
            ) from error
        if empty:
            raise SourceError(f"the source {self._given} is empty: is it mounted?")
        return [self._trouble(key) for key in keys]

    def _trouble(self, key: str) -> ImageError | None:
        try:
            descriptor = open_regular(self._contained(split_key(key)[0]), "the file")
        except ImageError as error:
            return error
        try:
            # What is in memory proves nothing.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.pread(descriptor, HEAD, 0)
        except OSError as error:
            return image_error_from_os(error, "the file")
        finally:
            os.close(descriptor)
        return None

    # Listing --------------------------------------------------------------------------------------

    def _list_single(self, name: str) -> Iterator[SourceEntry]:
        try:
            info = os.stat(os.path.join(self._root, os.fsencode(name)))
        except OSError as error:
            raise SourceError(f"{self._given}: {words_of(error)}") from error
        if self._choice.takes(key_from_path(name)):
            yield from self._entries(self._root, "", _Found(name, info.st_size, info.st_mtime_ns))

    def _list_folder(
        self, folder: bytes, prefix: str, depth: int, on_step: Callable[[], None]
    ) -> Iterator[SourceEntry]:
        """Entries below ``folder``; keys begin with ``prefix`` (empty or ending in a slash)."""
        scanned = stepping(self._scan(folder, prefix), on_step)
        for found in sorted_externally(
            scanned, key=lambda found: natural_key(found.name), on_step=on_step
        ):
            on_step()
            if found.size >= 0:
                yield from self._entries(folder, prefix, found)
            elif depth == _MOST_DEPTH:
                key = prefix + key_from_path(found.name)
                self.problems.add(key, ErrorType.PATH_VIOLATION, _TOO_DEEP)
            else:
                yield from self._list_below(
                    folder, prefix + key_from_path(found.name), found, depth + 1, on_step
                )

    def _list_below(
        self, folder: bytes, key: str, found: _Found, depth: int, on_step: Callable[[], None]
    ) -> Iterator[SourceEntry]:
        below = os.path.join(folder, os.fsencode(found.name))
        if _is_cache(below):
            return
        if trouble := self._take_up_ignore_file(below, f"{key}/"):
            self.problems.add(key, *trouble)
            return
        yield from self._list_folder(below, f"{key}/", depth, on_step)

    def _take_up_ignore_file(self, folder: bytes, prefix: str) -> tuple[ErrorType, str] | None:
        """Follow the folder's `.fpjignore`, if it has one; else why that cannot be known: then it
        is not listed.
        """
        path = os.path.join(folder, IGNORE_FILE.encode())
        try:
            content = _head(path, MOST_IGNORE_BYTES + 1)
            # Only where there is one: it takes its time.
            self._refuse_outside(os.path.realpath(path))
            if len(content) > MOST_IGNORE_BYTES:
                return (
                    ErrorType.TOO_LARGE,
                    f"{IGNORE_FILE} has more than {MOST_IGNORE_BYTES:,} bytes",
                )
            self._choice.rules.add_ignore_file(
                path_of(prefix), content.decode("utf-8", "surrogateescape")
            )
        except ImageError as refusal:
            if refusal.error_type is ErrorType.NOT_FOUND:
                return None
            if refusal.error_type is ErrorType.ACCESS_DENIED and not os.path.lexists(path):
                # No file of this folder can be looked at: each will be a trouble of its own.
                return None
            return refusal.error_type, f"{IGNORE_FILE}: {refusal.message}"
        except ValueError as error:
            return ErrorType.UNSUPPORTED_FORMAT, f"{IGNORE_FILE}, {error}"
        return None

    def _scan(self, folder: bytes, prefix: str) -> Iterator[_Found]:
        try:
            with os.scandir(os.fsdecode(folder)) as entries:
                named = (
                    entry
                    for entry in entries
                    if not left_out(entry.name) and self._takes(entry, prefix)
                )
                while batch := list(islice(named, STEP)):
                    looked = self._many(self._look_at, batch, self._look_from_thread)
                    for entry, found in zip(batch, looked, strict=True):
                        if isinstance(found, _Found):
                            yield found
                        elif isinstance(found, Reason):
                            self.left_out.add(found, prefix + key_from_path(entry.name))
                        elif found is not None:
                            self.problems.add(prefix + key_from_path(entry.name), *found)
        except OSError as error:
            refusal = image_error_from_os(error, "the folder")
            self.problems.add(prefix.rstrip("/"), refusal.error_type, refusal.message)

    def _takes(self, entry: os.DirEntry[str], prefix: str) -> bool:
        """By its name alone: what is left out need not be looked at."""
        if self._choice.rules.idle and not kind_left_out(extension(entry.name)):
            return True
        key = prefix + key_from_path(entry.name)
        return (
            self._choice.enters(key)
            if entry.is_dir(follow_symlinks=False)
            else self._choice.takes(key)
        )

    def _look_from_thread(self, entry: os.DirEntry[str]) -> _Found | _Trouble | None:
        """The entry's own stat is faster, but keeps all other threads waiting."""
        return self._look_at(entry, os.stat)

    def _look_at(
        self,
        entry: os.DirEntry[str],
        ask: Callable[[os.DirEntry[str]], os.stat_result] = os.DirEntry.stat,
    ) -> _Found | _Trouble | None:
        try:
            if entry.is_symlink() and (trouble := self._leads_outside(entry)):
                return trouble
            if entry.is_dir():
                return None if entry.is_symlink() else _Found(entry.name, -1, 0)
            info = ask(entry)
        except OSError as error:
            return image_error_from_os(
                error, ""
            ).error_type, f"cannot be looked at: {error.strerror}"
        return (
            _Found(entry.name, info.st_size, info.st_mtime_ns)
            if stat.S_ISREG(info.st_mode)
            else None
        )

    def _leads_outside(self, entry: os.DirEntry[str]) -> _Trouble | None:
        try:
            self._refuse_outside(os.path.realpath(os.fsencode(entry.path), strict=True))
        except FileNotFoundError:
            return ErrorType.NOT_FOUND, "a link to nothing"
        except OSError as error:
            return ErrorType.PATH_VIOLATION, f"cannot be followed: {error.strerror}"
        except ImageError:
            return Reason.OUTWARD_LINK
        return None

    def _entries(self, folder: bytes, prefix: str, found: _Found) -> Iterator[SourceEntry]:
        """None, one, or for an archive many."""
        kind = extension(found.name)
        key = prefix + key_from_path(found.name)
        if kind in ARCHIVE_EXTENSIONS:
            path = os.path.join(folder, os.fsencode(found.name))
            yield from self._archives.list_members(
                path, key, self.problems, takes=self._choice.takes
            )
        elif kind in IMAGE_EXTENSIONS or self._content_is_image(
            os.path.join(folder, os.fsencode(found.name)), key
        ):
            yield SourceEntry(key, found.size, f"{found.size}-{found.mtime_ns}")

    def _content_is_image(self, path: bytes, key: str) -> bool:
        """Whether a file whose name says nothing holds an image."""
        try:
            return sniff(_head(path, HEAD)) not in (None, "zip")
        except ImageError as refusal:
            self.problems.add(key, refusal.error_type, refusal.message)
            return False

    # Containment ----------------------------------------------------------------------------------

    def _contained(self, key: str) -> bytes:
        """The real path of a key, which must lie inside the root."""
        try:
            path = os.path.realpath(os.path.join(self._root, path_from_key(key)), strict=True)
        except ValueError as error:
            raise ImageError(ErrorType.PATH_VIOLATION, str(error)) from error
        except OSError as error:
            raise image_error_from_os(error, "the file") from error
        self._refuse_outside(path)
        return path

    def _refuse_outside(self, path: bytes) -> None:
        if path != self._root and not path.startswith(self._root.rstrip(b"/") + b"/"):
            raise ImageError(ErrorType.PATH_VIOLATION, "a link that leaves the source")


def may_hold_images(path: str | os.PathLike[str]) -> bool:
    """Whether a single file is an image or an archive, by its name or its content.

    True where one cannot know.
    """
    if extension(os.fspath(path)) in IMAGE_EXTENSIONS | ARCHIVE_EXTENSIONS:
        return True
    try:
        return sniff(_head(os.fsencode(path), HEAD)) not in (None, "zip")
    except ImageError:
        return True


def _is_cache(folder: bytes) -> bool:
    try:
        return (
            _head(os.path.join(folder, CACHE_TAG.encode()), len(CACHE_TAG_SIGNATURE))
            == CACHE_TAG_SIGNATURE
        )
    except ImageError:
        return False


def _head(path: bytes, length: int) -> bytes:
    """The first bytes of a regular file. Raises `ImageError`."""
    descriptor = open_regular(path, "the file")
    try:
        return os.read(descriptor, length)
    except OSError as error:
        raise image_error_from_os(error, "the file") from error
    finally:
        os.close(descriptor)
