"""What an error means: is it the image's, or its environment's; may it pass by itself.

One table for all of them. Pure.

Sources, cache folders, the pool, pods and the command line translate errors by this table.
"Environment" is what would befall any other image as well: a full disk, a mount that has gone, a
service that refuses. It is a suspicion, which a probe confirms or not (`fpj_worker.breaker`): one
unreadable file among good ones is that file's own fault after all.

Clients are not imported, for they take long to load: their exceptions are known by name, a base
class by its own.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from enum import StrEnum

from fpj_core.errors import ErrorType


class Scope(StrEnum):
    """Whose fault it is."""

    IMAGE = "image"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Fault:
    """``transient`` says that it may pass without anyone doing anything about this image or this
    environment.
    """

    scope: Scope
    transient: bool

    @property
    def environment(self) -> bool:
        """Whether other images would meet it, too."""
        return self.scope is Scope.ENVIRONMENT


PERMANENT = Fault(Scope.IMAGE, transient=False)
TRANSIENT = Fault(Scope.IMAGE, transient=True)
OUTAGE = Fault(Scope.ENVIRONMENT, transient=True)
REFUSAL = Fault(Scope.ENVIRONMENT, transient=False)
"""Of the environment, and a person must change something."""


def _each(*names: str, fault: Fault) -> dict[int, Fault]:
    return {getattr(errno, name): fault for name in names if hasattr(errno, name)}


ERRNO: dict[int, Fault] = (
    _each(
        "ENOENT",
        "ENOTDIR",
        "EISDIR",
        "ELOOP",
        "ENAMETOOLONG",
        "EINVAL",
        "EOVERFLOW",
        "EILSEQ",
        fault=PERMANENT,
    )
    | _each(
        "EIO", "EREMOTEIO", "ENXIO", "ENODEV", "EBADMSG", "EUCLEAN", "EBUSY", "EINTR", fault=OUTAGE
    )
    | _each(
        "ESTALE",
        "ETIMEDOUT",
        "ENOTCONN",
        "ECONNRESET",
        "ECONNREFUSED",
        "ECONNABORTED",
        "EPIPE",
        fault=OUTAGE,
    )
    | _each(
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENETRESET",
        "ENOLINK",
        "ECOMM",
        fault=OUTAGE,
    )
    | _each(
        "ESHUTDOWN",
        "EPROTO",
        "EAGAIN",
        "ENOLCK",
        "ENOMEM",
        "ENOBUFS",
        "EMFILE",
        "ENFILE",
        fault=OUTAGE,
    )
    | _each("ENOSPC", "EDQUOT", "EFBIG", fault=OUTAGE)
    | _each(
        "EROFS",
        "EACCES",
        "EPERM",
        "ENOKEY",
        "EKEYEXPIRED",
        "EKEYREVOKED",
        "EKEYREJECTED",
        fault=REFUSAL,
    )
)
"""What systems say. Others are nobody's known fault: the image's, for good."""

HTTP: dict[int, Fault] = (
    dict.fromkeys((400, 404, 405, 410, 413, 414, 416), PERMANENT)
    | dict.fromkeys((409, 412), TRANSIENT)
    | dict.fromkeys((301, 307, 308, 401, 402, 403, 407), REFUSAL)
    | dict.fromkeys((408, 425, 429, 500, 502, 503, 504, 507, 509), OUTAGE)
)
"""What object stores answer."""

S3_CODES: dict[str, Fault] = (
    dict.fromkeys(
        ("NoSuchBucket", "AccessDenied", "ExpiredToken", "TokenRefreshRequired", "InvalidToken"),
        REFUSAL,
    )
    | dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"), REFUSAL
    )
    | dict.fromkeys(
        ("AccountProblem", "AllAccessDisabled", "PermanentRedirect", "NotSignedUp"), REFUSAL
    )
    | dict.fromkeys(
        ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted"),
        OUTAGE,
    )
    | dict.fromkeys(
        ("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"), OUTAGE
    )
    | dict.fromkeys(("NoSuchKey", "InvalidRange", "KeyTooLongError"), PERMANENT)
)
"""In the words of an answer, and more exact than its status."""

OBJECT_STORE: dict[str, Fault] = {
    "NotFoundError": PERMANENT,
    "FileNotFoundError": PERMANENT,
    "InvalidPathError": PERMANENT,
    "ValueError": PERMANENT,
    "NotSupportedError": PERMANENT,
    "NotImplementedError": PERMANENT,
    "PreconditionError": TRANSIENT,
    "AlreadyExistsError": TRANSIENT,
    "NotModifiedError": TRANSIENT,
    "PermissionDeniedError": REFUSAL,
    "UnauthenticatedError": REFUSAL,
    "PermissionError": REFUSAL,
    "UnknownConfigurationKeyError": REFUSAL,
    "JoinError": OUTAGE,
    "GenericError": OUTAGE,
    "TimeoutError": OUTAGE,
    "ConnectionError": OUTAGE,
    "BaseError": OUTAGE,
}
"""Exceptions of obstore, and the built-in ones that it raises,
where an answer says nothing more.
"""

MONGODB: dict[str, Fault] = {
    "ServerSelectionTimeoutError": OUTAGE,
    "NetworkTimeout": OUTAGE,
    "NotPrimaryError": OUTAGE,
    "AutoReconnect": OUTAGE,
    "WaitQueueTimeoutError": OUTAGE,
    "ConnectionFailure": OUTAGE,
    "ExecutionTimeout": OUTAGE,
    "WTimeoutError": OUTAGE,
    "WriteConcernError": OUTAGE,
    "CursorNotFound": OUTAGE,
    "InvalidURI": REFUSAL,
    "ConfigurationError": REFUSAL,
    "DocumentTooLarge": PERMANENT,
    "InvalidDocument": PERMANENT,
    "PyMongoError": REFUSAL,
}
"""Exceptions of pymongo."""

MONGODB_CODES: dict[int, Fault] = dict.fromkeys(
    (
        6,
        7,
        50,
        64,
        89,
        91,
        112,
        134,
        189,
        202,
        262,
        317,
        384,
        9001,
        10107,
        11600,
        11602,
        13435,
        13436,
        14031,
    ),
    OUTAGE,
) | dict.fromkeys((8000, 13, 18), REFUSAL)
"""Codes of a server's answer
(https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml): a network, an
election, a shutdown, a full disk; and who may not.
"""

_STATUS = re.compile(r"status code: (\d{3})|status: (\d{3})\b")
_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_SUSPICIOUS = frozenset({ErrorType.NOT_FOUND, ErrorType.DECODE_TIMEOUT, ErrorType.FETCH_TIMEOUT})


def status_of(text: str) -> int | None:
    """The HTTP status that the words of an error give."""
    found = _STATUS.search(text)
    return int(found[1] or found[2]) if found else None


def of_errno(number: int | None) -> Fault:
    """What a system's error number means."""
    return ERRNO.get(number or 0, PERMANENT)


def of_object_error(error: BaseException) -> Fault:
    """What a failed request to object storage means: by its code, its status, its kind."""
    text = str(error)
    code = _CODE.search(text)
    if code and code[1] in S3_CODES:
        return S3_CODES[code[1]]
    status = status_of(text)
    if status in HTTP:
        return HTTP[status]
    return _by_name(OBJECT_STORE, error) or (
        of_errno(error.errno) if isinstance(error, OSError) else OUTAGE
    )


def of_mongodb_error(error: BaseException) -> Fault:
    """What a driver's error means: by the server's code, by its kind."""
    code = getattr(error, "code", None)
    if code in MONGODB_CODES:
        return MONGODB_CODES[code]
    return _by_name(MONGODB, error) or REFUSAL


def may_be_environment(error_type: ErrorType, environment: bool) -> bool:
    """Whether an image must not be charged before a probe:
    what is missing or late may be so with all of its folder.
    """
    return environment or error_type in _SUSPICIOUS


def _by_name(table: dict[str, Fault], error: BaseException) -> Fault | None:
    return next(
        (table[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in table), None
    )
