"""What becomes of the files of a job that is being deleted. Pure.

A job with ``deletionPolicy: Delete`` has a finalizer (`names.FILES_FINALIZER`): its deletion waits
until the files are gone that were made of its collection. Those stay that somebody else asks for:
the tiers of other jobs of the collection, and of schedules. The last one removes everything.

A removal needs evidence at each step: whoever else exists is read from the API server, what is left
from the store. What cannot be read is waited for, and removes nothing. The way out is to have the
files stay, by the policy or by an annotation: then the job goes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fpj_core.errors import ManifestError
from fpj_core.formatting import moment
from fpj_core.kube import names
from fpj_core.kube.documents import Document
from fpj_core.kube.names import API_VERSION
from fpj_core.manifest import read_resource
from fpj_core.model import RemovalReason
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import (
    DeletionPolicy,
    FileProcessingJob,
    FileProcessingSchedule,
    resolve_tiers,
)
from fpj_operator.conditionlist import condition, restated

FILES_REMOVED = "FilesRemoved"
"""Type of the condition that says how far the removal is."""


@dataclass(frozen=True, slots=True)
class Left:
    """What of a collection is still to be removed, by the store."""

    tiers: tuple[str, ...] = ()
    """That have files, and that nobody else asks for."""
    folders: tuple[str, ...] = ()
    """Names in the store of cache folders with files whose removal has started."""

    def __bool__(self) -> bool:
        return bool(self.tiers or self.folders)


class OtherNotUnderstoodError(Exception):
    """Another job or schedule of the collection is not understood: what it asks for is unknown."""


def is_doomed(document: Mapping[str, Any]) -> bool:
    """Whether a job's deletion waits for its files."""
    metadata = document["metadata"]
    finalizers = metadata.get("finalizers") or ()
    return "deletionTimestamp" in metadata and names.FILES_FINALIZER in finalizers


def why_files_stay(job: Document, schedules: Iterable[Document]) -> str:
    """Why the files of a job that is being deleted are not removed; empty where they are."""
    metadata, spec = job["metadata"], job.get("spec") or {}
    if spec.get("deletionPolicy") != DeletionPolicy.DELETE.value:
        return "spec.deletionPolicy is Retain"
    if names.keeps_files(metadata):
        return f"the annotation {names.KEEP_FILES_ANNOTATION} says so"
    if not ((job.get("status") or {}).get("attempt") or {}).get("number"):
        return "the job never began"
    schedule = (metadata.get("labels") or {}).get(names.LABEL_SCHEDULE_UID)
    if schedule and any(each["metadata"]["uid"] == schedule for each in schedules if _stays(each)):
        return "the schedule that made the job exists"
    return ""


def tiers_of_others(
    job: Document, jobs: Iterable[Document], schedules: Iterable[Document]
) -> tuple[str, ...]:
    """The tiers of the job's collection that other jobs and schedules ask for.

    Raises `OtherNotUnderstoodError`.
    """
    collection, uid = _collection(job, job.get("spec") or {}), job["metadata"]["uid"]
    asked: dict[str, None] = {}
    for kind, documents in (("FileProcessingJob", jobs), ("FileProcessingSchedule", schedules)):
        for each in documents:
            if each["metadata"]["uid"] == uid or not _stays(each):
                continue
            spec = each.get("spec") or {}
            if kind == "FileProcessingSchedule":
                spec = (spec.get("jobTemplate") or {}).get("spec") or {}
            if _collection(each, spec) == collection:
                asked |= dict.fromkeys(_tiers(kind, each))
    return tuple(sorted(asked))


def left_of(
    store: Store,
    collection: str,
    namespace: str,
    asked: Sequence[str],
    keep: Sequence[str],
    check: Callable[[], None],
) -> Left:
    """What is left of a collection (its id in the store), but for the tiers to keep.

    ``asked`` are the job's own tiers. Raises `StoreError`.
    """
    reasons = {RemovalReason.DELETED} if keep else set(RemovalReason)
    started = []
    for folder in store.folders():
        check()
        if folder.name.partition(".")[0] == namespace and any(
            each.reason in reasons for each in store.removals(collection, folder.name)
        ):
            started.append(folder.name)
    return Left(_tiers_left(store, collection, asked, keep, check), tuple(started))


def _tiers_left(
    store: Store,
    collection: str,
    asked: Sequence[str],
    keep: Sequence[str],
    check: Callable[[], None],
) -> tuple[str, ...]:
    counted = store.statistics(collection)
    if counted:
        found = [tier for each in counted for tier, (files, _) in each.by_tier.items() if files]
        return tuple(sorted({tier for tier in found if tier not in keep}))
    # The statistics leave out a collection all of whose images vanished.
    requested = [tier for tiers in store.requested_tiers(collection).values() for tier in tiers]
    tiers = [tier for tier in dict.fromkeys([*asked, *requested]) if tier not in keep]
    first = next(iter(store.derivative_files(collection, tiers, check)), None) if tiers else None
    return (first[1],) if first else ()


def removing_status(job: Document, said: tuple[str, str], now: float) -> dict[str, Any]:
    """The job's status with the condition that says how far the removal is, or what it waits
    for.
    """
    before = job.get("status") or {}
    generation = job["metadata"].get("generation", 0)
    ours = restated(
        condition(before, FILES_REMOVED) or None,
        FILES_REMOVED,
        False,
        said,
        generation,
        moment(now),
    )
    others = [each for each in before.get("conditions", []) if each["type"] != FILES_REMOVED]
    return dict(before) | {"conditions": [*others, ours]}


def understood(job: Document) -> FileProcessingJob:
    """Raises `ManifestError`."""
    found = _read("FileProcessingJob", job)
    if not isinstance(found, FileProcessingJob):
        raise AssertionError("unreachable")
    return found


def _tiers(kind: str, document: Document) -> Sequence[str]:
    try:
        found = _read(kind, document)
    except ManifestError as error:
        name = document["metadata"]["name"]
        raise OtherNotUnderstoodError(
            f"{kind} {name}, which is of the same collection, is not understood: {error}"
        ) from error
    spec = found.spec.job_template.spec if isinstance(found, FileProcessingSchedule) else found.spec
    return [tier.name for tier in resolve_tiers(spec)]


def _read(kind: str, document: Document) -> Any:
    metadata = {name: document["metadata"][name] for name in ("name", "namespace", "uid")}
    said = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}
    return read_resource(said | {"spec": document.get("spec") or {}})


def _collection(document: Document, spec: Mapping[str, Any]) -> str:
    return str((spec.get("collection") or {}).get("id") or document["metadata"]["name"])


def _stays(document: Document) -> bool:
    return "deletionTimestamp" not in document["metadata"]
