"""Names, labels and annotations of everything the operator makes. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

GROUP, VERSION = "fpj.dev", "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
JOBS, FOLDERS, SCHEDULES = "fileprocessingjobs", "cachefolders", "fileprocessingschedules"
PURGES = "cachepurges"
"""The resources, as paths and rights name them."""
SYSTEM_NAMESPACE = "fpj-system"
"""Where the operator runs unless it is installed elsewhere."""
MANAGER = "fpj-operator"
FINALIZER = f"{GROUP}/stop-work"
"""Of earlier versions: it is only taken off."""
FILES_FINALIZER = f"{GROUP}/delete-files"
"""Of a job whose ``deletionPolicy`` is Delete: it goes once the files are gone."""
FINALIZERS = frozenset({FINALIZER, FILES_FINALIZER})
KEEP_FILES_ANNOTATION = f"{GROUP}/keep-files"
"""With any value but "false", a deleted job leaves its files where they are."""

RESUME_ANNOTATION = f"{GROUP}/resume"
CLEANUP_ANNOTATION = f"{GROUP}/cleanup-requested-at"
"""On a CacheFolder: a new value asks for what its policy says to be removed now."""
VERIFY_ANNOTATION = f"{GROUP}/verify-requested-at"
"""On a CacheFolder: a new value asks for its files to be compared with what is recorded."""
REPAIR_ANNOTATION = f"{GROUP}/repair-requested-at"
"""On a CacheFolder: a new value asks for the same, and for what differs to be repaired."""
CHANGED_BY_ANNOTATION = f"{GROUP}/changed-by"
"""Who asked the API for the latest change."""
LABEL_UID = f"{GROUP}/job-uid"
LABEL_JOB = f"{GROUP}/job"
LABEL_ROLE = f"{GROUP}/role"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_WAVE = f"{GROUP}/wave"
LABEL_LOCK = f"{GROUP}/lock"
"""The Lease of the collection that a child works on."""
LABEL_SCHEDULE = f"{GROUP}/schedule"
LABEL_SCHEDULE_UID = f"{GROUP}/schedule-uid"
SCHEDULED_AT_ANNOTATION = f"{GROUP}/scheduled-at"
LABEL_BULK = f"{GROUP}/bulk"
"""The bulk operation that made a job."""
BULK_SIZE_ANNOTATION = f"{GROUP}/bulk-size"
"""How many jobs its bulk operation was to make."""
BULK_REQUEST_ANNOTATION = f"{GROUP}/bulk-request"
"""Digest of what the bulk operation was asked for."""
REQUESTER_ANNOTATION = f"{GROUP}/requester"
"""In whose name a job asks for its tiers, where that is not its own."""
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
MANAGED_BY = {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/part-of": "fpj"}

EVICTION_LEASE = "cache-evict-"
"""What the names of leases begin with that those hold who evict from a folder."""

ROLE_INDEX, ROLE_SHARDS, ROLE_REMOVAL, ROLE_EVICT = "index", "shards", "removal", "evict"
ROLE_PURGE = "purge"

WAVE = 1_000
"""Completions of one Indexed Job: thousands of finished pods of one Job burden a kubelet.

More shards go in waves.
"""

_MOST_MARK = 1_024
"""Characters of `status.attempt.resumedBy`, by its schema."""
_MOST_NAME = 253
_MOST_BASE = 40
UID_LENGTH = 8
"""Characters of a job's uid that the names of its children have."""
_WAVE_SUFFIX = re.compile(r"-w(\d+)$")
_NOT_LABEL = re.compile(r"[^A-Za-z0-9_.-]")


def base_name(name: str, uid: str) -> str:
    """What the names of a job's children begin with.

    With their suffixes they stay below 63 characters.
    """
    return f"{name[:_MOST_BASE].rstrip('-.').replace('.', '-')}-{uid[:UID_LENGTH]}"


def index_job_name(base: str, attempt: int) -> str:
    """The one-pod Job that lists the source and plans."""
    return f"{base}-a{attempt}-index"


def shards_job_name(base: str, attempt: int, wave: int) -> str:
    """The Indexed Job of a wave of shards."""
    return f"{base}-a{attempt}-w{wave}"


def folder_job_name(base: str, operation: str, number: int) -> str:
    """The one-pod Job that checks a cache folder, and evicts, verifies or repairs."""
    return f"{base}-{operation.lower()}-{number}"


def purge_job_name(base: str) -> str:
    """The one-pod Job of a CachePurge."""
    return f"{base}-purge"


def images_variable(part: int) -> str:
    """The variable of a purge's pod that has some of the images' keys: a kernel takes 128 KiB at
    most in one.
    """
    return f"FPJ_IMAGES_{part}"


def removal_job_name(base: str, fence: int, folder: str) -> str:
    """The Job that removes files from a cache folder, under a fence of the collection's lease."""
    return f"{base}-d{fence}-{hashlib.blake2b(folder.encode(), digest_size=3).hexdigest()}"


def keeps_files(metadata: Mapping[str, Any]) -> bool:
    """Whether the files that a resource was made for are to stay when it is deleted."""
    value = (metadata.get("annotations") or {}).get(KEEP_FILES_ANNOTATION)
    return value is not None and value != "false"


def wave_of(job_name: str) -> int:
    """Which wave a Job of that name runs, see `shards_job_name`; 0 for any other Job."""
    found = _WAVE_SUFFIX.search(job_name)
    return int(found[1]) if found else 0


def store_collection(namespace: str, collection: str) -> str:
    """A collection's id in the store: two teams may use the same id.

    A valid path component (see `fpj_core.paths`).
    """
    name = f"{namespace}.{collection}"
    if len(name) <= _MOST_NAME:
        return name
    return f"{name[: _MOST_NAME - 17]}-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}"


def labels(name: str, uid: str, role: str, attempt: int) -> dict[str, str]:
    """The labels of a child."""
    return MANAGED_BY | {
        LABEL_UID: uid,
        LABEL_JOB: _label(name),
        LABEL_ROLE: role,
        LABEL_ATTEMPT: str(attempt),
    }


def scheduled_job_name(schedule: str, due: float) -> str:
    """The job of a schedule's run: by the minute it was due, so that no run is started twice."""
    return f"{schedule}-{int(due) // 60}"


def schedule_labels(schedule: str, uid: str) -> dict[str, str]:
    """The labels of a schedule's jobs."""
    return MANAGED_BY | {LABEL_SCHEDULE: _label(schedule), LABEL_SCHEDULE_UID: uid}


def requester_of(metadata: Mapping[str, Any]) -> str:
    """In whose name a job asks for its tiers: its schedule's, that of the job that it was copied
    from, or its own.

    What one asked for before and no longer asks for is removed, so that each needs a name that
    stays.
    """
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    said = str(annotations.get(REQUESTER_ANNOTATION) or "")[:_MOST_NAME]
    return str(labels.get(LABEL_SCHEDULE) or said or metadata["name"])


def resume_mark(metadata: Mapping[str, Any]) -> str:
    """What is kept, and compared, of a resource's resume annotation; empty without one."""
    return mark_of(metadata, RESUME_ANNOTATION)


def mark_of(metadata: Mapping[str, Any], annotation: str) -> str:
    """What is kept, and compared, of an annotation; empty without one.

    Long values become a digest.

    An annotation may have 256 KiB. Repeated in the status it would break the schema, and no status
    could be written.
    """
    value = str((metadata.get("annotations") or {}).get(annotation) or "")
    return (
        value
        if len(value) <= _MOST_MARK
        else f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    )


def _label(name: str) -> str:
    """A name as a label may have it; for people, for it may be cut."""
    return _NOT_LABEL.sub("-", name)[:63].strip("-_.")


def eviction_lease_name(folder: str) -> str:
    """The name of the lease of whoever evicts from a cache folder."""
    return EVICTION_LEASE + hashlib.blake2b(folder.encode(), digest_size=10).hexdigest()


def lease_name(collection: str) -> str:
    """The name of the lease that locks a collection; a valid Kubernetes object name."""
    return "cache-gen-" + hashlib.blake2b(collection.encode(), digest_size=10).hexdigest()
