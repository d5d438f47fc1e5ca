"""Asks for the pods of child Jobs, and for events about them: as few as a decision needs.

A child Job may have thousands of pods, of 7 KB each. So the API server chooses by phase and by
completion index, pages are short, a Job whose pods all work is not asked about, and why a Job
failed is asked once.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from fpj_core.formatting import seconds_of
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_operator.jobs.trouble import (
    Findings,
    Trouble,
    last_failed_index,
    missing,
    of_ended,
    of_events,
    of_job,
    of_refusal,
    of_waiting,
    slow_start,
    weightiest,
    works,
)

_PATIENCE_SECONDS = 5.0
"""So long a new Job may have no pod."""
_MOST_PODS = 20
_MOST_FAILED = 200
"""Of a Job that goes on: asked again and again."""
_MOST_OF_INDEX = 2_000
"""Failed pods of a failed Job's index, asked once: evictions may be many, and do not count."""
_MOST_EVENTS = 50
_MOST_KNOWN = 1_000
_UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
_JOB_NAME = "batch.kubernetes.io/job-name"
_INDEX = "batch.kubernetes.io/job-completion-index"


class Pods:
    """What the pods of child Jobs show; remembers why Jobs failed.

    ``clock`` gives seconds since the epoch.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.time) -> None:
        self._cluster = cluster
        self._clock = clock
        self._failed: OrderedDict[str, Trouble] = OrderedDict()
        """By uid of a Job; the newest that were asked about."""

    async def of(self, job: Document, *, complete: bool, failed: bool) -> Findings:
        """Why a Job's pods do not work. Raises `ClusterError`."""
        if failed:
            return Findings(stops=await self._why_failed(job))
        if complete:
            return Findings()
        if job["spec"].get("suspend"):
            return Findings(
                Trouble(
                    "HeldByQueue", "the child Job is suspended: its queue has not admitted it yet"
                )
            )
        now = self._clock()
        if now - seconds_of(job["metadata"].get("creationTimestamp")) < _PATIENCE_SECONDS:
            return Findings()
        return await self._of_live(job, now)

    async def _of_live(self, job: Document, now: float) -> Findings:
        status, fewer = job.get("status", {}), missing(job)
        ready = status.get("ready") or 0
        if ready and not fewer and ready >= status.get("active", 0):
            return Findings()
        pods = await self._page(job, _UNFINISHED)
        waits = of_waiting(pods, now) or await self._of_slow_start(pods, now)
        if (
            ready
            or any(works(pod) for pod in pods)
            or (len(pods) == _MOST_PODS and await self._any_works(job))
        ):
            return Findings(delays=waits or (await self._refusal(job, now) if fewer else None))
        if waits or pods:
            return Findings(stops=waits)
        # Nothing is there that will run: the Job controller waits before it tries again, or may
        # not.
        failed = await self._last_failure(job, _MOST_FAILED, job_failed=False)
        found = [each for each in (failed, await self._refusal(job, now)) if each]
        return Findings(stops=max(found, key=lambda each: each.since, default=None))

    async def _why_failed(self, job: Document) -> Trouble:
        uid = job["metadata"]["uid"]
        known = self._failed.get(uid)
        if known is None:
            index = last_failed_index(job)
            of_index = "" if index is None else f",{_INDEX}={index}"
            found = await self._last_failure(job, _MOST_OF_INDEX, of_index, job_failed=True)
            known = self._failed[uid] = found or of_job(job)
            if len(self._failed) > _MOST_KNOWN:
                self._failed.popitem(last=False)
        return known

    async def _of_slow_start(self, pods: list[Document], now: float) -> Trouble | None:
        pod = slow_start(pods, now)
        if pod is None:
            return None
        return of_events(pod, await self._events(pod), now)

    async def _refusal(self, job: Document, now: float) -> Trouble | None:
        return of_refusal(job, await self._events(job, ",reason=FailedCreate"), now)

    async def _any_works(self, job: Document) -> bool:
        """Whether one of very many works, beyond those of the first page."""
        return any(works(pod) for pod in await self._page(job, "status.phase=Running"))

    async def _last_failure(
        self, job: Document, most: int, labels: str = "", *, job_failed: bool
    ) -> Trouble | None:
        """Why the pod that failed last did, page by page: none is kept longer than that takes."""
        metadata, last = job["metadata"], None
        labels = f"{_JOB_NAME}={metadata['name']}{labels}"
        pages = self._cluster.pages(
            "Pod",
            metadata["namespace"],
            size=_MOST_PODS,
            most=most,
            labels=labels,
            fields="status.phase=Failed",
        )
        async for page in pages:
            last = weightiest((last, of_ended(page, job_failed=job_failed)))
        return last

    async def _page(self, job: Document, fields: str) -> list[Document]:
        metadata = job["metadata"]
        labels = f"{_JOB_NAME}={metadata['name']}"
        found = await self._cluster.page(
            "Pod", metadata["namespace"], limit=_MOST_PODS, labels=labels, fields=fields
        )
        return list(found.get("items", []))

    async def _events(self, about: Document, fields: str = "") -> list[Document]:
        metadata = about["metadata"]
        fields = f"involvedObject.uid={metadata['uid']}{fields}"
        found = await self._cluster.page(
            "Event", metadata["namespace"], limit=_MOST_EVENTS, fields=fields
        )
        return list(found.get("items", []))
