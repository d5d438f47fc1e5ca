"""What commands print as JSON: the one source of the published schemas (`fpj schema`,
docs/reference/schemas).

One style: camelCase names, times as RFC 3339, sizes in bytes. Fields may be added, none is renamed
or dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from fpj_core.errors import ErrorType
from fpj_core.folders.comparing import Kind
from fpj_core.kube.jobresource import STALE
from fpj_core.model import Layout, Phase, RemovalReason
from fpj_core.sources.filters import Reason
from fpj_core.v1alpha1 import JobType
from fpj_worker.preview import Why

Time = Annotated[
    str,
    Field(json_schema_extra={"format": "date-time"}, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"),
]
Number = Annotated[int, Field(ge=0)]


class Document(BaseModel):
    """Base of all: camelCase names, and nothing that is not described here."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )


class Progress(Document):
    """How far a job is, over all its runs, in images."""

    total: Number
    completed: Number = Field(description="Made by this job.")
    skipped: Number = Field(description="Up to date when it began.")
    failed: Number
    percent: int = Field(ge=0, le=100)
    images_per_second: float = Field(ge=0)
    eta_seconds: Number | None = Field(description="null while no rate is known.")
    bytes_written: Number
    average_processing_ms: float = Field(ge=0)


class ThisRun(Document):
    """What this run did, in images: what earlier runs of the job made counts as skipped."""

    completed: Number
    skipped: Number
    failed: Number
    bytes_written: Number


class Removed(Document):
    """Files that a run removed from the cache folder."""

    files: Number
    bytes: Number
    by_reason: dict[RemovalReason, Number]


class Run(Document):
    """`fpj run --json`, `fpj resume --json`: how the run ended."""

    job_id: str
    name: str
    collection: str
    cache_folder: str = Field(description="Where the files are: an absolute path, or s3://….")
    phase: Phase
    reason: str
    message: str
    progress: Progress
    this_run: ThisRun
    error_breakdown: dict[ErrorType, Number]
    left_out: dict[Reason, Number]
    removed: Removed = Field(description="What the collection no longer needed.")
    duration_seconds: float = Field(ge=0)
    exit_code: Number


class DryRun(Document):
    """`fpj run --dry-run --json`: what a run would do, in images."""

    collection: str
    total: Number
    pending: Number = Field(description="Would be made.")
    reasons: dict[Why, Number]
    problems: Number = Field(description="Could not be listed.")
    left_out: dict[Reason, Number]
    need_bytes: Number = Field(description="About what the files would take.")
    removed: Removed = Field(
        description="What would be removed, but for what the run would replace."
    )


class Job(Document):
    """A job, as `fpj get -o json` lists it."""

    job_id: str
    name: str
    namespace: str | None = Field(None, description="Of a job in a cluster.")
    collection: str
    job_type: JobType | None
    phase: str = Field(
        description="Also Stale: nothing works on it.", json_schema_extra={"enum": [*Phase, STALE]}
    )
    stage: str
    reason: str
    message: str
    progress: Progress
    start_time: Time | None
    completion_time: Time | None


class Shards(Document):
    """How many shards stand where."""

    total: Number
    active: Number
    succeeded: Number
    failed: Number


class Event(Document):
    """A Kubernetes event of a job."""

    at: Time
    type: str
    reason: str
    message: str
    count: Number


class DescribedJob(Job):
    """`fpj describe -o json`."""

    error_breakdown: dict[str, Number]
    left_out: dict[str, Number]
    shards: Shards
    conditions: list[dict[str, Any]] = Field(description="As in the resource's status.")
    events: list[Event]
    manifest: dict[str, Any] = Field(description="A FileProcessingJob that makes the same.")


class Failure(Document):
    """A failed image, as `fpj failures -o json` lists it."""

    job: str = Field(description="The job's id.")
    collection: str
    ordinal: Number
    image: str = Field(description="The image's id.")
    key: str = Field(description="Its name in the source.")
    error_type: ErrorType
    message: str
    attempts: Number
    at: Time


class Output(Document):
    """A file that was made, as `fpj outputs -o json` lists it."""

    key: str = Field(description="The image's name in the source.")
    tier: str
    width: Number
    height: Number
    bytes: Number
    path: str = Field(description="The file, with its cache folder.")


class TierFile(Document):
    """The file of one tier."""

    folder: str
    path: str = Field(description="Relative to the folder.")
    width: Number
    height: Number
    bytes: Number


class Image(Document):
    """An image with its files: a line of `fpj export`, an item of `fpj find -o json`."""

    source: str = Field(description="Its name in the source.")
    id: str
    bytes: Number
    width: Number | None = Field(
        description="null until it has been decoded, like the fields below."
    )
    height: Number | None
    format: str | None
    thumb_hash: str | None = Field(description="base64")
    color: str | None = Field(pattern=r"^#[0-9a-f]{6}$")
    captured_at: str | None = Field(
        description="When it was taken, as RFC 3339; without an offset if none is known."
    )
    tiers: dict[str, TierFile]
    srcset: str


class Sum(Document):
    """Files and their bytes."""

    files: Number
    bytes: Number


class CollectionTotals(Document):
    """A collection in `fpj stats`."""

    collection: str
    images: Number
    source_bytes: Number
    tiers: dict[str, Sum]


class FolderTotals(Document):
    """A cache folder in `fpj stats`."""

    name: str
    location: str
    layout: Layout
    priority: int
    max_bytes: Number | None
    files: Number
    bytes: Number
    collections: Number


class Stats(Document):
    """`fpj stats -o json`."""

    collections: list[CollectionTotals]
    folders: list[FolderTotals]


class Drift(Document):
    """A total that is wrong."""

    collection: str
    folder: str
    tier: str
    recorded: Sum
    counted: Sum


class Verified(Document):
    """`fpj stats --verify -o json`, `fpj stats --repair -o json`."""

    drifts: list[Drift]
    busy: list[str] = Field(description="Collections that changed while they were counted.")
    repaired: bool


class Setting(Document):
    """A default in `fpj config`."""

    key: str
    variable: str
    value: str
    origin: str = Field(alias="from")


class Config(Document):
    """`fpj config -o json`."""

    file: str
    settings: list[Setting]


class Problem(Document):
    """What went wrong."""

    exit_code: Number
    type: str
    message: str


class Purged(Document):
    """`fpj purge --json`: a file that was removed."""

    collection: str
    source: str = Field(description="The image that it was made of.")
    tier: str
    path: str
    bytes: Number


class Differences(Document):
    """What differs in one way."""

    files: Number
    bytes: Number
    repaired: Number
    names: list[str] = Field(description="Some of them, relative to the folder.")


class Verification(Document):
    """`fpj verify --json`: one cache folder."""

    folder: str
    location: str
    marker: str | None = Field(
        description="What is wrong with its marker: then nothing was compared. null if nothing is."
    )
    compared: Number = Field(description="Files that are as recorded.")
    differences: dict[Kind, Differences]
    young: Number = Field(
        description="Files that are not recorded, and stay: they are less than an hour old."
    )
    busy: list[str] = Field(
        description="Collections that a run worked on; nothing was repaired there."
    )
    troubles: list[str] = Field(description="What came in the way.")
    repaired: bool


class TierHeld(Document):
    """What a collection had in one cache folder and tier."""

    folder: str
    location: str
    tier: str
    files: Number
    bytes: Number


class ForgottenCollection(Document):
    """`fpj forget --json`."""

    collection: str
    dry_run: bool
    files: Number = Field(description="That were removed; in a dry run, that would be.")
    bytes: Number
    held: list[TierHeld] = Field(description="What there was before.")
    images: Number
    jobs: Number
    unrecorded: Number = Field(
        description="Files without a record that stay: they are less than an hour old."
    )
    troubles: list[str] = Field(
        description="Why files could not be removed; then the records are there yet."
    )


class Generated(Document):
    """What became of one collection."""

    namespace: str | None = Field(None, description="In a cluster.")
    collection: str
    job: str = Field(description="Name of its new job.")
    state: Literal["Planned", "Created", "Exists", "NotCreated"]
    problem: str | None = Field(description="Why it was not created.")
    exit_code: int | None = Field(None, description="On this machine: of its run.")
    copied_from: list[str] = Field(description="Jobs and schedules; the first says the source.")
    usual: list[Literal["cache", "thumbnail"]] = Field(
        description="Sections with the usual settings: no job says others."
    )


class Generation(Document):
    """`fpj generate --json`."""

    id: str | None = Field(description="Of the operation, in a cluster: the label fpj.dev/bulk.")
    job_type: JobType
    dry_run: bool
    results: list[Generated]


class Planned(Document):
    """Files that would go."""

    collection: str
    tier: str
    reason: RemovalReason
    files: Number
    bytes: Number


class Exceeded(Document):
    """A limit that is exceeded even then."""

    limit: RemovalReason
    name: str = Field(description="Of the collection or tier; empty for the folder's limit.")
    bytes: Number
    kept: dict[str, Number] = Field(description="Bytes that stay, by cause.")


class Cleaned(Document):
    """One cache folder."""

    folder: str
    location: str
    used_bytes: Number
    max_bytes: Number | None
    planned: list[Planned] = Field(description="Only with --dry-run.")
    removed: Removed | None = Field(description="Null with --dry-run, or where nothing could go.")
    exceeded: list[Exceeded]
    troubles: list[str] = Field(description="Files that could not be removed, and why.")


class Cleanup(Document):
    """`fpj cleanup --json`."""

    dry_run: bool
    folders: list[Cleaned]


class Error(Document):
    """What any command prints in place of its answer when it fails and was asked for JSON."""

    error: Problem


SCHEMAS: Mapping[str, Any] = {
    "run": Run,
    "dry-run": DryRun,
    "get": list[Job],
    "describe": DescribedJob,
    "failures": list[Failure],
    "outputs": list[Output],
    "find": list[Image],
    "export": Image,
    "purge": list[Purged],
    "forget": ForgottenCollection,
    "verify": list[Verification],
    "generate": Generation,
    "cleanup": Cleanup,
    "stats": Stats,
    "stats-verify": Verified,
    "config": Config,
    "error": Error,
}
"""By name; `export` is one line's."""


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a document.

    Fields may be added: those that it does not name are allowed.
    """
    found = TypeAdapter(SCHEMAS[name]).json_schema(by_alias=True)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"fpj {name}"}
    return head | {key: value for key, value in _open(found).items() if key != "title"}


def _open(found: Any) -> Any:
    """Without what forbids further fields, and without pydantic's titles,
    which only repeat names.
    """
    if isinstance(found, dict):
        # A field may be named "title": that is an object.
        dropped = {("additionalProperties", bool), ("title", str)}
        return {
            key: _open(value) for key, value in found.items() if (key, type(value)) not in dropped
        }
    return [_open(each) for each in found] if isinstance(found, list) else found
