"""The records that the parts of fpj pass to one another and keep in the store.

Data at the boundary (manifests, HTTP) is pydantic and lives in ``fpj_core.v1alpha1``; inside, these
plain frozen dataclasses are used. Times are seconds since the epoch (UTC), sizes are bytes, lengths
are pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from fpj_core.errors import ErrorType

ENGINE_REVISION = 3
"""Part of every settings digest: raise it when the engine's output changes enough to make all
images again.
"""


class Format(StrEnum):
    """Output formats; ``original`` keeps the source's format where it can be written."""

    JPEG = "jpeg"
    WEBP = "webp"
    AVIF = "avif"
    PNG = "png"
    ORIGINAL = "original"


THUMBNAIL_TIER = "thumbnail"
"""The name of the thumbnail's tier, which no cache tier may have."""

_MOST_OF_WEBP = 16_383
"""Pixels a side (RFC 9649, 2.6): 14 bits."""


class Fit(StrEnum):
    """How an image meets its box: within it, filling it from the centre,
    or filling it around what attracts the eye.
    """

    INSIDE = "Inside"
    COVER = "Cover"
    SMART = "Smart"


CACHE_CONTROL = "public, max-age=86400"
"""Of objects, unless a folder says another: an output changes when its source does,
so caches ask again after a day.
"""


REGION = "us-east-1"
"""Of buckets, unless a resource or the environment says another."""


class Layout(StrEnum):
    """How a cache folder names its files, for good: by ids, or after the source's own folders and
    names.
    """

    HASHED = "Hashed"
    MIRROR = "Mirror"


class Eviction(StrEnum):
    """Which derivatives go first when a folder is nearly full."""

    COST = "Cost"
    LRU = "LRU"
    PRIORITY = "Priority"
    NONE = "None"


def usual_eviction(max_bytes: int | None) -> Eviction:
    """What it means to choose none."""
    return Eviction.NONE if max_bytes is None else Eviction.COST


class Since(StrEnum):
    """What a time to live counts from."""

    CREATION = "Creation"
    ACCESS = "Access"


@dataclass(frozen=True, slots=True)
class TierSpec:
    """One named output size, every default resolved."""

    name: str
    width: int
    height: int
    quality: int
    format: Format
    fit: Fit = Fit.INSIDE
    animated: bool = False
    background: str = "#ffffff"

    @property
    def box(self) -> tuple[int, int]:
        """(width, height) that the format can hold."""
        most = _MOST_OF_WEBP if self.format is Format.WEBP else max(self.width, self.height)
        return min(self.width, most), min(self.height, most)

    def digest(self, tiers: Sequence[TierSpec] = ()) -> str:
        """16 hex digits over everything that changes the output's bytes (the name does not).

        An output is scaled down from the next larger one of a job's ``tiers``, so the sizes of
        those that may be larger count, too. Making each from the source took 15 to 100 % longer on
        the samples.
        """
        settings: dict[str, object] = asdict(self) | {"engine": ENGINE_REVISION}
        del settings["name"]
        if larger := sorted(
            {(*each.box, each.fit is Fit.INSIDE) for each in tiers if self._may_be_below(each)}
        ):
            settings["larger"] = larger
        text = json.dumps(settings, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def _may_be_below(self, other: TierSpec) -> bool:
        """Whether some image is scaled to more pixels for the other tier than for this one."""
        wider, higher = other.box[0] > self.box[0], other.box[1] > self.box[1]
        if self.fit is not Fit.INSIDE and other.fit is Fit.INSIDE:
            return wider and higher
        return wider or higher or (self.fit is Fit.INSIDE and other.fit is not Fit.INSIDE)


def tier_digests(tiers: Sequence[TierSpec]) -> dict[str, str]:
    """Digest by name, of all tiers of a job."""
    return {tier.name: tier.digest(tiers) for tier in tiers}


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a single image may cost before it is refused with a typed error."""

    max_file_size: int = 500 * 2**20
    max_pixels: int = 268_000_000
    timeout_seconds: float = 60.0
    max_attempts: int = 3
    fetch_timeout_seconds: float = 600.0
    """Beside ``timeout_seconds``: how long its bytes may take to come,
    and its files to go where they are kept.
    """


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One image as a source lists it.

    ``key`` is the portable text form of the name (see ``fpj_core.sources.keys``); ``version``
    changes when the content does: ``<size>-<mtime in ns>`` for files and members, the ETag for
    objects.
    """

    key: str
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a collection.

    The fields from ``width`` on are unknown until it has been decoded once.
    """

    collection: str
    ordinal: int
    id: str
    key: str
    size: int
    version: str
    deleted: bool = False
    width: int | None = None
    height: int | None = None
    format: str | None = None
    thumbhash: bytes | None = None
    dominant_color: str | None = None
    warning: str | None = None
    captured_at: str | None = None


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What decoding taught about a source image; size after orientation is applied.

    ``thumbhash`` is the ThumbHash placeholder (about 25 bytes), ``dominant_color`` is ``#rrggbb``.
    ``warning`` says why the picture may be damaged although it decoded. ``captured_at`` is when it
    was taken, as RFC 3339 writes it; the offset from UTC is lacking where the file states none.
    """

    width: int
    height: int
    format: str
    thumbhash: bytes | None = None
    dominant_color: str | None = None
    warning: str | None = None
    captured_at: str | None = None


@dataclass(frozen=True, slots=True)
class Derivative:
    """One output file: of one image, in one tier. Unique on (image, tier).

    ``path`` is relative to the folder. ``digest`` is the tier's settings digest and
    ``source_version`` the image's version when it was made: both must match for the file to count
    as up to date.
    """

    image: str
    tier: str
    collection: str
    ordinal: int
    digest: str
    source_version: str
    folder: str
    path: str
    width: int
    height: int
    bytes: int
    job: str
    created_at: float
    cost_ms: int = 0
    """CPU milliseconds that making this file alone takes: decoding, scaling and encoding.

    0 where nobody measured them.
    """


class RemovalReason(StrEnum):
    """Why a derivative's file is removed."""

    VANISHED = "Vanished"
    """Its image is not in the source any more."""
    UNREQUESTED = "Unrequested"
    """The job that asked for its tier does so no longer."""
    SUPERSEDED = "Superseded"
    """The same image and tier was made under another name: another format, or another folder."""
    PURGED = "Purged"
    """Somebody asked for it."""
    EXPIRED = "Expired"
    """The time to live of its folder's policy has passed."""
    OVER_COLLECTION_QUOTA = "OverCollectionQuota"
    """Its collection holds more than the folder's policy allows."""
    OVER_TIER_QUOTA = "OverTierQuota"
    """Its tier holds more than the folder's policy allows."""
    OVER_QUOTA = "OverQuota"
    """The folder holds more than its high watermark."""
    FORGOTTEN = "Forgotten"
    """Somebody asked for all that is of its collection."""
    DELETED = "Deleted"
    """The job that it was made for was deleted, and its policy was to remove the files, too."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A file that is to be removed, and that no derivative's record lists any more.

    It is kept until the file is gone, so a removal that was interrupted goes on later.
    ``recorded`` says that a derivative with this very path was recorded since: then the file stays.
    """

    collection: str
    ordinal: int
    tier: str
    folder: str
    path: str
    bytes: int
    reason: RemovalReason
    started_at: float
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that failed in a job. Unique on (job, image)."""

    job: str
    collection: str
    ordinal: int
    image: str
    key: str
    error_type: ErrorType
    message: str
    attempts: int
    at: float


@dataclass(frozen=True, slots=True)
class Counts:
    """Exact tallies of a shard, or of a job as the sum over its shards."""

    completed: int = 0
    skipped: int = 0
    failed: int = 0
    bytes_written: int = 0
    processing_ms: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Images that need nothing more in this run."""
        return self.completed + self.skipped + self.failed

    def __add__(self, other: Counts) -> Counts:
        errors = dict(self.errors)
        for name, count in other.errors.items():
            errors[name] = errors.get(name, 0) + count
        return Counts(
            self.completed + other.completed,
            self.skipped + other.skipped,
            self.failed + other.failed,
            self.bytes_written + other.bytes_written,
            self.processing_ms + other.processing_ms,
            errors,
        )

    def __sub__(self, other: Counts) -> Counts:
        """What came on top of ``other``, which has no errors.

        A single image may change from skipped to completed.
        """
        return Counts(
            self.completed - other.completed,
            self.skipped - other.skipped,
            self.failed - other.failed,
            self.bytes_written - other.bytes_written,
            self.processing_ms - other.processing_ms,
            self.errors,
        )


class ShardState(StrEnum):
    """Where a shard stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Shard:
    """A range ``[start, stop)`` of image ordinals.

    ``cursor`` is the first ordinal not yet accounted for.

    A shard belongs to the plan of one attempt: (job, attempt, index) says which it is. ``epoch``
    rises with every claim and fences earlier holders out: each of their writes names an epoch that
    no longer matches.
    """

    job: str
    attempt: int
    index: int
    collection: str
    start: int
    stop: int
    cursor: int
    state: ShardState = ShardState.PENDING
    epoch: int = 0
    holder: str | None = None
    heartbeat_at: float = 0.0
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True, slots=True)
class ShardBatch:
    """What a shard's holder writes in one step: results for the ordinals ``[expected_cursor,
    cursor)``.

    ``fence`` is the collection lease's fence; a derivative already recorded under a higher fence
    stays as it is.
    """

    job: str
    attempt: int
    index: int
    collection: str
    epoch: int
    fence: int
    expected_cursor: int
    cursor: int
    counts: Counts
    derivatives: tuple[Derivative, ...] = ()
    failures: tuple[Failure, ...] = ()
    facts: Mapping[int, ImageFacts] = field(default_factory=dict)
    """By ordinal."""


class Phase(StrEnum):
    """A job's phase, as in ``status.phase``."""

    PENDING = "Pending"
    INDEXING = "Indexing"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    RECOVERING = "Recovering"
    COMPLETED = "Completed"
    COMPLETED_WITH_ERRORS = "CompletedWithErrors"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def finished(self) -> bool:
        """Whether the job will do nothing more by itself."""
        return self in _FINISHED

    @property
    def active(self) -> bool:
        """Whether the job is being worked on, or about to be again."""
        return self in _ACTIVE

    @property
    def at_rest(self) -> bool:
        """Whether the job stays as it is until somebody says otherwise: finished or suspended."""
        return self.finished or self is Phase.SUSPENDED


_ACTIVE = frozenset({Phase.INDEXING, Phase.RUNNING, Phase.RECOVERING})
_FINISHED = frozenset({Phase.COMPLETED, Phase.COMPLETED_WITH_ERRORS, Phase.FAILED, Phase.CANCELLED})


@dataclass(frozen=True, slots=True)
class Job:
    """One FileProcessingJob as the store keeps it.

    ``version`` guards every change (optimistic concurrency).

    ``base`` counts the images that no shard of the current attempt covers, found up to date by the
    plan; totals are ``base`` plus the sum over the shards, whose counts begin with what the plan
    found up to date within their ranges.
    """

    id: str
    name: str
    collection: str
    manifest: Mapping[str, object]
    digest: str
    phase: Phase = Phase.PENDING
    stage: str = ""
    reason: str = ""
    message: str = ""
    total: int = 0
    base: Counts = field(default_factory=Counts)
    recovery_attempts: int = 0
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    last_progress_at: float | None = None
    last_progress_done: int = 0
    """Images done at ``last_progress_at``: another number is progress, the same one is not."""
    active_seconds: float = 0.0
    """Seconds that one machine has worked on the attempt; 0 where pods do."""
    running_since: float | None = None
    """Since when pods work on the attempt; None for `fpj run`."""
    planning_attempt: int = 0
    """The latest attempt whose planning has started: from then on, earlier attempts are fenced."""
    begun_attempt: int = 0
    """The attempt that restarted the job after an end of it; 0 before the first end.

    Later ones continue it.
    """
    planner: str = ""
    """Which of the processes that plan the attempt did so last: the others are fenced."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """When each stage of the present attempt's planning began, by name."""
    planned_attempt: int = 0
    """The latest attempt whose shards and ``base`` are recorded; 0 until the first is."""
    made_before: int = 0
    """Of the completed images, those that earlier attempts made:
    they are not the work of this one.
    """
    planned_shards: int = 0
    """Shards of the plan of ``planned_attempt``: so many must succeed.

    0 also where an earlier version planned.
    """
    left_out: Mapping[str, int] = field(default_factory=dict)
    """By reason (`fpj_core.sources.filters.Reason`),
    what the source has that does not belong to the collection.
    """
    version: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lease. ``fence`` (``leaseTransitions``) rises each time another holder takes over."""

    name: str
    holder: str
    fence: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Folder:
    """A cache folder with its statistics, which are aggregations over derivatives.

    ``mirrored`` is the one collection that a folder of the layout Mirror holds, once a job has
    written there. ``reach`` is, as JSON, what beside its location says how to write to a bucket
    (`fpj_core.kube.records.Reach`). ``policy`` is ``spec.policy`` of its resource, as JSON.
    """

    name: str
    location: str
    priority: int = 0
    max_bytes: int | None = None
    files: int = 0
    bytes: int = 0
    collections: int = 0
    layout: Layout = Layout.HASHED
    mirrored: str | None = None
    reach: str | None = None
    policy: str | None = None
