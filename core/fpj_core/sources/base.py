"""The contract of a source, and what sources share."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Protocol, TypeVar

from fpj_core import faults
from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import SourceEntry
from fpj_core.places import words_of
from fpj_core.sources.filters import Filter, LeftOut

T = TypeVar("T")

IN_MEMORY = 8 * 2**20
"""Members and objects up to this many bytes are handed over in memory,
larger ones as a temporary file.
"""

IMAGE_EXTENSIONS = frozenset(
    (
        "avif",
        "avifs",
        "bmp",
        "dib",
        "gif",
        "heic",
        "heif",
        "jfif",
        "jpe",
        "jpeg",
        "jpg",
        "png",
        "tif",
        "tiff",
        "webp",
    )
    + ("exr", "hdr", "ico", "j2k", "jp2", "jxl")
)
"""Files so named are listed unopened: what they really hold shows, visibly,
when they are processed.
"""

ARCHIVE_EXTENSIONS = frozenset({"zip", "cbz"})

_LEFT_OUT = frozenset(
    ("@eadir", "__macosx", "thumbs.db", "desktop.ini", "lost+found", "system volume information")
    + ("$recycle.bin", "recycler", "recycled", "#recycle", "@recycle", "network trash folder")
    + (
        "recycle.bin",
        "recycle_bin",
        "trashbox",
        "files_trashbin",
        "files_versions",
        "temporary items",
    )
    + ("#snapshot", "@recently-snapshot")
)
"""What systems strew about; what was deleted, or replaced, on Windows, Synology, QNAP, AppleShare,
Asustor, Buffalo and Nextcloud; snapshots of a NAS.
"""
_KEPT_PROBLEMS = 100


STEP = 1_000
"""Names listed or sorted between two calls of ``on_step``."""


def nothing() -> None:
    """Do nothing: for callers who need not know how far a listing is."""


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """An image ready to be decoded: either a ``path`` on this machine or its ``data``,
    never both.
    """

    name: str
    path: bytes | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class ListingProblem:
    """An entry that could not be listed as an image: say, an unreadable folder."""

    key: str
    error_type: ErrorType
    message: str


@dataclass(slots=True)
class Problems:
    """How many problems a listing met, the first hundred of them,
    and those that nobody took yet.
    """

    count: int = 0
    first: list[ListingProblem] = field(default_factory=list)
    untaken: list[ListingProblem] = field(default_factory=list)

    def add(self, key: str, error_type: ErrorType, message: str) -> None:
        """Count a problem, and keep it until it is taken."""
        self.count += 1
        problem = ListingProblem(key, error_type, message)
        self.untaken.append(problem)
        if len(self.first) < _KEPT_PROBLEMS:
            self.first.append(problem)

    def take(self) -> list[ListingProblem]:
        """Those since this was last asked.

        Whoever lists takes them now and then: there may be millions.
        """
        taken, self.untaken = self.untaken, []
        return taken


class Memory(Protocol):
    """What earlier listings recorded, for sources where opening an object costs a request.

    A key is recorded with the version of its image, or with one that `Noted` begins.
    """

    def versions(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Those recorded for these keys, up to 1,000."""

    def members(self, container: str) -> Iterator[SourceEntry | ListingProblem]:
        """What an archive was last found to hold."""

    def note(self, entry: SourceEntry) -> None:
        """An object that is not an image itself; everything in it has been listed before."""


class Noted(StrEnum):
    """What was found by opening an object. The number changes with the rules that decide it."""

    NO_IMAGE = "none/1:"
    ARCHIVE = "archive/1:"


class Forgetful:
    """See `Memory`: nothing is known."""

    def versions(self, keys: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG002
        """Nothing."""
        return {}

    def members(self, container: str) -> Iterator[SourceEntry | ListingProblem]:  # noqa: ARG002
        """Nothing."""
        return iter(())

    def note(self, entry: SourceEntry) -> None:
        """Forgotten."""


FORGETFUL = Forgetful()


class Source(Protocol):
    """A set of images that can be listed and opened."""

    problems: Problems
    """What went wrong in the latest listing; complete once that is exhausted."""

    @property
    def left_out(self) -> LeftOut:
        """What the latest listing left out, and why; complete once that is exhausted."""

    def leaves_out(self, key: str) -> bool:
        """Whether the latest listing left out what has this key, or would have:
        by its name or by a filter.
        """

    def list(
        self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
    ) -> Iterator[SourceEntry]:
        """Every image, new ones in natural order, in bounded memory.

        Raises `SourceError` if there is no source.

        What ``memory`` says of an object of the same version need not be found out again.

        ``on_step`` is called often, also before the first image is found: at least per page of
        names and per file that is opened. What it raises ends the listing.
        """

    def open(
        self, key: str, size: int, *, max_file_size: int
    ) -> AbstractContextManager[OpenedImage]:
        """Open one image. Raises `ImageError`: NotFound, AccessDenied, PathViolation, TooLarge."""

    def look(self, keys: Sequence[str]) -> Sequence[ImageError | None]:
        """Read a little of each image, past all caches; None for one that can be read.

        Changes nothing.

        Raises `SourceError` where there is no source, or an empty one.
        """


class SourceConfig(Protocol):
    """How to reach a source; small and picklable, so that each worker process builds its own."""

    @property
    def filter(self) -> Filter:
        """What of it is wanted."""

    def build(self) -> Source:
        """A source, not yet touched."""


def stepping(items: Iterable[T], on_step: Callable[[], None], every: int = STEP) -> Iterator[T]:
    """The items, with a call of ``on_step`` before each of them whose turn it is,
    the first included.
    """
    for number, item in enumerate(items):
        if number % every == 0:
            on_step()
        yield item


def left_out(name: str) -> bool:
    """Whether a file or folder is skipped by its name: hidden ones,
    and files that operating systems leave behind.
    """
    return name.startswith(".") or name.casefold() in _LEFT_OUT


def extension(name: str) -> str:
    """The lower-case extension without its dot, or an empty string."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def image_error_from_os(error: OSError, what: str) -> ImageError:
    """The typed error for an operating system's refusal to read ``what``."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ImageError(ErrorType.NOT_FOUND, f"{what} is gone")
    fault = faults.of_errno(error.errno)
    kind = ErrorType.READ_FAILED if fault.transient else ErrorType.INTERNAL
    if isinstance(error, PermissionError):
        kind = ErrorType.ACCESS_DENIED
    said = f"{what} cannot be read: {words_of(error)}"
    return ImageError(kind, said, fault.environment)


def open_regular(path: bytes, what: str) -> int:
    """A descriptor of a regular file; O_NONBLOCK keeps a pipe put in its place from hanging us.

    Raises `ImageError`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise image_error_from_os(error, what) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageError(ErrorType.UNSUPPORTED_FORMAT, f"{what} is not a regular file")
    return descriptor


@contextmanager
def closed_after(scratch: IO[bytes]) -> Iterator[IO[bytes]]:
    """Close a temporary file, which a full disk refuses once more: closing writes what is left."""
    try:
        yield scratch
    finally:
        with suppress(OSError):
            scratch.close()


def copy_bounded(chunks: Iterable[bytes | memoryview], target: IO[bytes], max_size: int) -> None:
    """Write a temporary copy. Raises `ImageError`: TooLarge past ``max_size`` bytes, DiskFull."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        refuse_too_large(size, max_size)
        try:
            target.write(chunk)
            target.flush()
        except OSError as error:
            fault = faults.of_errno(error.errno)
            message = f"no room for a temporary copy: {error.strerror}"
            raise ImageError(ErrorType.DISK_FULL, message, fault.environment) from error


def refuse_too_large(size: int, max_file_size: int) -> None:
    """Raise TooLarge when ``size`` bytes are over the limit."""
    if size > max_file_size:
        raise ImageError(
            ErrorType.TOO_LARGE, f"{size:,} bytes; limits.maxFileSize allows {max_file_size:,}"
        )
