"""The one table of faults: every entry, and what is made of it where errors are translated."""

from __future__ import annotations

import errno
import os
from typing import Any

import pymongo.errors
import pytest
from obstore import exceptions

from fpj_core import faults
from fpj_core.errors import ErrorType, StoreError, StoreUnavailableError
from fpj_core.folders.local import write_error
from fpj_core.objects import object_error
from fpj_core.sources.base import image_error_from_os
from fpj_core.store.mongodb_connection import translated

SYSTEM = {
    "image permanent": "ENOENT ENOTDIR EISDIR ELOOP ENAMETOOLONG EINVAL EOVERFLOW EILSEQ",
    "environment transient": (
        "EIO EREMOTEIO ENXIO ENODEV EBADMSG EUCLEAN EBUSY EINTR ESTALE ETIMEDOUT ENOTCONN"
        " ECONNRESET ECONNREFUSED ECONNABORTED EPIPE EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH"
        " ENETRESET ENOLINK ECOMM ESHUTDOWN EPROTO EAGAIN ENOLCK ENOMEM ENOBUFS EMFILE ENFILE"
        " ENOSPC EDQUOT EFBIG"
    ),
    "environment permanent": "EROFS EACCES EPERM ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED",
}
ANSWERS = {
    "image permanent": "400 404 405 410 413 414 416",
    "image transient": "409 412",
    "environment permanent": "301 307 308 401 402 403 407",
    "environment transient": "408 425 429 500 502 503 504 507 509",
}
CODES = {
    "environment permanent": (
        "NoSuchBucket AccessDenied ExpiredToken TokenRefreshRequired InvalidToken"
        " InvalidAccessKeyId SignatureDoesNotMatch RequestTimeTooSkewed AccountProblem"
        " AllAccessDisabled PermanentRedirect NotSignedUp"
    ),
    "environment transient": (
        "SlowDown ServiceUnavailable InternalError RequestTimeout OperationAborted QuotaExceeded"
        " XMinioStorageFull XMinioAdminBucketQuotaExceeded"
    ),
    "image permanent": "NoSuchKey InvalidRange KeyTooLongError",
}
OBSTORE = {
    "image permanent": (
        "NotFoundError FileNotFoundError InvalidPathError ValueError NotSupportedError"
        " NotImplementedError"
    ),
    "image transient": "PreconditionError AlreadyExistsError NotModifiedError",
    "environment permanent": (
        "PermissionDeniedError UnauthenticatedError PermissionError UnknownConfigurationKeyError"
    ),
    "environment transient": "JoinError GenericError TimeoutError ConnectionError BaseError",
}
MONGODB = {
    "environment transient": (
        "ServerSelectionTimeoutError NetworkTimeout NotPrimaryError AutoReconnect"
        " WaitQueueTimeoutError ConnectionFailure ExecutionTimeout WTimeoutError WriteConcernError"
        " CursorNotFound"
    ),
    "environment permanent": "InvalidURI ConfigurationError PyMongoError",
    "image permanent": "DocumentTooLarge InvalidDocument",
}
MONGODB_CODES = {
    "environment transient": (
        "6 7 50 64 89 91 112 134 189 202 262 317 384 9001 10107 11600 11602 13435 13436 14031"
    ),
    "environment permanent": "8000 13 18",
}


def entries(table: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, meaning) for meaning, names in table.items() for name in names.split()]


def said(fault: faults.Fault) -> str:
    return f"{fault.scope.value} {'transient' if fault.transient else 'permanent'}"


def test_no_entry_is_untested() -> None:
    def numbers(table: dict[str, str]) -> set[int]:
        return {int(name) for name, _ in entries(table)}

    assert {getattr(errno, name) for name, _ in entries(SYSTEM)} == set(faults.ERRNO)
    assert numbers(ANSWERS) == set(faults.HTTP)
    assert {name for name, _ in entries(CODES)} == set(faults.S3_CODES)
    assert {name for name, _ in entries(OBSTORE)} == set(faults.OBJECT_STORE)
    assert {name for name, _ in entries(MONGODB)} == set(faults.MONGODB)
    assert numbers(MONGODB_CODES) == set(faults.MONGODB_CODES)
    known = {name for name in dir(exceptions) if name.endswith("Error")}
    assert known <= set(faults.OBJECT_STORE), "obstore has an error that the table lacks"


@pytest.mark.parametrize(("name", "meaning"), entries(SYSTEM))
def test_errors_of_the_system(name: str, meaning: str) -> None:
    number = getattr(errno, name)
    assert said(faults.of_errno(number)) == meaning
    error = OSError(number, os.strerror(number))
    for translated_error in (image_error_from_os(error, "the file"), write_error(error)):
        missing = number == errno.ENOENT and "folder" in translated_error.message
        assert translated_error.environment == (meaning.startswith("environment") or missing)
    read = image_error_from_os(error, "the file").error_type
    if meaning == "environment transient":
        assert read is ErrorType.READ_FAILED


def test_what_nobody_knows_is_no_fault_of_the_environment() -> None:
    assert said(faults.of_errno(None)) == said(faults.of_errno(99_999)) == "image permanent"


@pytest.mark.parametrize(("status", "meaning"), entries(ANSWERS))
def test_answers_of_an_object_store(status: str, meaning: str) -> None:
    error = exceptions.GenericError(
        f"Server returned non-2xx status code: {status} Words: <Error/>"
    )
    assert said(faults.of_object_error(error)) == meaning
    assert object_error(error, "the object").environment == meaning.startswith("environment")


@pytest.mark.parametrize(("code", "meaning"), entries(CODES))
def test_codes_of_an_object_store(code: str, meaning: str) -> None:
    """Whatever the status: an expired token is answered with 400."""
    error = exceptions.GenericError(
        f"status code: 400 Bad Request: <Error><Code>{code}</Code></Error>"
    )
    assert said(faults.of_object_error(error)) == meaning
    assert object_error(error, "the object").environment == meaning.startswith("environment")


@pytest.mark.parametrize(("name", "meaning"), entries(OBSTORE))
def test_errors_of_an_object_store(name: str, meaning: str) -> None:
    kind = (
        getattr(exceptions, name, None)
        or {
            each.__name__: each
            for each in (
                FileNotFoundError,
                PermissionError,
                ValueError,
                NotImplementedError,
                TimeoutError,
                ConnectionError,
            )
        }[name]
    )
    assert said(faults.of_object_error(kind("why"))) == meaning


def test_no_route_and_no_answer() -> None:
    for words in ("error sending request: dns error", "operation timed out", "connection refused"):
        assert (
            said(faults.of_object_error(exceptions.GenericError(words))) == "environment transient"
        )


@pytest.mark.parametrize(("name", "meaning"), entries(MONGODB))
def test_errors_of_mongodb(name: str, meaning: str) -> None:
    kind: Any = getattr(pymongo.errors, name, None)
    if kind is None:
        from bson import errors as bson_errors

        kind = getattr(bson_errors, name)
    assert said(faults.of_mongodb_error(kind("why"))) == meaning


@pytest.mark.parametrize(("code", "meaning"), entries(MONGODB_CODES))
def test_codes_of_mongodb(code: str, meaning: str) -> None:
    error = pymongo.errors.OperationFailure("why", int(code))
    assert said(faults.of_mongodb_error(error)) == meaning
    with pytest.raises(StoreError) as raised, translated():
        raise error
    assert isinstance(raised.value, StoreUnavailableError) == (meaning == "environment transient")


@pytest.mark.parametrize("error_type", ErrorType)
def test_what_is_charged_only_after_a_probe(error_type: ErrorType) -> None:
    assert faults.may_be_environment(error_type, environment=True)
    alone = {ErrorType.NOT_FOUND, ErrorType.DECODE_TIMEOUT, ErrorType.FETCH_TIMEOUT}
    assert faults.may_be_environment(error_type, environment=False) == (error_type in alone)
