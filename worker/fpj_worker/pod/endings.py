"""From an error to how the pod ends: whether a retry may help, and the message for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from obstore import exceptions

from fpj_core import faults
from fpj_core.errors import (
    CacheFolderError,
    CacheFolderFullError,
    EnvironmentFaultError,
    ErrorType,
    FencedError,
    FpjError,
    ImageError,
    ManifestError,
    SourceChangedError,
    SourceError,
    SourceShrankError,
    StoreError,
    StoreUnavailableError,
)
from fpj_core.kube.exits import ExitCode, Reason
from fpj_core.objects import object_error
from fpj_worker.pool import PoolError
from fpj_worker.stopping import InterruptedRunError

_MISSING = (FileNotFoundError, NotADirectoryError)


class ShardHeldError(FpjError):
    """Another pod has been working on this one's shard for very long."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the pod ends. ``reason`` is None where nothing went wrong."""

    code: ExitCode
    reason: Reason | None = None


_BY_ERROR: tuple[tuple[type[Exception], Ending], ...] = (
    (InterruptedRunError, Ending(ExitCode.TERMINATED)),
    (ManifestError, Ending(ExitCode.PERMANENT, Reason.INVALID_MANIFEST)),
    (CacheFolderFullError, Ending(ExitCode.ENVIRONMENT, Reason.CACHE_FOLDER_FULL)),
    (EnvironmentFaultError, Ending(ExitCode.ENVIRONMENT, Reason.ENVIRONMENT_FAULT)),
    (FencedError, Ending(ExitCode.FENCED, Reason.FENCED)),
    (StoreUnavailableError, Ending(ExitCode.MAY_HEAL, Reason.STORE_UNAVAILABLE)),
    (StoreError, Ending(ExitCode.MAY_HEAL, Reason.STORE_REFUSED)),
    (PoolError, Ending(ExitCode.MAY_HEAL, Reason.WORKERS_FAILED)),
    (ShardHeldError, Ending(ExitCode.MAY_HEAL, Reason.SHARD_HELD)),
    (Exception, Ending(ExitCode.MAY_HEAL, Reason.INTERNAL)),
)
"""The first that fits counts."""


def ending_of(error: Exception) -> Ending:
    """How a pod ends that this error stopped."""
    if isinstance(error, SourceShrankError):
        return Ending(ExitCode.PERMANENT, Reason.SOURCE_SHRANK)
    if isinstance(error, SourceChangedError):
        return Ending(ExitCode.PERMANENT, Reason.SOURCE_CHANGED)
    if isinstance(error, SourceError):
        missing = _trouble(error.__cause__) is ErrorType.NOT_FOUND
        return Ending(
            _code(error), Reason.SOURCE_NOT_FOUND if missing else Reason.SOURCE_UNREADABLE
        )
    # Only in the cache folder does the supervisor look at files.
    if isinstance(error, CacheFolderError | ImageError):
        return Ending(_code(error), Reason.CACHE_FOLDER_UNUSABLE)
    return next(ending for kind, ending in _BY_ERROR if isinstance(error, kind))


def _code(error: FpjError) -> ExitCode:
    """A disk or a service that does not answer may come back.

    What is missing or refused needs a person.
    """
    trouble = error.error_type if isinstance(error, ImageError) else _trouble(error.__cause__)
    return ExitCode.MAY_HEAL if trouble is not None and trouble.transient else ExitCode.PERMANENT


def _trouble(cause: BaseException | None) -> ErrorType | None:
    """What lies behind an error; None where nothing but itself does."""
    if isinstance(cause, ImageError):
        return cause.error_type
    if isinstance(cause, exceptions.BaseError):
        return object_error(cause, "").error_type
    if isinstance(cause, _MISSING):
        return ErrorType.NOT_FOUND
    passing = isinstance(cause, OSError) and faults.of_errno(cause.errno).transient
    return ErrorType.WRITE_FAILED if passing else None
