"""What a job on one machine is: made from its resource, or found unfinished in the store."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fpj_core.folders.base import FolderConfig
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.ids import new_job_id
from fpj_core.kube.records import used_for
from fpj_core.model import Folder, ImageLimits, Job, TierSpec, tier_digests
from fpj_core.sources.base import SourceConfig
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import (
    FileProcessingJob,
    SkipCheck,
    resolve_limits,
    resolve_max_failed,
    resolve_sharding,
    resolve_tiers,
    resolve_vanished,
)
from fpj_worker.places import Place, source_config, source_identity
from fpj_worker.resources import usable_cores

WAIT_SECONDS = 600.0
"""For so long a source or cache folder that does not work is waited for,
if nobody says otherwise.
"""


@dataclass(frozen=True, slots=True)
class LocalJob:
    """A job with every default resolved, ready to run on this machine."""

    job: Job
    source: SourceConfig
    tiers: tuple[TierSpec, ...]
    limits: ImageLimits
    folder: FolderConfig
    folder_record: Folder
    workers: int
    batch_size: int
    identity: str
    """Of the source: see `fpj_worker.places.source_identity`."""
    shard_size: Callable[[int], int]
    """From the collection's number of images to images per shard."""
    max_failed: Callable[[int], int | None] = lambda _total: None
    """From the number of images to how many may fail before the job is given up."""
    deadline_seconds: float | None = None
    wait_seconds: float = WAIT_SECONDS
    """How long to wait for a source or cache folder that has stopped working."""
    check_files: bool = True
    force: bool = False
    accept_vanished: bool = False
    accept_source: bool = False
    vanished_grace: float | None = 0.0
    """Seconds from when an image vanished until what was made of it is removed; None keeps it."""


def local_job(
    resource: FileProcessingJob,
    place: Place,
    *,
    workers: int | None,
    claim_root: Path | None = None,
) -> LocalJob:
    """Resolve a resource.

    ``claim_root`` is where a PersistentVolumeClaim's volume is found on this machine.

    Raises `ManifestError` for what only a cluster can do.
    """
    spec = resource.spec
    manifest = resource.model_dump(mode="json", by_alias=True, exclude_none=True)
    source = source_config(resource, claim_root)
    tiers = resolve_tiers(spec)
    job = Job(
        id=new_job_id(),
        name=resource.metadata.name,
        collection=resource.collection_id,
        manifest=manifest,
        digest=_digest(
            [spec.job_type, repr(source), _where(place), tier_digests(tiers), *_chosen(source)]
        ),
        created_at=time.time(),
    )
    return LocalJob(
        job=job,
        source=source,
        tiers=tiers,
        limits=resolve_limits(spec),
        folder=place.config,
        folder_record=used_for(place.record, job.collection),
        workers=workers or usable_cores(),
        batch_size=resolve_sharding(spec, 0).batch_size,
        identity=source_identity(resource, source),
        shard_size=lambda pending: resolve_sharding(spec, pending).shard_size,
        max_failed=lambda total: resolve_max_failed(spec, total),
        deadline_seconds=spec.active_deadline_seconds,
        check_files=spec.skip_check is not SkipCheck.RECORD,
        force=bool(spec.force),
        accept_vanished=bool(spec.collection.accept_vanished),
        accept_source=bool(spec.collection.accept_source),
        vanished_grace=resolve_vanished(spec.collection),
    )


def unfinished_job(store: Store, wanted: Job) -> Job | None:
    """The collection's newest job, if it has the same settings and did not reach its end:
    this run goes on with it.

    One that is to make everything again goes on with its like alone: another counts as done what it
    made before.
    """
    newest = store.jobs(collection=wanted.collection, limit=1)
    if not newest or newest[0].digest != wanted.digest or newest[0].phase.finished:
        return None
    return newest[0] if _forced(newest[0]) or not _forced(wanted) else None


def _chosen(source: SourceConfig) -> list[object]:
    """The filter, as far as there is one: earlier versions had none."""
    return [asdict(source.filter)] if source.filter else []


def _forced(job: Job) -> bool:
    spec = job.manifest.get("spec")
    return isinstance(spec, dict) and bool(spec.get("force"))


def _where(place: Place) -> str:
    """The folder's location; buckets of one name are told apart by their services."""
    endpoint = place.config.bucket.endpoint if isinstance(place.config, S3FolderConfig) else None
    return f"{place.record.location} at {endpoint}" if endpoint else place.record.location


def _digest(settings: list[object]) -> str:
    return hashlib.blake2b(
        json.dumps(settings, sort_keys=True).encode(), digest_size=16
    ).hexdigest()
