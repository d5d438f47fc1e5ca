"""`fpj-worker index`: list the source, find out what is to be done, cut it into shards."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

from fpj_core.errors import CacheFolderError, EnvironmentFaultError, FencedError, ImageError
from fpj_core.folders.base import CacheFolder
from fpj_core.jobs import change_job, refuse_stopped
from fpj_core.kube.names import requester_of
from fpj_core.model import Job, RemovalReason
from fpj_core.sources.base import Source
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import SkipCheck, resolve_sharding, resolve_tiers, resolve_vanished
from fpj_worker.claiming import Claim, SourceClaim, refuse_own_source
from fpj_worker.indexer import index_collection
from fpj_worker.places import source_identity
from fpj_worker.planner import Planned, Planner, PlanSettings
from fpj_worker.pod.metrics import STAGE_SECONDS
from fpj_worker.pod.places import healing, own_of, probe_of
from fpj_worker.pod.task import Task
from fpj_worker.removal import Cleanup, Remover, asked_by
from fpj_worker.stopping import Stop

_NOTE_SECONDS = 5.0

log = logging.getLogger("fpj.worker")


def run_index(task: Task, store: Store, stop: Stop) -> None:
    """Index and plan one attempt of a job.

    Safe to repeat: planning that was recorded is left alone.

    Shards that pods of this attempt may work on already must not be replaced under them.
    """
    record = _Record(task, store, stop)
    job = record.begin()
    if job.planned_attempt == task.attempt:
        log.info("planned before")
        return
    with healing(job, task.attempt):
        _plan_attempt(task, store, stop, record, job)


def _plan_attempt(task: Task, store: Store, stop: Stop, record: _Record, job: Job) -> None:
    folder = task.folder.build()
    refuse_own_source(task.source, task.folder)
    identity = source_identity(task.job, task.source, task.namespace)
    accept = bool(task.job.spec.collection.accept_source)
    claim = SourceClaim(store, task.collection, identity, accept=accept)
    claim.check()
    place, tiers = task.folder_record, [tier.name for tier in resolve_tiers(task.job.spec)]
    Claim(store, folder, place, task.collection, tiers).take()
    store.upsert_folder(task.folder_record)
    folder.sweep(own_of(task), store.identity())
    source = task.source.build()
    found = index_collection(
        store,
        source,
        task.collection,
        lambda _listed: record.tick(),
        fence=task.fence,
        accept_vanished=bool(task.job.spec.collection.accept_vanished),
        before_first=lambda: claim.take(task.fence),
        in_doubt=lambda: _doubt(task, store, record),
    )
    log.info("indexed", extra=asdict(found))
    planner = Planner(
        store, folder, task.collection, _plan_settings(task), record.enter, record.tick
    )
    planned = planner.plan(job, task.attempt, resumed=job.planned_attempt > 0)
    _remove(task, store, folder, source, record)
    record.finish(planned, found.left_out)
    store.delete_attempts(task.job_id, task.attempt, stop.check)
    log.info("planned", extra=asdict(planned))


def _remove(task: Task, store: Store, folder: CacheFolder, source: Source, record: _Record) -> None:
    """What the collection no longer needs, before pods write to it.

    What new outputs replace stays until they are there: their shards remove it. Where nothing can
    be removed now, the next attempt or job tries again.
    """
    requester = requester_of(task.job.metadata.model_dump())
    asked = asked_by(requester, resolve_tiers(task.job.spec))
    grace = resolve_vanished(task.job.spec.collection)
    remover = Remover(store, folder, task.folder_record.name, task.collection, record.tick)
    remover.start(Cleanup(asked, grace, source.leaves_out), task.fence)
    reasons = [reason for reason in RemovalReason if reason is not RemovalReason.SUPERSEDED]
    try:
        removed = remover.finish(reasons=reasons)
    except (CacheFolderError, ImageError) as error:
        log.warning("files were not removed: %s", error)
    else:
        if removed.files or removed.troubles:
            log.info("removed", extra=asdict(removed))


def _doubt(task: Task, store: Store, record: _Record) -> None:
    """Raises `EnvironmentFaultError` if what could not be listed
    is the fault of the whole source.
    """
    if trouble := probe_of(task, store)(record.tick):
        raise EnvironmentFaultError(trouble)


def _plan_settings(task: Task) -> PlanSettings:
    spec = task.job.spec
    return PlanSettings(
        tiers=resolve_tiers(spec),
        folder_name=task.folder_record.name,
        shard_size=lambda pending: resolve_sharding(spec, pending).shard_size,
        check_files=spec.skip_check is not SkipCheck.RECORD,
        force=bool(spec.force),
        layout=task.folder_record.layout,
    )


class _Record:
    """The job's record while it is planned: its stage, and a sign of progress now and then."""

    def __init__(self, task: Task, store: Store, stop: Stop) -> None:
        self._task = task
        self._store = store
        self._stop = stop
        self._planner = uuid.uuid4().hex
        self._noted_at = self._stage_since = time.monotonic()
        self._stage = "Index"

    def begin(self) -> Job:
        """Fence earlier attempts, and whoever plans this one; the record as it then stands.

        Raises `FencedError` if a later attempt has started.
        """

        def started(job: Job) -> Job:
            if job.planned_attempt == self._task.attempt:
                return job
            now = time.time()
            again = job.planning_attempt == self._task.attempt  # a pod that retries is not progress
            return replace(
                job,
                planning_attempt=self._task.attempt,
                planner=self._planner,
                stage=self._stage,
                stages={self._stage: now},
                last_progress_at=job.last_progress_at if again else now,
            )

        return self._change_unfenced(started)

    def enter(self, stage: str) -> None:
        """Another stage begins."""
        self._measure_stage()
        self._stage = stage
        log.info("stage started", extra={"stage": stage})
        began = time.time()
        self._note(lambda job: replace(job, stages={**job.stages, stage: began}))

    def tick(self) -> None:
        """Look whether to stop; note at times that the work moves."""
        self._stop.check()
        if time.monotonic() - self._noted_at >= _NOTE_SECONDS:
            self._note()

    def finish(self, planned: Planned, left_out: Mapping[str, int]) -> None:
        """The shards are there: from here on, pods may work on them."""
        self._measure_stage()
        now = time.time()
        self._change(
            lambda job: replace(
                job,
                total=planned.total,
                base=planned.base,
                planned_attempt=self._task.attempt,
                planned_shards=planned.shards,
                active_seconds=0.0,
                running_since=now,
                last_progress_at=now,
                last_progress_done=planned.done,
                made_before=planned.made_before,
                left_out=left_out,
            )
        )

    def _note(self, also: Callable[[Job], Job] = lambda job: job) -> None:
        self._noted_at = time.monotonic()
        self._change(
            lambda job: replace(also(job), stage=self._stage, last_progress_at=time.time())
        )

    def _change(self, change: Callable[[Job], Job]) -> Job:
        def ours(job: Job) -> Job:
            if job.planner != self._planner:
                raise FencedError(f"another pod plans attempt {self._task.attempt} of job {job.id}")
            return change(job)

        return self._change_unfenced(ours)

    def _change_unfenced(self, change: Callable[[Job], Job]) -> Job:
        def checked(job: Job) -> Job:
            refuse_stopped(job)
            if job.planning_attempt > self._task.attempt:
                raise FencedError(f"attempt {job.planning_attempt} of job {job.id} has started")
            return change(job)

        return change_job(self._store, self._task.job_id, checked)

    def _measure_stage(self) -> None:
        now = time.monotonic()
        STAGE_SECONDS.labels(self._stage).observe(now - self._stage_since)
        self._stage_since = now
