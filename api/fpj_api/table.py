"""The jobs of all watched namespaces as they were last seen, in summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from fpj_api import metrics
from fpj_api.hub import Hub
from fpj_api.models import Job

Key = tuple[str, str]
"""Namespace and name."""


class JobTable:
    """Holds jobs, and has the hub tell what changes."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._jobs: dict[Key, Job] = {}
        self._namespaces: Counter[str] = Counter()
        self._order: list[Job] | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def namespaces(self) -> frozenset[str]:
        """Those that have jobs."""
        return frozenset(self._namespaces)

    def newest_first(self) -> list[Job]:
        """All jobs by the time they were created, then by uid; not to be changed."""
        if self._order is None:
            self._order = sorted(self._jobs.values(), key=lambda job: (job.created_at, job.uid), reverse=True)
        return self._order

    def put(self, job: Job) -> None:
        """A job as it is now. Where nothing in its summary changed, nobody is told."""
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
        self._hub.publish("job", job.namespace, job.uid, job.model_dump_json(by_alias=True))

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

    def replace(self, namespace: str | None, jobs: Iterable[Job]) -> None:
        """All jobs of a namespace, or of all, as a list shows them."""
        there = {(job.namespace, job.name): job for job in jobs}
        for key in [key for key in self._jobs if namespace in (None, key[0]) and key not in there]:
            self.remove(*key)
        for job in there.values():
            self.put(job)
