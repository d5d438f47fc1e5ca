"""FileProcessingJob.

Fields that a manifest leaves out stay None: what they then mean, `ApiModel.meant` says.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from fpj_core.model import THUMBNAIL_TIER, Fit, Format, ImageLimits, Phase
from fpj_core.sources.filters import MOST_PATTERN_LENGTH, MOST_PATTERNS, PATTERN, refuse_patterns
from fpj_core.v1alpha1.common import (
    LABEL_PATTERN,
    NAME_PATTERN,
    S3,
    ApiModel,
    Condition,
    Local,
    Metadata,
    PersistentVolumeClaim,
    Quantity,
    Rule,
    conditions_field,
    exactly_one,
    one_of_rule,
    optional,
    refuse_repeated,
)
from fpj_core.v1alpha1.workertemplate import WorkerTemplate

_SOURCES = ("persistentVolumeClaim", "s3", "local")
_ONE_SOURCE = "exactly one of persistentVolumeClaim, s3 and local must be given"
_IMMUTABLE = (
    "is immutable: apply it under another name, or delete this job first; what it made stays,"
    " unless its deletionPolicy is Delete"
)
_SAME_COLLECTION = (
    "self.collection.source == oldSelf.collection.source && has(self.collection.id) =="
    " has(oldSelf.collection.id) && (!has(self.collection.id) || self.collection.id =="
    " oldSelf.collection.id)"
)
_NO_CACHE = "cache has no effect with jobType Thumbnail: use Both, or leave it out"
_NO_THUMBNAIL = "thumbnail has no effect with jobType Cache: use Both, or leave it out"
_NOT_NEGATIVE = "maxFailedImages may not be negative"
_LIMITS = ImageLimits()
_RESERVED = "the name 'thumbnail' is reserved for the thumbnail tier"
COLOUR_PATTERN = r"^#[0-9a-f]{6}$"
Pattern = Annotated[
    str, Field(min_length=1, max_length=MOST_PATTERN_LENGTH, json_schema_extra={"pattern": PATTERN})
]


class JobType(StrEnum):
    """What a job makes."""

    CACHE = "Cache"
    THUMBNAIL = "Thumbnail"
    BOTH = "Both"


class SkipCheck(StrEnum):
    """What makes an image count as done."""

    RECORD_AND_FILE = "RecordAndFile"
    RECORD = "Record"


class Vanished(StrEnum):
    """What becomes of what was made of images that are not in the source any more."""

    DELETE = "Delete"
    KEEP = "Keep"


class DeletionPolicy(StrEnum):
    """What becomes of the files that were made, when a job is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class Source(ApiModel):
    """Where the images are: exactly one place."""

    persistent_volume_claim: PersistentVolumeClaim | None = Field(
        None, description="A folder on a claimed volume."
    )
    s3: S3 | None = Field(None, description="A bucket of S3-compatible object storage.")
    local: Local | None = Field(None, description="A folder of this machine; only for `fpj run`.")

    rules: ClassVar[tuple[Rule, ...]] = (one_of_rule(_SOURCES, _ONE_SOURCE),)

    @model_validator(mode="after")
    def _one(self) -> Source:
        exactly_one(self, ("persistent_volume_claim", "s3", "local"), _ONE_SOURCE)
        return self


class Collection(ApiModel):
    """The set of images to process."""

    id: str | None = optional(
        "Id of the collection, which its outputs are filed under.",
        absent="metadata.name",
        min_length=1,
        max_length=253,
        pattern=NAME_PATTERN,
    )
    source: Source = Field(
        description="Where the images are. Archives (zip, cbz) in it count as folders."
    )
    include: list[Pattern] | None = optional(
        "Only images that match one of these patterns, which are those of .gitignore.",
        absent="all",
        max_length=MOST_PATTERNS,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    exclude: list[Pattern] | None = Field(
        None,
        description=(
            "No images, and nothing in folders, that match these patterns, which are those of"
            " .gitignore. They go before those of files .fpjignore in the source. What was made of"
            " such images before stays."
        ),
        max_length=MOST_PATTERNS,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    accept_vanished: bool | None = optional(
        "Take the source's word that it is empty, or lacks more than half of 100 or more known"
        " images: they count as deleted. Otherwise the job fails with SourceShrank.",
        default=False,
    )
    accept_source: bool | None = optional(
        "Go on although the collection's images are recorded as another source's: the same images"
        " at another place. Otherwise the job fails with SourceChanged.",
        default=False,
    )

    vanished: Vanished | None = optional(
        "What becomes of what was made of images that are not in the source any more. What was made"
        " of images that a filter leaves out stays.",
        default=Vanished.DELETE,
    )
    vanished_grace_seconds: int | None = optional(
        "Seconds after an image was first missing before what was made of it is deleted, at the end"
        " of a run.",
        default=0,
        ge=0,
        le=31_536_000,
    )

    @field_validator("include", "exclude")
    @classmethod
    def _patterns(cls, patterns: list[str] | None) -> list[str] | None:
        refuse_patterns(patterns or ())
        return patterns


class Tier(ApiModel):
    """One cache size."""

    name: str = Field(
        description="Name of the tier.", min_length=1, max_length=63, pattern=LABEL_PATTERN
    )
    max_width: int | None = optional("Largest width in pixels.", default=1920, ge=16, le=16384)
    max_height: int | None = optional("Largest height in pixels.", default=1080, ge=16, le=16384)
    quality: int | None = optional("Encoder quality.", default=85, ge=1, le=100)
    format: Format | None = optional("Output format.", default=Format.JPEG)
    fit: Fit | None = optional("How the image meets the box.", default=Fit.INSIDE)
    animated: bool | None = optional("Keep animations, for webp.", default=False)
    background: str | None = optional(
        "Colour that transparency is laid on for jpeg.",
        default="#ffffff",
        max_length=7,
        pattern=COLOUR_PATTERN,
    )

    rules: ClassVar[tuple[Rule, ...]] = (Rule(cel="self.name != 'thumbnail'", message=_RESERVED),)

    @model_validator(mode="after")
    def _not_reserved(self) -> Tier:
        if self.name == THUMBNAIL_TIER:
            raise ValueError(_RESERVED)
        return self


class Cache(ApiModel):
    """Cache images."""

    tiers: list[Tier] = Field(
        description="Sizes to make, 1 to 4.",
        min_length=1,
        max_length=4,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )

    @field_validator("tiers")
    @classmethod
    def _unique(cls, tiers: list[Tier]) -> list[Tier]:
        refuse_repeated(tiers, "name")
        return tiers


class Thumbnail(ApiModel):
    """The thumbnail."""

    width: int | None = optional("Width of the box in pixels.", default=300, ge=16, le=4096)
    height: int | None = optional("Height of the box in pixels.", default=300, ge=16, le=4096)
    quality: int | None = optional("Encoder quality.", default=80, ge=1, le=100)
    format: Format | None = optional("Output format.", default=Format.JPEG)
    fit: Fit | None = optional("How the image meets the box.", default=Fit.INSIDE)


USUAL_TIER = "full"
"""Name of the one tier of a job that names none."""
_USUAL_CACHE = (
    f"one tier '{USUAL_TIER}' of at most"
    f" {Tier.default_of('max_width')}x{Tier.default_of('max_height')}, quality"
    f" {Tier.default_of('quality')}, {Tier.default_of('format')}"
)
_USUAL_THUMBNAIL = (
    f"{Thumbnail.default_of('width')}x{Thumbnail.default_of('height')}, quality"
    f" {Thumbnail.default_of('quality')}, {Thumbnail.default_of('format')},"
    f" {Thumbnail.default_of('fit')}"
)


class Sharding(ApiModel):
    """How the work is divided."""

    parallelism: int | None = optional("Pods at a time.", default=4, ge=1, le=1000)
    shard_size: int | None = optional(
        "Images per shard.", absent="chosen from the total", ge=1, le=100000
    )
    batch_size: int | None = optional("Results per store flush.", default=100, ge=1, le=10000)
    workers_per_pod: int | None = optional("Worker processes per pod.", default=4, ge=1, le=64)
    backoff_limit_per_shard: int | None = optional(
        "Restarts of one shard before it counts as failed.", default=3, ge=0, le=100
    )
    max_failed_shards: int | None = optional(
        "Failed shards before the job is given up.", absent="all may fail", ge=0, le=100000
    )


class Limits(ApiModel):
    """What one image may cost."""

    max_file_size: Quantity | None = optional(
        "Largest source file.", default=f"{_LIMITS.max_file_size // 2**20}Mi"
    )
    max_pixels: int | None = optional(
        "Largest width x height.", default=_LIMITS.max_pixels, ge=1, le=4_000_000_000
    )
    image_timeout_seconds: int | None = optional(
        "Time for one image.", default=int(_LIMITS.timeout_seconds), ge=1, le=3600
    )
    fetch_timeout_seconds: int | None = optional(
        "Time for one image's bytes to come from where it is, and its files to go where they are"
        " kept, beside imageTimeoutSeconds.",
        default=int(_LIMITS.fetch_timeout_seconds),
        ge=1,
        le=86_400,
    )
    max_attempts_per_image: int | None = optional(
        "Attempts at an image whose failure may pass.", default=_LIMITS.max_attempts, ge=1, le=10
    )


class Recovery(ApiModel):
    """When a job counts as stale, and how often it is recovered."""

    stale_after_seconds: int | None = optional(
        "Seconds without progress until the job is recovered.", default=600, ge=30, le=86400
    )
    max_attempts: int | None = optional("Recoveries before the job fails.", default=3, ge=0, le=100)


class FileProcessingJobSpec(ApiModel):
    """What to make of which images."""

    job_type: JobType = Field(
        description="What to make: cache images, a thumbnail, or both. Immutable."
    )
    collection: Collection = Field(description="The images. Its id and source are immutable.")
    cache: Cache | None = optional("Cache images.", absent=_USUAL_CACHE)
    thumbnail: Thumbnail | None = optional("The thumbnail.", absent=_USUAL_THUMBNAIL)
    cache_folder: str | None = optional(
        "Name of the CacheFolder to write to.",
        absent="chosen by room, priority and use",
        max_length=253,
        pattern=NAME_PATTERN,
    )
    sharding: Sharding | None = Field(None, description="How the work is divided.")
    limits: Limits | None = Field(None, description="What one image may cost.")
    recovery: Recovery | None = Field(
        None, description="When a job counts as stale, and how often it is recovered."
    )
    active_deadline_seconds: int | None = optional(
        "Seconds from the start until the job fails.", absent="no limit", ge=1, le=31_536_000
    )
    pre_running_deadline_seconds: int | None = optional(
        "Seconds that a job may wait, once it has started, for pods that cannot run (a queue, a"
        " quota, scheduling, an image, a volume) before it fails; 0 for no limit.",
        default=3600,
        ge=0,
        le=31_536_000,
    )
    ttl_seconds_after_finished: int | None = optional(
        "Seconds until a finished job is deleted.", absent="never", ge=0, le=31_536_000
    )
    deletion_policy: DeletionPolicy | None = optional(
        "Only in a cluster. What becomes of the files that were made of the collection when this"
        " job is deleted, also by ttlSecondsAfterFinished: Retain keeps them; Delete removes those"
        " of all tiers that no other job or schedule of the collection asks for, and the deletion"
        " waits for that. While the schedule that made a job exists, the job removes nothing.",
        default=DeletionPolicy.RETAIN,
    )
    max_failed_images: (
        int | Annotated[str, Field(max_length=5, pattern=r"^(100|[0-9]{1,2})%$")] | None
    ) = optional(
        "Failed images, as a number or a percentage, above which the job is given up.",
        absent="no limit",
    )
    suspend: bool | None = optional("Do not start, or stop, working.", default=False)
    priority: int | None = optional(
        "Jobs of higher priority start first.", default=0, ge=-1_000_000, le=1_000_000
    )
    skip_check: SkipCheck | None = optional(
        "What makes an image count as done: its record and its file, or its record alone, where"
        " looking at files is slow.",
        default=SkipCheck.RECORD_AND_FILE,
    )
    queue_name: str | None = Field(
        None,
        description="Kueue's LocalQueue for the child Jobs.",
        max_length=63,
        pattern=LABEL_PATTERN,
    )
    force: bool | None = optional("Make everything again.", default=False)
    worker_template: WorkerTemplate | None = Field(
        None, description="Changes to the pods that work on this job."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(cel="self.jobType == oldSelf.jobType", message=f"jobType {_IMMUTABLE}"),
        Rule(cel=_SAME_COLLECTION, message=f"collection {_IMMUTABLE}"),
        Rule(
            cel="!has(self.cache) || self.jobType != 'Thumbnail'",
            message=_NO_CACHE,
        ),
        Rule(
            cel="!has(self.thumbnail) || self.jobType != 'Cache'",
            message=_NO_THUMBNAIL,
        ),
        Rule(
            cel=(
                "!has(self.maxFailedImages) || type(self.maxFailedImages) != int ||"
                " self.maxFailedImages >= 0"
            ),
            message=_NOT_NEGATIVE,
        ),
    )

    @model_validator(mode="after")
    def _consistent(self) -> FileProcessingJobSpec:
        if self.cache and self.job_type is JobType.THUMBNAIL:
            raise ValueError(_NO_CACHE)
        if self.thumbnail and self.job_type is JobType.CACHE:
            raise ValueError(_NO_THUMBNAIL)
        if isinstance(self.max_failed_images, int) and self.max_failed_images < 0:
            raise ValueError(_NOT_NEGATIVE)
        return self


class Progress(ApiModel):
    """How far the job is, in images."""

    total: int | None = Field(None, description="Images in the collection.", ge=0)
    completed: int | None = Field(None, description="Images made by this job.", ge=0)
    skipped: int | None = Field(None, description="Images that were up to date.", ge=0)
    failed: int | None = Field(None, description="Images that failed.", ge=0)
    percent: int | None = Field(None, description="Share that is done, 0 to 100.", ge=0, le=100)
    images_per_second: float | None = Field(None, description="Images worked on per second.", ge=0)
    eta_seconds: int | None = Field(None, description="Seconds left at this rate.", ge=0)
    bytes_written: int | None = Field(None, description="Bytes of derivatives written.", ge=0)
    average_processing_ms: float | None = Field(
        None, description="Milliseconds per image worked on.", ge=0
    )


class ShardStatus(ApiModel):
    """How many shards stand where."""

    total: int | None = Field(None, description="Shards of the job.", ge=0)
    active: int | None = Field(None, description="Shards being worked on.", ge=0)
    succeeded: int | None = Field(None, description="Shards done.", ge=0)
    failed: int | None = Field(None, description="Shards given up.", ge=0)


class Display(ApiModel):
    """Progress as `kubectl get` prints it: its columns can show a field, but not compute one."""

    progress: str | None = Field(None, description="Such as 73%.", max_length=16)
    done: str | None = Field(None, description="Such as 730/1000.", max_length=32)
    rate: str | None = Field(None, description="Such as 41.3/s.", max_length=32)
    eta: str | None = Field(None, description="Such as 2m10s.", max_length=32)


class Attempt(ApiModel):
    """One go at the job: lock, index, plan, run.

    Resuming, recovering and another spec begin another.
    """

    number: int | None = Field(None, description="Counts from 1.", ge=0)
    started_at: str | None = Field(
        None, description="When it began.", max_length=64, json_schema_extra={"format": "date-time"}
    )
    resumed_by: str | None = Field(
        None,
        description=(
            "Value of the annotation fpj.dev/resume that it answers, or sha256: and the digest of a"
            " long one."
        ),
        max_length=1024,
    )
    cache_folder: str | None = Field(
        None, description="CacheFolder that it writes to.", max_length=253
    )
    fence: int | None = Field(
        None, description="The lease's leaseTransitions that its writes name.", ge=0
    )
    spec_digest: str | None = Field(
        None,
        description="Digest of the spec that it is made by; another one starts another attempt.",
        max_length=64,
    )
    store_id: str | None = Field(
        None,
        description="Identity of the store that it is recorded in; only that one can complete it.",
        max_length=64,
    )
    planned_shards: int | None = Field(
        None,
        description="Shards that were planned; all of them must succeed.",
        ge=0,
        le=1_000_000_000,
    )
    planned_images: int | None = Field(
        None,
        description="Images that were planned; all of them must be accounted for.",
        ge=0,
        le=1_000_000_000_000,
    )


class FileProcessingJobStatus(ApiModel):
    """What the operator and the workers report. 8 KB at most, whatever the number of images."""

    observed_generation: int | None = Field(
        None,
        description="Generation of the spec last acted on; -1 before the first reconciliation.",
        ge=-1,
    )
    phase: Phase | None = Field(None, description="Where the job stands.")
    stage: str | None = Field(
        None,
        description="What is being done: Index, Check, Plan, Process or Finish.",
        max_length=64,
    )
    conditions: list[Condition] | None = conditions_field()
    progress: Progress | None = Field(None, description="How far the job is.")
    display: Display | None = Field(None, description="Progress as kubectl prints it.")
    last_progress_at: str | None = Field(
        None,
        description="When progress was last made.",
        max_length=64,
        json_schema_extra={"format": "date-time"},
    )
    error_breakdown: dict[str, int] | None = Field(
        None,
        description="Failed images by error type.",
        max_length=32,
        # Operator and workers each state it as a whole: what one leaves out must not stay because
        # another said it.
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )
    left_out: dict[str, int] | None = Field(
        None,
        description=(
            "By reason, files and folders of the source that are not part of the collection:"
            " excluded, excludedFolder, raw, photoshop, video, outwardLink."
        ),
        max_length=32,
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )
    shards: ShardStatus | None = Field(None, description="How many shards stand where.")
    attempt: Attempt | None = Field(None, description="The current or latest go at the job.")
    recovery_attempts: int | None = Field(None, description="Times the job was recovered.", ge=0)
    start_time: str | None = Field(
        None,
        description="When work began.",
        max_length=64,
        json_schema_extra={"format": "date-time"},
    )
    completion_time: str | None = Field(
        None,
        description="When the job ended.",
        max_length=64,
        json_schema_extra={"format": "date-time"},
    )


class FileProcessingJob(ApiModel):
    """Makes cache images and thumbnails of a collection of images."""

    api_version: Literal["fpj.dev/v1alpha1"] = Field("fpj.dev/v1alpha1", description="API version.")
    kind: Literal["FileProcessingJob"] = Field("FileProcessingJob", description="Kind.")
    metadata: Metadata = Field(description="Standard object metadata.")
    spec: FileProcessingJobSpec = Field(description="What to make of which images.")
    status: FileProcessingJobStatus | None = Field(
        None, description="What has become of it so far."
    )

    plural: ClassVar[str] = "fileprocessingjobs"
    short_names: ClassVar[tuple[str, ...]] = ("fpj",)
    awaited: ClassVar[bool] = True
    """Whether whoever applies one has to wait for the operator."""
    columns: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Type", "type": "string", "jsonPath": ".spec.jobType"},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Progress", "type": "string", "jsonPath": ".status.display.progress"},
        {"name": "Done", "type": "string", "jsonPath": ".status.display.done"},
        {"name": "Failed", "type": "integer", "jsonPath": ".status.progress.failed"},
        {"name": "Rate", "type": "string", "jsonPath": ".status.display.rate"},
        {"name": "ETA", "type": "string", "jsonPath": ".status.display.eta"},
        {
            "name": "Skipped",
            "type": "integer",
            "jsonPath": ".status.progress.skipped",
            "priority": 1,
        },
        {"name": "Shards", "type": "integer", "jsonPath": ".status.shards.total", "priority": 1},
        {
            "name": "Last-Progress",
            "type": "date",
            "jsonPath": ".status.lastProgressAt",
            "priority": 1,
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )

    @property
    def collection_id(self) -> str:
        """The collection's id: its own, or the resource's name."""
        return self.spec.collection.id or self.metadata.name
