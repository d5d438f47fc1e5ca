"""Images in an S3-compatible bucket.

Listing goes page by page; the ETag tells whether an object changed.

An archive is read by range: its table of contents, and its members one by one. Nothing of it is
kept on disk, so processes share nothing, and a killed one leaves nothing behind
(docs/design/objects.md).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import obstore
from obstore.store import S3Store
from typing_extensions import override

from fpj_core.errors import ContentChangedError, ErrorType, ImageError, SourceError
from fpj_core.folders.ownership import MARKER
from fpj_core.model import SourceEntry
from fpj_core.objectlist import Listed, is_odd, leads_elsewhere, pages
from fpj_core.objects import OBJECT_ERRORS, Bucket, object_error
from fpj_core.ranged import RangedObject, pieces
from fpj_core.sources.archive import Archives
from fpj_core.sources.base import (
    ARCHIVE_EXTENSIONS,
    FORGETFUL,
    IMAGE_EXTENSIONS,
    IN_MEMORY,
    STEP,
    ListingProblem,
    Memory,
    Noted,
    OpenedImage,
    Problems,
    Source,
    SourceConfig,
    closed_after,
    copy_bounded,
    extension,
    left_out,
    nothing,
    refuse_too_large,
    stepping,
)
from fpj_core.sources.choice import Choice
from fpj_core.sources.filters import IGNORE_FILE, MOST_IGNORE_BYTES, Filter, LeftOut
from fpj_core.sources.keys import key_from_path, path_from_key, split_key
from fpj_core.sources.natural import natural_key, sorted_externally
from fpj_core.sources.sniff import HEAD, sniff

_TRIES = 3
"""How often an archive is read that is being replaced all the time."""

T = TypeVar("T")

_ELSEWHERE = (
    "an object's name cannot be used: it has a part '.' or '..', so its URL leads to another"
    " object; copy it to another name"
)
_ODD_ARCHIVE = (
    "an archive's name cannot be used: it has an empty part, '.', '..' or a control character"
)


@dataclass(frozen=True, slots=True)
class S3SourceConfig(SourceConfig):
    """A bucket, or the part of it below a prefix."""

    bucket: Bucket
    filter: Filter = field(default=Filter(), repr=False)

    @override
    def build(self) -> S3Source:
        return S3Source(self.bucket, self.filter)


class S3Source(Source):
    """See `fpj_core.sources.base.Source`."""

    def __init__(self, bucket: Bucket, wanted: Filter = Filter()) -> None:  # noqa: B008 - frozen
        self._bucket = bucket
        self._client: S3Store | None = None
        self._archives = Archives(self._ranged)
        self._choice = Choice(wanted)
        self._caches: set[str] = set()
        """Folders that are marked as cache folders, each with its slash."""
        self._opened: tuple[str, str | None] = ("", None)
        """The archive that was opened last, and the ETag of what was read."""
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
        self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
    ) -> Iterator[SourceEntry]:
        self.problems = Problems()
        self._choice.begin()
        self._archives.close()  # they may have been replaced since
        self._caches.clear()
        ordered = sorted_externally(
            self._objects(on_step), key=lambda each: natural_key(each.key), on_step=on_step
        )
        while some := [*islice(ordered, STEP)]:
            opened = [key_from_path(each.key) for each in some if _must_be_opened(each)]
            known = memory.versions(opened) if opened else {}
            for each in some:
                on_step()
                yield from self._entries(each, known, memory, on_step)

    @contextmanager
    @override
    def open(self, key: str, size: int, *, max_file_size: int) -> Iterator[OpenedImage]:
        container, member = split_key(key)
        name = path_from_key(container).decode("utf-8", "replace")
        if member is not None:
            with ExitStack() as stack:
                yield self._opened_member(stack, name, member, max_file_size)
            return
        refuse_too_large(size, max_file_size)
        if size <= IN_MEMORY:
            yield OpenedImage(name=key, data=self._read(name, max_file_size))
            return
        with closed_after(tempfile.TemporaryFile(prefix="fpj-object-")) as target:
            copy_bounded(self._pieces(name, max_file_size), target, max_file_size)
            yield OpenedImage(name=key, path=b"/proc/self/fd/%d" % target.fileno())

    @override
    def look(self, keys: Sequence[str]) -> Sequence[ImageError | None]:
        try:
            found = next(iter(obstore.list(self._connected(), chunk_size=1)), None)
        except OBJECT_ERRORS as error:
            raise SourceError(
                f"cannot list {self._bucket.url}: {object_error(error, 'the bucket').message}"
            ) from error
        if not found:
            raise SourceError(f"{self._bucket.url} is empty")
        return [
            self._trouble(path_from_key(split_key(key)[0]).decode("utf-8", "replace"))
            for key in keys
        ]

    def _trouble(self, name: str) -> ImageError | None:
        try:
            obstore.head(self._connected(), name)
        except OBJECT_ERRORS as error:
            return object_error(error, "the object")
        return None

    # Listing --------------------------------------------------------------------------------------

    def _objects(self, on_step: Callable[[], None]) -> Iterator[Listed]:
        """What may be an image or an archive.

        Whoever sorts them has them all before the first is asked about: by then, the ignore files
        are known.
        """
        ignore_files: list[tuple[str, int]] = []
        try:
            for page in stepping(pages(self._bucket, self._connected()), on_step, every=1):
                for found in page:
                    if found.key.rpartition("/")[2] == IGNORE_FILE and not found.odd:
                        ignore_files.append((found.key, found.size))
                    if found.key.rpartition("/")[2] == MARKER:
                        self._leave_cache_folder(found.key.removesuffix(MARKER))
                    if any(
                        left_out(part) for part in found.key.split("/") if part not in (".", "..")
                    ):
                        continue
                    if found.odd and not _is_askable(found.key):
                        self._refuse_odd(found)
                    else:
                        yield found
        except OBJECT_ERRORS as error:
            raise SourceError(
                f"cannot list {self._bucket.url}: {object_error(error, 'the bucket').message}"
            ) from error
        for name, size in stepping(ignore_files, on_step, every=1):
            self._take_up_ignore_file(name, size)

    def _leave_cache_folder(self, folder: str) -> None:
        if not folder:
            raise SourceError(
                f"{self._bucket.url} is a cache folder ({MARKER} says so), not a source of images"
            )
        self._caches.add(folder)

    def _is_cached(self, key: str) -> bool:
        parts = key.split("/")
        return any("/".join(parts[:end]) + "/" in self._caches for end in range(1, len(parts)))

    def _take_up_ignore_file(self, name: str, size: int) -> None:
        """Raises `SourceError` for one that cannot be followed:
        what it leaves out is not known then.
        """
        try:
            refuse_too_large(size, MOST_IGNORE_BYTES)
            content = self._read(name, MOST_IGNORE_BYTES)
            folder = name.removesuffix(IGNORE_FILE)
            self._choice.rules.add_ignore_file(folder, content.decode("utf-8", "surrogateescape"))
        except (ImageError, ValueError) as error:
            raise SourceError(f"{self._bucket.url}: {name}: {error}") from error

    def _refuse_odd(self, found: Listed) -> None:
        """An object whose key cannot be asked for is nobody's problem but its own,
        if it is named like an image.

        Archives are read by range, which takes a key that obstore can ask for.
        """
        key = key_from_path(found.key)
        if extension(
            key
        ) in IMAGE_EXTENSIONS | ARCHIVE_EXTENSIONS and not self._choice.rules.excludes_key(key):
            self.problems.add(
                key, ErrorType.PATH_VIOLATION, _ODD_ARCHIVE if _is_archive(key) else _ELSEWHERE
            )

    def _entries(
        self, found: Listed, known: Mapping[str, str], memory: Memory, on_step: Callable[[], None]
    ) -> Iterator[SourceEntry]:
        key, etag = key_from_path(found.key), found.etag.strip('"')
        before = known.get(key)
        if (self._caches and self._is_cached(found.key)) or not self._choice.takes(key):
            return
        if found.size == 0 and extension(found.key) not in IMAGE_EXTENSIONS:
            return
        as_archive = f"{Noted.ARCHIVE}{etag}{self._choice.rules.mark}"
        if before == as_archive:
            yield from self._remembered(memory.members(key))
        elif extension(found.key) in ARCHIVE_EXTENSIONS:
            members, whole = self._members(found.key, key, on_step)
            yield from members
            if whole and self._opened == (found.key, found.etag):
                memory.note(SourceEntry(key, found.size, as_archive))
        elif before != Noted.NO_IMAGE + etag:
            verdict = True if before == etag else self._is_image(found, key)
            if verdict:
                yield SourceEntry(key, found.size, etag)
            elif verdict is not None:
                memory.note(SourceEntry(key, found.size, Noted.NO_IMAGE + etag))

    def _remembered(self, members: Iterator[SourceEntry | ListingProblem]) -> Iterator[SourceEntry]:
        for each in members:
            if isinstance(each, ListingProblem):
                self.problems.add(each.key, each.error_type, each.message)
            else:
                yield each

    def _is_image(self, found: Listed, key: str) -> bool | None:
        """None where that could not be found out."""
        if found.size == 0:  # rather the marker of a folder that is called like an image
            return self._exists(found.key)
        return extension(found.key) in IMAGE_EXTENSIONS or self._content_is_image(found.key, key)

    def _exists(self, name: str) -> bool:
        try:
            obstore.head(*self._place(name))
        except OBJECT_ERRORS as error:
            return object_error(error, "the object").error_type is not ErrorType.NOT_FOUND
        return True

    def _content_is_image(self, name: str, key: str) -> bool | None:
        try:
            head = bytes(obstore.get_range(self._connected(), name, start=0, length=HEAD))
        except OBJECT_ERRORS as error:
            refusal = object_error(error, "the object")
            if refusal.error_type is ErrorType.NOT_FOUND:  # the marker of a folder, or gone since
                return False
            self.problems.add(key, refusal.error_type, refusal.message)
            return None
        return sniff(head) not in (None, "zip")

    # Reading --------------------------------------------------------------------------------------

    def _connected(self) -> S3Store:
        if self._client is None:
            self._client = self._bucket.connect()
        return self._client

    def _read(self, name: str, max_size: int) -> bytes:
        try:
            result = obstore.get(*self._place(name))
            refuse_too_large(result.meta["size"], max_size)
            return bytes(result.bytes())
        except OBJECT_ERRORS as error:
            raise object_error(error, "the object") from error

    def _pieces(self, name: str, max_size: int) -> Iterator[memoryview]:
        return pieces(*self._place(name), "the object", max_size)

    def _place(self, name: str) -> tuple[S3Store, str]:
        """A client and what it knows the object by. Raises `ImageError` (PathViolation)."""
        if leads_elsewhere(name):
            raise ImageError(ErrorType.PATH_VIOLATION, _ELSEWHERE)
        return (
            (self._bucket.connect_to_object(name), "")
            if is_odd(name)
            else (self._connected(), name)
        )

    # Archives -------------------------------------------------------------------------------------

    def _ranged(self, path: bytes) -> RangedObject:
        content = RangedObject(self._connected(), path.decode(), "the archive")
        self._opened = (path.decode(), content.etag)
        return content

    def _members(
        self, name: str, key: str, on_step: Callable[[], None]
    ) -> tuple[Sequence[SourceEntry], bool]:
        """An archive's images, all of one content, and whether these and its problems are all that
        there is to say.
        """
        try:
            problems, left_out, found = self._unchanged(
                name, lambda: self._listed_members(name, key, on_step)
            )
        except ImageError as error:
            self.problems.add(key, error.error_type, error.message)
            return (), False
        whole = all(each.key != key for each in problems.untaken)
        for each in problems.take():
            self.problems.add(each.key, each.error_type, each.message)
        whole = whole and not left_out.untaken  # what is left out is counted by every run
        for why, left in left_out.take():
            self.left_out.add(why, left)
        return found, whole

    def _listed_members(
        self, name: str, key: str, on_step: Callable[[], None]
    ) -> tuple[Problems, LeftOut, Sequence[SourceEntry]]:
        problems, left_out = Problems(), LeftOut()

        def takes(member: str) -> bool:
            return self._choice.takes(member, left_out)

        return (
            problems,
            left_out,
            [*self._archives.list_members(name.encode(), key, problems, on_step, takes)],
        )

    def _opened_member(
        self, stack: ExitStack, name: str, member: str, max_file_size: int
    ) -> OpenedImage:
        path = name.encode()
        return self._unchanged(
            name,
            lambda: stack.enter_context(
                self._archives.open_member(path, member, max_file_size=max_file_size)
            ),
        )

    def _unchanged(self, name: str, read: Callable[[], T]) -> T:
        """What ``read`` gives; reads the archive again if it was replaced in the meantime.

        Raises `ImageError`.
        """
        for _ in range(_TRIES - 1):
            with suppress(ContentChangedError):
                return read()
            self._archives.forget(name.encode())
        return read()


def _must_be_opened(found: Listed) -> bool:
    """Whether its name and size alone do not say whether it is an image."""
    return (extension(found.key) not in IMAGE_EXTENSIONS) is (found.size > 0)


def _is_archive(key: str) -> bool:
    return extension(key) in ARCHIVE_EXTENSIONS


def _is_askable(odd: str) -> bool:
    """Whether an image of a key that obstore refuses can still be read."""
    return extension(odd) in IMAGE_EXTENSIONS and not leads_elsewhere(odd)
