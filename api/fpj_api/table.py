"""The jobs of all watched namespaces as they were last seen, in summary."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fpj_api import metrics
from fpj_api.hub import Hub
from fpj_api.models import job_of
from fpj_core.kube.jobresource import JobResource

Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class HeldJob:
    """What is kept of a job: how it is sent, in a quarter of the memory of its model,
    and what lists filter by.
    """

    namespace: str
    name: str
    uid: str
    created_at: str
    job_type: str | None
    collection: str
    phase: str
    worth_recovering: bool
    """Whether it has stopped with images that another attempt may make."""
    finished: bool
    deleting: bool
    bulk: str | None
    """The bulk operation that made it."""
    bulk_size: int
    labels: Mapping[str, str]
    text: str
    """A `Job` in JSON."""


def held_of(resource: JobResource) -> HeldJob:
    """A job as its resource shows it."""
    job = job_of(resource)
    return HeldJob(
        namespace=sys.intern(job.namespace),
        name=job.name,
        uid=job.uid,
        created_at=job.created_at,
        job_type=job.job_type and sys.intern(job.job_type),
        collection=job.collection,
        phase=sys.intern(job.phase),
        worth_recovering=resource.incomplete and not resource.deleting,
        finished=resource.finished,
        deleting=resource.deleting,
        bulk=resource.bulk and sys.intern(resource.bulk),
        bulk_size=resource.bulk_size,
        labels={sys.intern(name): sys.intern(value) for name, value in resource.labels.items()},
        text=job.model_dump_json(by_alias=True),
    )


class JobTable:
    """Holds jobs, and has the hub tell what changes."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._jobs: dict[Key, HeldJob] = {}
        self._namespaces: Counter[str] = Counter()
        self._order: list[HeldJob] | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def namespaces(self) -> frozenset[str]:
        """Those that have jobs."""
        return frozenset(self._namespaces)

    def newest_first(self) -> list[HeldJob]:
        """All jobs by the time they were created, then by uid; not to be changed."""
        if self._order is None:
            self._order = sorted(
                self._jobs.values(), key=lambda job: (job.created_at, job.uid), reverse=True
            )
        return self._order

    def put(self, job: HeldJob) -> None:
        """A job as it is now. If nothing in its summary changed, no stream sends it."""
        key = (job.namespace, job.name)
        before = self._jobs.get(key)
        if before == job:
            return
        if before is not None and before.uid != job.uid:
            self.remove(*key)
            before = None
        self._jobs[key] = job
        self._order = None
        if before is None:
            self._namespaces[job.namespace] += 1
            metrics.JOBS.set(len(self._jobs))
        if before is None or before.text != job.text:
            self._hub.publish("job", job.namespace, job.uid, job.text)

    def remove(self, namespace: str, name: str) -> None:
        """A job that is gone."""
        job = self._jobs.pop((namespace, name), None)
        if job is None:
            return
        self._order = None
        self._namespaces[namespace] -= 1
        if not self._namespaces[namespace]:
            del self._namespaces[namespace]
        metrics.JOBS.set(len(self._jobs))
        body = json.dumps({"namespace": namespace, "name": name, "uid": job.uid})
        self._hub.publish("gone", namespace, job.uid, body)

    def replace(self, namespace: str | None, jobs: Iterable[HeldJob]) -> None:
        """All jobs of a namespace, or of all, as a list shows them."""
        there = {(job.namespace, job.name): job for job in jobs}
        for key in [key for key in self._jobs if namespace in (None, key[0]) and key not in there]:
            self.remove(*key)
        for job in there.values():
            self.put(job)
