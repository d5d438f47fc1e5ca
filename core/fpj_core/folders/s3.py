"""A cache folder in an S3-compatible bucket. Objects appear whole by nature."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import obstore
from obstore import exceptions
from obstore.store import S3Store
from typing_extensions import override

from fpj_core.errors import CacheFolderError, ErrorType, ImageError
from fpj_core.folders.base import CacheFolder, Expected, FolderConfig
from fpj_core.folders.listing import Listing
from fpj_core.folders.ownership import MARKER, FolderState, is_litter
from fpj_core.folders.walking import Entry, is_left_out
from fpj_core.manyfold import Manyfold
from fpj_core.model import CACHE_CONTROL
from fpj_core.objectlist import pages
from fpj_core.objects import OBJECT_ERRORS, Bucket, object_error
from fpj_core.paths import is_derivative
from fpj_core.sources.base import extension, nothing

_PROBE = ".fpj-probe"
_OF_ONE = "DeleteObjects request failed for key"
"""What the client says of an answer to a deletion that failed for some objects."""
_MOST_MARKER = 4_096
_NOT_OURS = b"?"
"""Stands for a marker that is too long to be read: it is one, and says nothing."""
_OBJECT = "the cache folder's object"
_LAST = "\U0010ffff"
"""Above what any key of a folder begins with."""
_CONTENT_TYPES = {
    "avif": "image/avif",
    "gif": "image/gif",
    "jpg": "image/jpeg",
    "png": "image/png",
    "tif": "image/tiff",
    "webp": "image/webp",
}


@dataclass(frozen=True, slots=True)
class S3FolderConfig(FolderConfig):
    """A bucket, or the part of it below a prefix."""

    bucket: Bucket
    cache_control: str = CACHE_CONTROL

    @property
    @override
    def location(self) -> str:
        """``s3://bucket/prefix``."""
        return self.bucket.url

    @override
    def build(self) -> S3Folder:
        return S3Folder(self.bucket, self.cache_control)


class S3Folder(CacheFolder):
    """See `fpj_core.folders.base.CacheFolder`."""

    answers_at_once = False

    def __init__(self, bucket: Bucket, cache_control: str) -> None:
        self._bucket = bucket
        self._cache_control = cache_control
        self._many = Manyfold()
        self._client: S3Store | None = None

    @override
    def check_writable(self) -> None:
        try:
            obstore.put(self._connected(), _PROBE, b"")
            obstore.delete(self._connected(), _PROBE)
        except OBJECT_ERRORS as error:
            raise self._not_writable(error) from error

    def _not_writable(self, error: Exception) -> CacheFolderError:
        reason = object_error(error, "the bucket").message
        return CacheFolderError(f"cache folder {self._bucket.url} cannot be written: {reason}")

    @override
    def look(self) -> FolderState:
        """Of what is there, the first page of a listing must do."""
        try:
            marker = self._marker()
            if marker is not None:
                return FolderState(marker=marker, empty=False)
            page = next(pages(self._bucket, self._connected()), [])
        except OBJECT_ERRORS as error:
            reason = object_error(error, "the bucket").message
            raise CacheFolderError(
                f"cache folder {self._bucket.url} cannot be read: {reason}"
            ) from error
        names = [each.key for each in page if not is_litter(each.key.rpartition("/")[2])]
        return FolderState(empty=not names, ours=bool(names) and all(map(is_derivative, names)))

    @override
    def mark(self, marker: bytes, own: Sequence[str]) -> None:
        """Of several jobs that do it at once, the first one's counts."""
        self.check_writable()
        try:
            there = self._marker()
            if there is None:
                self._create(MARKER, marker)
            elif not there:
                obstore.put(self._connected(), MARKER, marker)
        except OBJECT_ERRORS as error:
            raise self._not_writable(error) from error

    @override
    def require_marker(self) -> None:
        try:
            found = self._marker()
        except OBJECT_ERRORS as error:
            reason = object_error(error, "the bucket").message
            raise CacheFolderError(
                f"cache folder {self._bucket.url} cannot be read: {reason}"
            ) from error
        if found is None:
            raise CacheFolderError(
                f"cache folder {self._bucket.url} has lost its marker ({MARKER})"
            )

    def _marker(self) -> bytes | None:
        """Raises what obstore raises."""
        try:
            # Not by range, which nothing is in of an empty one.
            found = obstore.get(self._connected(), MARKER)
            return bytes(found.bytes()) if found.meta["size"] <= _MOST_MARKER else _NOT_OURS
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise
            return None

    def _create(self, name: str, content: bytes) -> None:
        """Write an object unless there is one.

        A server that cannot see to that does not keep us from writing.
        """
        try:
            obstore.put(self._connected(), name, content, mode="create")
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return
        except OBJECT_ERRORS as error:
            if not _is_unsupported(error):
                raise
            obstore.put(self._connected(), name, content)

    @override
    def free_bytes(self) -> int | None:
        """Unbounded."""
        return None

    @override
    def write(self, relative: str, data: bytes, *, token: str) -> None:
        try:
            obstore.put(self._connected(), relative, data, attributes=self._headers(relative))
        except OBJECT_ERRORS as error:
            failure = object_error(error, _OBJECT)
            # The bucket: it is not the image that is missing.
            if failure.error_type is ErrorType.NOT_FOUND:
                failure = ImageError(ErrorType.WRITE_FAILED, failure.message, environment=True)
            raise failure from error

    @override
    def size(self, relative: str) -> int | None:
        try:
            return obstore.head(self._connected(), relative)["size"]
        except OBJECT_ERRORS as error:
            failure = object_error(error, _OBJECT)
            if failure.error_type is ErrorType.NOT_FOUND:
                return None
            raise failure from error

    @override
    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        return self._many(self.size, paths)

    @override
    def lacking(
        self, expected: Iterable[Expected], on_step: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, str]]:
        """By one listing, which costs a request per thousand files."""
        listing = Listing(self._bucket, self._connected())
        try:
            yield from listing.lacking(expected, on_step)
        except OBJECT_ERRORS as error:
            failure = object_error(error, "the cache folder's bucket")
            raise self._not_listed(failure) from failure

    def _not_listed(self, failure: ImageError) -> CacheFolderError:
        return CacheFolderError(
            f"cache folder {self._bucket.url} cannot be listed: {failure.message}"
        )

    @override
    def entries(
        self, below: str, depth: int, on_step: Callable[[], None] = nothing
    ) -> Iterator[Entry]:
        start = f"{below}/" if below else ""
        after: str | None = start
        try:
            while after is not None:
                after = yield from self._entries(start, after, depth, on_step)
        except OBJECT_ERRORS as error:
            failure = object_error(error, "the cache folder's bucket")
            raise self._not_listed(failure) from error

    def _entries(
        self, start: str, after: str, depth: int, on_step: Callable[[], None]
    ) -> Generator[Entry, None, str | None]:
        """Up to the first folder that is too deep; where to go on behind it, None at the end."""
        for page in pages(self._bucket, self._connected(), after):
            on_step()
            for each in page:
                if not each.key.startswith(start):
                    return None
                parts = each.key[len(start) :].split("/")
                if len(parts) > depth + 1 and not each.odd:
                    folder = start + "/".join(parts[: depth + 1])
                    if not is_left_out(folder):
                        yield Entry(f"{folder}/")
                    return f"{folder}/{_LAST}"
                if not is_left_out(each.key):
                    size = None if each.odd else each.size
                    yield Entry(each.key, size, each.modified)
        return None

    @override
    def now(self) -> float:
        try:
            obstore.put(self._connected(), _PROBE, b"")
            found = obstore.head(self._connected(), _PROBE)
            obstore.delete(self._connected(), _PROBE)
        except OBJECT_ERRORS as error:
            raise self._not_writable(error) from error
        return found["last_modified"].timestamp()

    @override
    def remove(self, relative: str) -> None:
        try:
            obstore.delete(self._connected(), relative)
        except OBJECT_ERRORS as error:
            failure = object_error(error, _OBJECT)
            if failure.error_type is not ErrorType.NOT_FOUND:
                raise failure from error

    @override
    def remove_many(self, paths: Sequence[str]) -> Mapping[str, str]:
        """In requests of up to 1,000 each; one by one where the server refuses some of them."""
        try:
            obstore.delete(self._connected(), list(paths))
        except OBJECT_ERRORS as error:
            if _OF_ONE not in str(error):
                self._refuse_removal(error)
            return self._remove_each(paths)
        return {}

    def _remove_each(self, paths: Sequence[str]) -> Mapping[str, str]:
        left: dict[str, str] = {}
        for path in (_PROBE, *paths):  # first, whether there is a right to remove anything
            try:
                obstore.delete(self._connected(), path)
            except OBJECT_ERRORS as error:
                if path == _PROBE or _OF_ONE not in str(error):
                    self._refuse_removal(error)
                left[path] = object_error(error, "the object").message
        return left

    def _refuse_removal(self, error: Exception) -> NoReturn:
        failure = object_error(error, "the cache folder's bucket")
        raise CacheFolderError(
            f"files of {self._bucket.url} cannot be removed: {failure.message}"
        ) from failure

    @override
    def probe(self, own: str) -> None:
        self.require_marker()
        self.check_writable()

    @override
    def syncer(self) -> Callable[[], None]:
        """An object that was accepted is kept."""
        return nothing

    @override
    def sweep(self, own: Sequence[str], store: str) -> None:
        """Nothing is ever left behind."""

    def _headers(self, relative: str) -> dict[str, str]:
        """How the object is served."""
        kind = _CONTENT_TYPES.get(extension(relative))
        return {"Cache-Control": self._cache_control} | ({"Content-Type": kind} if kind else {})

    def _connected(self) -> S3Store:
        if self._client is None:
            self._client = self._bucket.connect()
        return self._client


def _is_unsupported(error: Exception) -> bool:
    """Whether a server, or the client, has no conditional writes."""
    unsupported = (exceptions.NotSupportedError, NotImplementedError)
    return (
        isinstance(error, unsupported)
        or "code: 501" in str(error)
        or "NotImplemented" in str(error)
    )
