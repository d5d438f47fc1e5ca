"""S3-compatible object storage, as sources and cache folders use it, through obstore."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from obstore import exceptions
from obstore.store import S3Store

from fpj_core import faults
from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import REGION

OBJECT_ERRORS = (exceptions.BaseError, OSError, ValueError)
"""What obstore raises: its own errors, built-in ones for what is missing,
ValueError for names it cannot send.
"""

_ASKED_FOR_CREDENTIALS = "http://169.254."
"""Where the machine's own role is asked for when no credentials are given."""
_RETRIES = 5
_RETRY_FOR = timedelta(seconds=60)

_REFUSED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where objects live.

    Credentials not given come from the usual ``AWS_*`` environment variables.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """For people: ``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def connect(self) -> S3Store:
        """A client with bounded retries and time limits. Nothing is sent yet."""
        return self._client(self._endpoint, prefix=self.prefix or None)

    def connect_to(self, query: str) -> S3Store:
        """A client whose object of the empty name is the bucket itself, asked with ``query``."""
        return self._client(f"{self.address}?{query}", virtual_hosted_style_request=True)

    @property
    def address(self) -> str:
        """The bucket's own URL, in the form that names it in the path."""
        endpoint = self._endpoint
        if not endpoint:
            end = "com.cn" if self._region.startswith("cn-") else "com"
            endpoint = f"https://s3.{self._region}.amazonaws.{end}"
        return f"{endpoint.rstrip('/')}/{self.bucket}"

    def connect_to_object(self, key: str) -> S3Store:
        """A client whose object of the empty name is the one of this key,
        which obstore would not ask for.

        A key with ``.`` or ``..`` between slashes would lead to another object, as in any URL.
        """
        whole = f"{self.prefix}/{key}" if self.prefix else key
        return self._client(
            f"{self.address}/{quote(whole)}?x-id=", virtual_hosted_style_request=True
        )

    @property
    def _endpoint(self) -> str | None:
        return self.endpoint or os.environ.get("AWS_ENDPOINT_URL")

    @property
    def _region(self) -> str:
        return (
            self.region
            or os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION", REGION)
        )

    def _client(self, endpoint: str | None, **options: Any) -> S3Store:
        given = {
            "endpoint": endpoint,
            "access_key_id": self.access_key_id or os.environ.get("AWS_ACCESS_KEY_ID"),
            "secret_access_key": self.secret_access_key or os.environ.get("AWS_SECRET_ACCESS_KEY"),
            "session_token": os.environ.get("AWS_SESSION_TOKEN"),
            "region": self._region,
        }
        return S3Store(
            self.bucket,
            client_options={
                "allow_http": bool(endpoint and endpoint.startswith("http://")),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(seconds=120),
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR},
            checksum_algorithm="SHA256",
            **options,
            **{name: value for name, value in given.items() if value},  # type: ignore[arg-type]
        )


def object_error(error: Exception, what: str) -> ImageError:
    """The typed error for a failed request about ``what``."""
    environment = faults.of_object_error(error).environment
    return ImageError(*_type_and_words(error, what), environment)


def _type_and_words(error: Exception, what: str) -> tuple[ErrorType, str]:
    text = str(error)
    status = faults.status_of(text)  # listing's errors carry the status in their words alone
    if isinstance(error, exceptions.InvalidPathError | ValueError):
        return ErrorType.PATH_VIOLATION, f"an object's name cannot be used: {_first_line(error)}"
    if _ASKED_FOR_CREDENTIALS in text:
        message = (
            f"{what}: there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
        return ErrorType.STORE_UNAVAILABLE, message
    if "NoSuchBucket" in text:
        return ErrorType.NOT_FOUND, "the bucket does not exist"
    if (
        isinstance(error, exceptions.NotFoundError | FileNotFoundError)
        or status == HTTPStatus.NOT_FOUND
    ):
        return ErrorType.NOT_FOUND, f"{what} does not exist"
    if isinstance(error, _REFUSED) or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return ErrorType.ACCESS_DENIED, f"{what} is refused: check the credentials and their rights"
    return ErrorType.STORE_UNAVAILABLE, f"{what}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
