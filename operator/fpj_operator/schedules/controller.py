"""One look at a schedule: observe, decide, act.

Fed with events by the handlers; the clock is its own queue's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fpj_core.errors import ManifestError
from fpj_core.formatting import seconds_of
from fpj_core.kube import names
from fpj_core.kube.api import CONFLICT, Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_core.manifest import read_resource
from fpj_core.model import Phase
from fpj_core.v1alpha1 import FileProcessingSchedule, FileProcessingScheduleSpec
from fpj_operator import events, metrics
from fpj_operator.emit import Emit
from fpj_operator.keys import Key
from fpj_operator.schedules.reconcile import Refusal, Run, SchedulePlan, ScheduleView, decide
from fpj_operator.workqueue import Workqueue

_KIND = "FileProcessingSchedule"
_JOB = "FileProcessingJob"
_WORKERS = 4
_REFUSALS = range(400, 500)
_TRIES, _PAUSE_SECONDS = 3, 0.3
"""Against those who change the same quota or the same status.

After that it waits for the next look.
"""
_COUNTED = "counted"

log = logging.getLogger("fpj.schedules")


class ScheduleController:
    """Works schedules off through its queue. ``now`` gives the seconds since the epoch."""

    def __init__(self, cluster: Cluster, now: Callable[[], float] = time.time) -> None:
        self.work: Workqueue[Key] = Workqueue(self._handle, _WORKERS)
        self._cluster = cluster
        self._now = now
        self._reported: dict[str, set[tuple[str, str]]] = {}
        """By schedule, the events that are written once, and the refusals that are counted once."""
        self._finished: dict[str, bool] = {}
        """By uid, whether a schedule's job has finished:
        what it reports until then changes nothing here.
        """

    # Events ---------------------------------------------------------------------------------------

    def changed(self, body: Mapping[str, Any]) -> None:
        """A schedule appeared or changed."""
        self.work.add(_key(body, body["metadata"]["name"]))

    def gone(self, body: Mapping[str, Any]) -> None:
        """A schedule was deleted; Kubernetes collects its jobs."""
        self.work.forget(_key(body, body["metadata"]["name"]))
        self._reported.pop(body["metadata"]["uid"], None)

    def job_changed(self, body: Mapping[str, Any], *, gone: bool) -> None:
        """A FileProcessingJob changed: if a schedule began it,
        that is to be looked at once it ends or vanishes.
        """
        for owner in body["metadata"].get("ownerReferences") or ():
            if owner.get("kind") == _KIND and self._is_news(body, gone=gone):
                self.work.add(_key(body, owner["name"]))

    def _is_news(self, body: Mapping[str, Any], *, gone: bool) -> bool:
        uid, finished = body["metadata"]["uid"], _phase(body).finished
        known = self._finished.pop(uid, None)
        if not gone:
            self._finished[uid] = finished
        return gone or known != finished

    # Work -----------------------------------------------------------------------------------------

    async def _handle(self, key: Key) -> float | None:
        try:
            return await self.look(key)
        except Exception:
            metrics.RECONCILE_ERRORS.inc()
            raise

    async def look(self, key: Key) -> float | None:
        """Do what is due; the seconds until the next look. Raises `ClusterError`."""
        for left in reversed(range(_TRIES)):
            try:
                return await self._look(key)
            except ClusterError as error:
                if error.reason != CONFLICT or not left:
                    raise
        raise AssertionError("unreachable")

    async def _look(self, key: Key) -> float | None:
        view = await self._observe(key)
        if view is None:
            return None
        plan = decide(view)
        for run in plan.replaced:
            await self._cluster.delete(_JOB, key.namespace, run.name, run.uid)
        if refusal := await self._start(view, plan):
            view = replace(view, refused=refusal)
            plan = decide(view)
        if plan.status is not None and plan.status != view.status:
            await self._cluster.apply_status(
                _KIND, key.namespace, key.name, plan.status, view.uid, view.version or None
            )
        for run in plan.trimmed:
            await self._cluster.delete(_JOB, key.namespace, run.name, run.uid)
        for said in plan.events:
            await self._emit(view, said)
        return plan.requeue_after

    async def _observe(self, key: Key) -> ScheduleView | None:
        document = await self._cluster.get(_KIND, key.namespace, key.name)
        if document is None:
            return None
        metadata = document["metadata"]
        uid = metadata["uid"]
        jobs = await self._cluster.list(
            _JOB, key.namespace, labels=f"{names.LABEL_SCHEDULE_UID}={uid}"
        )
        spec, problem = _parse(document)
        return ScheduleView(
            key=key,
            uid=uid,
            generation=metadata.get("generation", 0),
            spec=spec,
            problem=problem,
            status=document.get("status") or {},
            created_at=seconds_of(metadata.get("creationTimestamp")),
            deleting="deletionTimestamp" in metadata,
            runs=tuple(_run(each) for each in jobs if uid in _owners(each)),
            now=self._now(),
            version=str(metadata.get("resourceVersion") or ""),
        )

    async def _start(self, view: ScheduleView, plan: SchedulePlan) -> Refusal | None:
        """Create the job of the run that is due; why that failed.

        One of ours that exists already was started before.

        Raises `ClusterError` where nobody refused.
        """
        if plan.start is None:
            return None
        name = plan.start["metadata"]["name"]
        refusal = await self._create(view, plan.start, name)
        if refusal is not None:
            log.warning("%s: %s", view.key, refusal.message)
            self._count_refusal(view, refusal, name)
        return refusal

    async def _create(
        self, view: ScheduleView, manifest: Mapping[str, Any], name: str
    ) -> Refusal | None:
        refusal = Refusal(
            "JobRefused", f"the run's job was refused: {name} keeps being created and deleted"
        )
        for _ in range(_TRIES):
            try:
                if await self._cluster.create(manifest) is not None:
                    return None
            except ClusterError as error:
                if error.status not in _REFUSALS:
                    raise
                refusal = Refusal("JobRefused", f"the run's job was refused: {error}")
                if error.reason != CONFLICT:
                    break
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            found = await self._cluster.get(_JOB, view.key.namespace, name)
            if found is not None:
                text = (
                    f"a job named {name} exists and does not belong to this schedule: the run waits"
                    " until it is gone"
                )
                taken = Refusal("NameTaken", text)
                return None if view.uid in _owners(found) else taken
        return refusal

    def _count_refusal(self, view: ScheduleView, refusal: Refusal, name: str) -> None:
        """Once for each run, though it is tried again and again."""
        reported = self._reported.setdefault(view.uid, set())
        if (_COUNTED, name) not in reported:
            metrics.SCHEDULE_MISSES.labels(refusal.reason).inc()
            self._remember(reported, _COUNTED, name)

    async def _emit(self, view: ScheduleView, said: Emit) -> None:
        """A miss is counted also where its event cannot be written.

        A unique event is then tried again later.
        """
        reported = self._reported.setdefault(view.uid, set())
        if said.unique and (said.reason, said.unique) in reported:
            return
        if said.reason == "Started":  # whatever is refused from now on is news again
            reported -= {each for each in reported if each[0] in ("JobRefused", "NameTaken")}
        is_news = await events.write(self._cluster, _KIND, view.key, view.uid, said)
        if is_news is not False:
            self._count_miss(view, said)
        if said.unique and is_news is not None:
            self._remember(reported, said.reason, said.unique)

    def _count_miss(self, view: ScheduleView, said: Emit) -> None:
        """Once, though its event may be written later than it was first tried.

        Refusals are counted by themselves.
        """
        reported, counted = self._reported.setdefault(view.uid, set()), f"{_COUNTED} {said.reason}"
        if (
            said.reason in metrics.MISSES
            and not view.refused
            and (counted, said.unique) not in reported
        ):
            metrics.SCHEDULE_MISSES.labels(said.reason).inc()
            self._remember(reported, counted, said.unique)

    @staticmethod
    def _remember(reported: set[tuple[str, str]], reason: str, unique: str) -> None:
        """The newest of each reason is enough: none goes back to an earlier run."""
        reported -= {each for each in reported if each[0] == reason}
        reported.add((reason, unique))


def _key(body: Mapping[str, Any], name: str) -> Key:
    return Key(body["metadata"]["namespace"], name)


def _phase(body: Mapping[str, Any]) -> Phase:
    return Phase((body.get("status") or {}).get("phase") or Phase.PENDING)


def _owners(document: Document) -> list[str]:
    return [owner["uid"] for owner in document["metadata"].get("ownerReferences") or ()]


def _run(document: Document) -> Run:
    metadata, status = document["metadata"], document.get("status") or {}
    return Run(
        name=metadata["name"],
        uid=metadata["uid"],
        due=_moment((metadata.get("annotations") or {}).get(names.SCHEDULED_AT_ANNOTATION)),
        phase=_phase(document),
        finished_at=seconds_of(status.get("completionTime")),
        deleting="deletionTimestamp" in metadata,
    )


def _moment(text: str | None) -> float:
    """Of an annotation, which anybody may have changed."""
    try:
        return seconds_of(text)
    except ValueError:
        return 0.0


def _parse(document: Document) -> tuple[FileProcessingScheduleSpec | None, str]:
    metadata = {name: document["metadata"][name] for name in ("name", "namespace", "uid")}
    said = {name: document.get(name) for name in ("apiVersion", "kind", "spec")}
    try:
        found = read_resource(said | {"metadata": metadata})
    except ManifestError as error:
        return None, "; ".join(error.problems)
    if not isinstance(found, FileProcessingSchedule):
        raise AssertionError("unreachable")
    return found.spec, ""
