"""One new job for each of many collections: what it is copied from, its name, its manifest. Pure.

A collection is known by the jobs and schedules that name it; nothing else says where its images
are. So a new job is copied: source, filters, folder and pods from the newest job of the collection,
tiers from its newest job that makes cache images, and the thumbnail from its newest one that makes
thumbnails. Where it has no such job, its newest schedule stands for one.

Everything about a bulk operation is in the jobs that it made. Its id comes from the caller's key,
and the names of its jobs from that id and their collections, so that nothing is made twice, whoever
asks again and whatever was restarted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fpj_core.errors import FpjError
from fpj_core.kube.documents import Document
from fpj_core.kube.names import (
    BULK_REQUEST_ANNOTATION,
    BULK_SIZE_ANNOTATION,
    GROUP,
    LABEL_BULK,
    LABEL_SCHEDULE,
    REQUESTER_ANNOTATION,
    requester_of,
    schedule_labels,
)
from fpj_core.v1alpha1 import API_VERSION, JobType

JOB, SCHEDULE = "FileProcessingJob", "FileProcessingSchedule"
MOST_COLLECTIONS = 500
"""Of one bulk operation."""
MOST_KEY = 128
"""Characters of an idempotency key."""
BULK_ID = r"bulk-[0-9a-f]{12}"
_MOST_NAME = 253
_MOST_BASE = 200
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_OTHERS = re.compile(r"[^a-z0-9]+")
_OF_TOOLS = re.compile(
    rf"(?:{re.escape(GROUP)}|app\.kubernetes\.io|helm\.sh|argocd\.argoproj\.io|"
    r"(?:.+\.)?toolkit\.fluxcd\.io)/"
)
"""Labels by which others claim what they made: a copy is not theirs, and they would delete it."""
_OF_ONE_JOB = ("suspend", "force", "cache", "thumbnail")
_ACCEPTED_ONCE = ("acceptVanished", "acceptSource")

CollectionKey = tuple[str, str]
"""Namespace and id; the namespace is empty on one machine."""


class NoTemplateError(FpjError):
    """There is nothing that a job of the collection can be copied from; the message says why."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A job or a schedule, as far as is needed to choose among them."""

    kind: str
    namespace: str
    name: str
    collection: str
    job_type: str
    labels: Mapping[str, str] = field(compare=False)

    @property
    def key(self) -> CollectionKey:
        """The collection that it names."""
        return self.namespace, self.collection

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Templates:
    """What new jobs of a collection are copied from; None where nothing says it."""

    base: Origin
    cache: Origin | None = None
    thumbnail: Origin | None = None

    def sections(self, job_type: JobType) -> dict[str, Origin | None]:
        """Of the manifest of a job of this type: what each is copied from."""
        found = {"cache": self.cache, "thumbnail": self.thumbnail}
        left_out = {JobType.CACHE: "thumbnail", JobType.THUMBNAIL: "cache"}.get(job_type)
        return {name: origin for name, origin in found.items() if name != left_out}

    def needed(self, job_type: JobType) -> set[Origin]:
        """Those that a job of this type is copied from."""
        said = {origin for origin in self.sections(job_type).values() if origin is not None}
        return {self.base, *said}

    def titles(self, job_type: JobType) -> list[str]:
        """What a job of this type is copied from, for people: first what says the source."""
        others = self.needed(job_type) - {self.base}
        return [self.base.title, *sorted(each.title for each in others)]

    def unsaid(self, job_type: JobType) -> tuple[str, ...]:
        """Sections that get the usual settings: nothing says others."""
        return tuple(name for name, origin in self.sections(job_type).items() if origin is None)


def templates_of(origins: Iterable[Origin]) -> dict[CollectionKey, Templates]:
    """By collection. Of ``origins`` the first that serve are taken: jobs newest first, then
    schedules.
    """
    found: dict[CollectionKey, Templates] = {}
    for each in origins:
        known = found.get(each.key) or Templates(each)
        if known.cache is None and each.job_type != JobType.THUMBNAIL:
            known = replace(known, cache=each)
        if known.thumbnail is None and each.job_type != JobType.CACHE:
            known = replace(known, thumbnail=each)
        found[each.key] = known
    return found


def origin_of_schedule(document: Mapping[str, Any]) -> Origin:
    """A schedule: what its next run would be, with the labels of its jobs."""
    metadata = document["metadata"]
    template = (document.get("spec") or {}).get("jobTemplate") or {}
    spec = template.get("spec") or {}
    return Origin(
        SCHEDULE,
        str(metadata.get("namespace") or ""),
        str(metadata["name"]),
        str((spec.get("collection") or {}).get("id") or metadata["name"]),
        str(spec.get("jobType", "")),
        dict((template.get("metadata") or {}).get("labels") or {}),
    )


@dataclass(frozen=True, slots=True)
class Generation:
    """A bulk operation: what is to be made."""

    job_type: JobType
    force: bool = False
    bulk: str = ""
    """Its id; empty on one machine."""
    request: str = ""
    """Digest of what was asked for."""

    def manifest(
        self, key: CollectionKey, templates: Templates, documents: Mapping[Origin, Document]
    ) -> Document:
        """The job of a collection; ``documents`` has what `Templates.needed` names.

        Raises `NoTemplateError`.
        """
        namespace, collection = key
        base = _spec_of(templates.base, documents)
        place = dict(base.get("collection") or {})
        if self.bulk and "local" in (place.get("source") or {}):
            raise NoTemplateError(f"{templates.base.title} has its images on one machine alone")
        for name in _ACCEPTED_ONCE:
            place.pop(name, None)
        spec = {name: value for name, value in base.items() if name not in _OF_ONE_JOB}
        spec |= {"jobType": self.job_type.value, "collection": place | {"id": collection}}
        for section, origin in templates.sections(self.job_type).items():
            if origin is not None and (said := _spec_of(origin, documents).get(section)):
                spec[section] = said
        if self.force:
            spec["force"] = True
        return {
            "apiVersion": API_VERSION,
            "kind": JOB,
            "metadata": self._metadata(namespace, collection, templates, documents),
            "spec": spec,
        }

    def _metadata(
        self,
        namespace: str,
        collection: str,
        templates: Templates,
        documents: Mapping[Origin, Document],
    ) -> Document:
        labels = {
            name: value
            for name, value in templates.base.labels.items()
            if not _OF_TOOLS.match(name)
        }
        if not self.bulk:  # on one machine jobs of a collection keep its name
            return {"name": templates.base.name} | ({"labels": labels} if labels else {})
        annotations = {BULK_REQUEST_ANNOTATION: self.request}
        # Usual settings are nobody's wish: in another's name they would take back what it asked
        # for, and its files would be removed.
        if not templates.unsaid(self.job_type):
            annotations[REQUESTER_ANNOTATION] = _requester(templates.base, documents)
        return {
            "name": job_name(collection, self.bulk),
            "namespace": namespace,
            "labels": labels | {LABEL_BULK: self.bulk},
            "annotations": annotations,
        }


def state_size(manifests: Sequence[Document]) -> None:
    """Say in each manifest of a bulk operation how many there are."""
    for manifest in manifests:
        manifest["metadata"]["annotations"][BULK_SIZE_ANNOTATION] = str(len(manifests))


def bulk_id(scope: str, key: str) -> str:
    """The id of the bulk operation that ``key`` names; ``scope`` is whose key it is."""
    text = json.dumps([scope, key]).encode()
    return f"bulk-{hashlib.blake2b(text, digest_size=6).hexdigest()}"


def request_digest(wanted: Mapping[str, Any]) -> str:
    """The same for the same request."""
    text = json.dumps(wanted, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def job_name(collection: str, bulk: str) -> str:
    """A valid name, another one for each collection."""
    name = f"{collection}-{bulk}"
    if len(name) <= _MOST_NAME and _NAME.fullmatch(collection):
        return name
    digest = hashlib.blake2b(collection.encode(), digest_size=5).hexdigest()
    short = _OTHERS.sub("-", collection)[:_MOST_BASE].strip("-")
    return f"{short}-{digest}-{bulk}"


@dataclass(frozen=True, slots=True)
class Part:
    """A job of a bulk operation, as far as it counts."""

    phase: str
    finished: bool
    progress: Mapping[str, Any]
    """`status.progress`, whole."""


_SUMMED = ("total", "completed", "skipped", "failed", "imagesPerSecond", "bytesWritten")


def summed(parts: Iterable[Part]) -> dict[str, Any]:
    """Progress of the whole: ``finished`` jobs, jobs by phase, images in all.

    ``percent`` is the mean of the jobs': how many images a job has that has not listed them yet,
    nobody knows.
    """
    phases: dict[str, int] = {}
    images: dict[str, Any] = dict.fromkeys(_SUMMED, 0)
    jobs = finished = percent = 0
    for part in parts:
        jobs += 1
        finished += part.finished
        phases[part.phase] = phases.get(part.phase, 0) + 1
        percent += 100 if part.finished else min(int(part.progress["percent"]), 99)
        for name in _SUMMED:
            images[name] += part.progress[name]
    images["imagesPerSecond"] = round(float(images["imagesPerSecond"]), 3)
    images["percent"] = percent // jobs if jobs else 0
    return {
        "jobs": jobs,
        "finished": finished,
        "phases": dict(sorted(phases.items())),
        "progress": images,
    }


def _spec_of(origin: Origin, documents: Mapping[Origin, Document]) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = documents[origin].get("spec") or {}
    if origin.kind == SCHEDULE:
        return (spec.get("jobTemplate") or {}).get("spec") or {}
    return spec


def _requester(origin: Origin, documents: Mapping[Origin, Document]) -> str:
    if origin.kind == SCHEDULE:
        return schedule_labels(origin.name, "")[LABEL_SCHEDULE]
    return requester_of(documents[origin]["metadata"])
