"""A cache folder in an S3-compatible bucket. Objects appear whole by nature."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import obstore
from obstore import exceptions
from obstore.store import S3Store

from fpj_core.errors import CacheFolderError
from fpj_core.objects import Bucket, object_error

_PROBE = ".fpj-probe"


@dataclass(frozen=True, slots=True)
class S3FolderConfig:
    """A bucket, or the part of it below a prefix."""

    bucket: Bucket

    @property
    def location(self) -> str:
        """``s3://bucket/prefix``."""
        return self.bucket.url

    def build(self) -> S3Folder:
        """See `fpj_core.folders.base.FolderConfig`."""
        return S3Folder(self.bucket)


class S3Folder:
    """See `fpj_core.folders.base.CacheFolder`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._client: S3Store | None = None

    def check_writable(self) -> None:
        """See `fpj_core.folders.base.CacheFolder.check_writable`."""
        try:
            obstore.put(self._connected(), _PROBE, b"")
            obstore.delete(self._connected(), _PROBE)
        except (exceptions.BaseError, OSError) as error:
            reason = object_error(error, "the bucket").message
            raise CacheFolderError(f"cache folder {self._bucket.url} cannot be written: {reason}") from error

    def free_bytes(self) -> int | None:
        """Unbounded."""
        return None

    def write(self, relative: str, data: bytes, *, token: str) -> None:  # noqa: ARG002 - no temporary names needed
        """See `fpj_core.folders.base.CacheFolder.write`."""
        try:
            obstore.put(self._connected(), relative, data)
        except (exceptions.BaseError, OSError) as error:
            raise object_error(error, "the cache folder's object") from error

    def size(self, relative: str) -> int | None:
        """See `fpj_core.folders.base.CacheFolder.size`."""
        try:
            return obstore.head(self._connected(), relative)["size"]
        except (exceptions.NotFoundError, FileNotFoundError):
            return None
        except (exceptions.BaseError, OSError) as error:
            raise object_error(error, "the cache folder's object") from error

    def remove(self, relative: str) -> None:
        """See `fpj_core.folders.base.CacheFolder.remove`."""
        with suppress(exceptions.NotFoundError, FileNotFoundError):
            obstore.delete(self._connected(), relative)

    def sweep(self, collection: str) -> None:
        """Nothing is ever left behind."""

    def _connected(self) -> S3Store:
        if self._client is None:
            self._client = self._bucket.connect()
        return self._client
