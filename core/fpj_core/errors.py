"""Every error fpj raises on purpose.

    FpjError
    ├── RefusedActionError     the action is not allowed in the job's state
    (`fpj_core.kube.steering`) ├── ClusterError           the API server refused, or did not answer
    (`fpj_core.kube.errors`) │   ├── UnreachableError   it, or a pod through it, cannot be reached
    now │   └── NoAnswerError      no answer came in time; what was asked may have been done
    ├── ManifestError          a manifest or an option breaks the resource's rules
    ├── SourceError            a whole source cannot be listed (one image's trouble is an
    ImageError) │   ├── SourceShrankError  most of a known collection is not there any more
    │   └── SourceChangedError the collection's images are of another source
    ├── CacheFolderError       no cache folder fits, or its path cannot be used
    │   └── FolderLostError    marker and files are not there any more
    ├── PolicyError            no eviction can be planned: a size, a time or a limit is invalid
    │   └── PlanRemovesEverythingError  the plan would leave nothing
    ├── EnvironmentFaultError  source, cache or temporary folder have stopped working; they may heal
    │   └── CacheFolderFullError  the cache folder may hold no more
    ├── ImageError             one image failed; carries an ErrorType
    │   └── ContentChangedError  it was replaced while it was read: read it again
    └── StoreError             the store refused or lost an operation
        ├── StoreUnavailableError   it cannot be reached
        ├── NoStoreError            there is none, and none may be made
        ├── ReadOnlyStoreError      it can be read alone
        ├── UnrecordedJobError      it has no record of the job
        ├── ConcurrencyError        a ``_version`` check failed: read again and decide again
        ├── LeaseHeldError          another holder has the lease
        └── FencedError             this holder lost its lease or shard: stop, write nothing

The error types of images are a closed set (metrics labels and ``status.errorBreakdown`` rely on
it).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from typing_extensions import override


class ErrorType(StrEnum):
    """Why an image failed. The set is closed: add here, nowhere else."""

    NOT_FOUND = "NotFound"
    ACCESS_DENIED = "AccessDenied"
    TOO_LARGE = "TooLarge"
    TOO_MANY_PIXELS = "TooManyPixels"
    UNSUPPORTED_FORMAT = "UnsupportedFormat"
    CORRUPT_IMAGE = "CorruptImage"
    DECODE_TIMEOUT = "DecodeTimeout"
    FETCH_TIMEOUT = "FetchTimeout"
    OUT_OF_MEMORY = "OutOfMemory"
    WORKER_CRASHED = "WorkerCrashed"
    READ_FAILED = "ReadFailed"
    WRITE_FAILED = "WriteFailed"
    DISK_FULL = "DiskFull"
    PATH_VIOLATION = "PathViolation"
    STORE_UNAVAILABLE = "StoreUnavailable"
    INTERNAL = "Internal"

    @property
    def transient(self) -> bool:
        """Whether another attempt may succeed without anyone changing the image."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {
        ErrorType.DECODE_TIMEOUT,
        ErrorType.FETCH_TIMEOUT,
        ErrorType.OUT_OF_MEMORY,
        ErrorType.WORKER_CRASHED,
        ErrorType.READ_FAILED,
        ErrorType.WRITE_FAILED,
        ErrorType.DISK_FULL,
        ErrorType.STORE_UNAVAILABLE,
    }
)


class FpjError(Exception):
    """Base of every error that fpj raises on purpose."""


class ManifestError(FpjError):
    """A manifest or an option breaks the resource's rules.

    ``problems`` holds one line per problem: field path, what is wrong, what is allowed. ``fields``
    holds the same as (path, message) where the problems are a resource's; the path is empty for the
    whole of it. ``unknown`` are the places of fields that this version does not know, as steps from
    the resource down.
    """

    def __init__(
        self,
        problems: list[str],
        *,
        origin: str | None = None,
        fields: Sequence[tuple[str, str]] = (),
        unknown: Sequence[tuple[int | str, ...]] = (),
    ) -> None:
        self.problems = problems
        self.origin = origin
        self.fields = tuple(fields)
        self.unknown = tuple(unknown)
        head = f"{origin}: " if origin else ""
        super().__init__("\n".join(head + problem for problem in problems))


class SourceError(FpjError):
    """A source as a whole cannot be read: missing, refused, unreachable."""


class SourceShrankError(SourceError):
    """Most of a known collection is not in its source any more:
    it is rather not mounted than deleted.
    """

    def __init__(self, vanished: int, known: int) -> None:
        self.vanished = vanished
        self.known = known
        super().__init__(
            f"{vanished:,} of {known:,} known images are not in the source any more; nothing was"
            " marked deleted. If it is not mounted, mount it. If they were deleted or moved on"
            " purpose: --accept-vanished, or spec.collection.acceptVanished"
        )


class SourceChangedError(SourceError):
    """The collection's images are of another source: where keys are the same,
    files would replace one another.
    """

    def __init__(self, collection: str, known: str, given: str) -> None:
        self.known = known
        self.given = given
        super().__init__(
            f"collection {collection} holds the images of {known}, not of {given}; nothing was"
            " changed. Use another --collection (spec.collection.id) for other images. If these"
            " are the same at another place: --accept-source, or spec.collection.acceptSource"
        )


class CacheFolderError(FpjError):
    """No cache folder fits the job, or the chosen one cannot be used."""


class FolderLostError(CacheFolderError):
    """A cache folder that is known to have files has none of them, nor its marker:
    it is rather not mounted.
    """


class PolicyError(FpjError):
    """No eviction can be planned: the policy, or what is known of a derivative, is invalid."""


class PlanRemovesEverythingError(PolicyError):
    """The plan would remove all ``derivatives``, ``bytes`` together; nobody allowed that."""

    def __init__(self, derivatives: int, size: int) -> None:
        self.derivatives = derivatives
        self.bytes = size
        super().__init__(
            f"the policy would remove everything: {derivatives:,} derivatives, {size:,} bytes."
            " Nothing was removed. Raise the quota or the ttl, or allow it explicitly"
        )


class EnvironmentFaultError(FpjError):
    """Source, cache folder or temporary folder do not work at the moment: no image's fault,
    and none is charged.

    ``reason`` is that of the job that waits for it.
    """

    reason = "EnvironmentFault"


class CacheFolderFullError(EnvironmentFaultError):
    """The cache folder may hold no more (`maxBytes`), and nothing could be evicted."""

    reason = "CacheFolderFull"


class PoolError(FpjError):
    """Child processes cannot be started, or too many cannot be killed."""


class ImageError(FpjError):
    """One image failed; the job goes on.

    ``environment`` says that any other might have, too: see `fpj_core.faults`.
    """

    def __init__(self, error_type: ErrorType, message: str, environment: bool = False) -> None:
        self.error_type = error_type
        self.message = message
        self.environment = environment
        super().__init__(f"{error_type}: {message}")

    @override
    def __reduce__(self) -> tuple[type[ImageError], tuple[ErrorType, str, bool]]:
        # The default would call __init__ with the one formatted argument and fail to unpickle.
        return (type(self), (self.error_type, self.message, self.environment))


class ContentChangedError(ImageError):
    """An object was replaced by another while it was read; what was read of it is worth nothing."""


class StoreError(FpjError):
    """The store refused or lost an operation."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached."""


class NoStoreError(StoreError):
    """There is no store at ``location``, and only a run may make one."""

    def __init__(self, location: str) -> None:
        self.location = location
        super().__init__(
            f"there is no store at {location}; `fpj run` makes it. If there should be one: check"
            " --store and FPJ_STORE"
        )


class ReadOnlyStoreError(StoreError):
    """The store at ``location`` can be read, and not be written."""

    def __init__(self, location: str) -> None:
        self.location = location
        super().__init__(
            f"the store {location} cannot be written: its file system is read-only, or it is"
            " another user's. It can be read; for a run, make it writable or name another one with"
            " --store"
        )


class UnrecordedJobError(StoreError):
    """The store has no record of the job."""


class ConcurrencyError(StoreError):
    """A record changed since it was read. Read it again and decide again."""


class LeaseHeldError(StoreError):
    """Another holder has the lease until ``expires_at`` (seconds since the epoch)."""

    def __init__(self, name: str, holder: str, expires_at: float) -> None:
        self.name = name
        self.holder = holder
        self.expires_at = expires_at
        super().__init__(f"lease {name} is held by {holder}")


class FencedError(StoreError):
    """This holder lost its lease or its shard: it must stop and write nothing more."""
