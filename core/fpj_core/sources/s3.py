"""Images in an S3-compatible bucket. Listing goes page by page; the ETag tells whether an object changed.

An archive is fetched into a temporary file once, and kept while its members are read.
"""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

import obstore
from obstore.store import S3Store

from fpj_core.errors import ErrorType, ImageError, SourceError
from fpj_core.model import SourceEntry
from fpj_core.objectlist import Listed, pages
from fpj_core.objects import OBJECT_ERRORS, Bucket, object_error
from fpj_core.sources.archive import Archives
from fpj_core.sources.base import (
    ARCHIVE_EXTENSIONS,
    IMAGE_EXTENSIONS,
    IN_MEMORY,
    OpenedImage,
    Problems,
    closed_after,
    copy_bounded,
    extension,
    left_out,
    nothing,
    refuse_too_large,
    stepping,
)
from fpj_core.sources.keys import key_from_path, path_from_key, split_key
from fpj_core.sources.natural import natural_key, sorted_externally
from fpj_core.sources.sniff import HEAD, sniff

_CHUNK = 4 * 2**20
_KEPT_ARCHIVES = 2
_MOST_ARCHIVE = 20 * 2**30
"""Bytes of an archive that may be fetched to the scratch disk."""


@dataclass(frozen=True, slots=True)
class S3SourceConfig:
    """A bucket, or the part of it below a prefix."""

    bucket: Bucket

    def build(self) -> S3Source:
        """See `fpj_core.sources.base.SourceConfig`."""
        return S3Source(self.bucket)


class S3Source:
    """See `fpj_core.sources.base.Source`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._client: S3Store | None = None
        self._archives = Archives()
        self._fetched: OrderedDict[str, IO[bytes]] = OrderedDict()
        self.problems = Problems()

    def list(self, on_step: Callable[[], None] = nothing) -> Iterator[SourceEntry]:
        """See `fpj_core.sources.base.Source.list`."""
        self.problems = Problems()
        self._forget_archives()  # they may have been replaced since
        for name, size, etag in sorted_externally(
            self._objects(on_step), key=lambda each: natural_key(each[0]), on_step=on_step
        ):
            on_step()
            yield from self._entries(name, size, etag, on_step)

    @contextmanager
    def open(self, key: str, size: int, *, max_file_size: int) -> Iterator[OpenedImage]:
        """See `fpj_core.sources.base.Source.open`."""
        container, member = split_key(key)
        name = path_from_key(container).decode("utf-8", "replace")
        if member is not None:
            with self._archives.open_member(self._fetch(name), member, max_file_size=max_file_size) as opened:
                yield opened
            return
        refuse_too_large(size, max_file_size)
        if size <= IN_MEMORY:
            yield OpenedImage(name=key, data=self._read(name, max_file_size))
            return
        with closed_after(tempfile.TemporaryFile(prefix="fpj-object-")) as target:
            copy_bounded(self._chunks(name), target, max_file_size)
            yield OpenedImage(name=key, path=b"/proc/self/fd/%d" % target.fileno())

    def __del__(self) -> None:
        self._forget_archives()

    # Listing ----------------------------------------------------------------------------------------------

    def _objects(self, on_step: Callable[[], None]) -> Iterator[tuple[str, int, str]]:
        """(name below the prefix, size, ETag) of what may be an image or an archive."""
        try:
            for page in stepping(pages(self._bucket, self._connected()), on_step, every=1):
                for found in page:
                    if any(left_out(part) for part in found.key.split("/") if part not in (".", "..")):
                        continue
                    if found.odd:
                        self._refuse_odd(found)
                    else:
                        yield found.key, found.size, found.etag
        except OBJECT_ERRORS as error:
            raise SourceError(f"cannot list {self._bucket.url}: {object_error(error, 'the bucket').message}") from error

    def _refuse_odd(self, found: Listed) -> None:
        """An object whose key cannot be asked for is nobody's problem but its own, if it is named like an image."""
        if extension(found.key) in IMAGE_EXTENSIONS | ARCHIVE_EXTENSIONS:
            message = "an object's name cannot be used: it has an empty part, '.', '..' or a control character"
            self.problems.add(key_from_path(found.key), ErrorType.PATH_VIOLATION, message)

    def _entries(self, name: str, size: int, etag: str, on_step: Callable[[], None]) -> Iterator[SourceEntry]:
        kind = extension(name)
        key = key_from_path(name)
        if size == 0 and not (kind in IMAGE_EXTENSIONS and self._exists(name)):
            return  # empty, or the marker of a folder that is called like an image
        if kind in ARCHIVE_EXTENSIONS:
            try:
                path = self._fetch(name, on_step)
            except ImageError as error:
                self.problems.add(key, error.error_type, error.message)
                return
            yield from self._archives.list_members(path, key, self.problems)
        elif kind in IMAGE_EXTENSIONS or self._content_is_image(name, key):
            yield SourceEntry(key, size, etag.strip('"'))

    def _exists(self, name: str) -> bool:
        try:
            obstore.head(self._connected(), name)
        except OBJECT_ERRORS as error:
            return object_error(error, "the object").error_type is not ErrorType.NOT_FOUND
        return True

    def _content_is_image(self, name: str, key: str) -> bool:
        try:
            head = bytes(obstore.get_range(self._connected(), name, start=0, length=HEAD))
        except OBJECT_ERRORS as error:
            refusal = object_error(error, "the object")
            if refusal.error_type is not ErrorType.NOT_FOUND:  # the marker of a folder, or gone since
                self.problems.add(key, refusal.error_type, refusal.message)
            return False
        return sniff(head) not in (None, "zip")

    # Reading ----------------------------------------------------------------------------------------------

    def _connected(self) -> S3Store:
        if self._client is None:
            self._client = self._bucket.connect()
        return self._client

    def _read(self, name: str, max_size: int) -> bytes:
        try:
            result = obstore.get(self._connected(), name)
            refuse_too_large(result.meta["size"], max_size)
            return bytes(result.bytes())
        except OBJECT_ERRORS as error:
            raise object_error(error, "the object") from error

    def _chunks(self, name: str) -> Iterator[bytes]:
        try:
            for chunk in obstore.get(self._connected(), name).stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)
        except OBJECT_ERRORS as error:
            raise object_error(error, "the object") from error

    def _fetch(self, name: str, on_step: Callable[[], None] = nothing) -> bytes:
        """The path of an archive's temporary copy."""
        if name not in self._fetched:
            copy = tempfile.TemporaryFile(prefix="fpj-archive-")  # noqa: SIM115 - kept until it is evicted
            try:
                copy_bounded(stepping(self._chunks(name), on_step, every=1), copy, _MOST_ARCHIVE)
            except BaseException:
                with suppress(OSError):  # closing writes what is left, which a full disk refuses once more
                    copy.close()
                raise
            self._fetched[name] = copy
            if len(self._fetched) > _KEPT_ARCHIVES:
                self._archives.close()
                self._fetched.popitem(last=False)[1].close()
        self._fetched.move_to_end(name)
        return b"/proc/%d/fd/%d" % (os.getpid(), self._fetched[name].fileno())

    def _forget_archives(self) -> None:
        self._archives.close()
        while self._fetched:
            self._fetched.popitem()[1].close()
