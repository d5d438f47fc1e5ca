"""`fpj-worker shard`: work on one shard, then on shards that nobody works on any more."""

from __future__ import annotations

import logging
import time
import uuid
from contextlib import suppress
from dataclasses import asdict
from typing import Self

from typing_extensions import override

from fpj_core.errors import FencedError, FpjError, StoreError
from fpj_core.jobs import recorded_job, refuse_stopped
from fpj_core.model import Counts, Failure, Shard, ShardState
from fpj_core.process.logs import about
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import SkipCheck, resolve_limits, resolve_sharding, resolve_tiers
from fpj_worker.pod.endings import ShardHeldError
from fpj_worker.pod.heartbeat import Heartbeat
from fpj_worker.pod.metrics import BUSY, PENDING, PROCESSES, STAGE_SECONDS, PrometheusMeter
from fpj_worker.pod.places import probe_of, require_folder
from fpj_worker.pod.report import Reporter, StatusWriter
from fpj_worker.pod.task import Task
from fpj_worker.room import Allowance, allowance_for
from fpj_worker.shard import JobContext, Pool, ShardProcessor
from fpj_worker.stopping import Stop
from fpj_worker.tasks import ImageHandler, start_image_pool

_POLL_SECONDS = 1.0
_MOST_WAIT_SECONDS = 3_600.0
_PATIENCE_SECONDS = 240.0
"""For which a store that has gone is waited for:
less than the collection's lock holds without being renewed.
"""
_MOST_CLAIMS = 20
"""Times a pod claims its own shard again after others took it:
each means that it was silent for `suspect_after`.
"""
_MOST_TOLD = 100
"""Failed images of a shard that the log names."""

log = logging.getLogger("fpj.worker")


def run_shard(task: Task, store: Store, stop: Stop) -> None:
    """Bring this pod's shard to its end, by this pod or by whoever holds it.

    Then rescue others' shards.

    Raises `FencedError` when the attempt has ended, `InterruptedRunError` on SIGTERM, with the
    shard handed back, and `EnvironmentFaultError` before anything is claimed or written where the
    cache folder is not there.
    """
    claims = _Claims(task, store, stop)
    claims.check_attempt()
    require_folder(task)
    with _Worker(task, store, stop) as worker:
        _finish_own(claims, worker)
        _rescue(claims, worker)


def _finish_own(claims: _Claims, worker: _Worker) -> None:
    """A pod that was taken for dead, and its shard from it,
    waits for the new holder as any other pod would.
    """
    for _ in range(_MOST_CLAIMS):
        shard = claims.own()
        if shard is None:
            log.info("shard done before")
            return
        try:
            worker.process(shard)
        # Whether the attempt has ended, too, is checked before the next claim.
        except FencedError as error:
            log.warning("shard lost: %s", error)
        else:
            return
    raise ShardHeldError(f"the shard was taken over {_MOST_CLAIMS} times")


def _rescue(claims: _Claims, worker: _Worker) -> None:
    """Take over shards that nobody works on, rather than leave them to wait for new pods.

    This pod's own shard is done, so whatever goes wrong here is for others to fix.
    """
    try:
        while shard := claims.abandoned():
            log.info("rescuing", extra={"shard": shard.index})
            # Its own pod woke up, or another was faster; there may be more.
            with suppress(FencedError):
                worker.process(shard)
    except FpjError as error:
        log.warning("rescue ended: %s", error)


class _Claims:
    """Which shard is this pod's to work on."""

    def __init__(self, task: Task, store: Store, stop: Stop) -> None:
        self._task = task
        self._store = store
        self._stop = stop

    def own(self) -> Shard | None:
        """The pod's shard, once nobody else works on it; None if it is finished."""
        index = self._task.shard_index
        until = time.monotonic() + _MOST_WAIT_SECONDS
        waited = False
        while True:
            self.check_attempt()
            if claimed := self._claim(index):
                return self._still_ours(claimed)
            shard = self._store.shard(self._task.job_id, self._task.attempt, index)
            if shard is None or shard.state is ShardState.FAILED:
                raise FencedError(
                    f"shard {index} of job {self._task.job_id} is not to be worked on any more"
                )
            if shard.state is ShardState.SUCCEEDED:
                return None
            if time.monotonic() >= until:
                raise ShardHeldError(f"shard {index} has been held by {shard.holder} for an hour")
            if not waited:
                log.info("waiting for the holder", extra={"holder": shard.holder})
            waited = True
            self._pause()

    def abandoned(self) -> Shard | None:
        """A shard whose pod died or handed it back; None if there is none.

        Waits while one has been silent, but not long enough. Raises as `own` does once the attempt
        has ended.
        """
        task = self._task
        until = time.monotonic() + task.suspect_after
        while True:
            since = self._store.now() - 2 * task.heartbeat_interval
            silent = self._store.silent_shards(task.job_id, task.attempt, since)
            for index in silent:
                if claimed := self._claim(index):
                    return self._still_ours(claimed)
            if not silent or time.monotonic() >= until:
                return None
            self._pause()

    def _claim(self, index: int) -> Shard | None:
        task = self._task
        return self._store.claim_shard(
            task.job_id,
            task.attempt,
            task.pod,
            self._store.now(),
            suspect_after=task.suspect_after,
            index=index,
        )

    def _pause(self) -> None:
        self._stop.check()
        time.sleep(_POLL_SECONDS)
        self._stop.check()

    def check_attempt(self) -> None:
        """Raises `FencedError` once the attempt has ended, `StoreError` before it is planned."""
        job = recorded_job(self._store, self._task.job_id)
        refuse_stopped(job)
        if job.planning_attempt > self._task.attempt:
            raise FencedError(f"attempt {job.planning_attempt} of job {job.id} has started")
        if job.planned_attempt != self._task.attempt:
            raise StoreError(f"attempt {self._task.attempt} of job {job.id} is not planned yet")

    def _still_ours(self, claimed: Shard) -> Shard:
        """The claim, unless it is one on a shard of a later attempt,
        which may make other things of the same images.
        """
        try:
            self.check_attempt()
        except FencedError:
            self._store.finish_shard(claimed, ShardState.PENDING, self._store.now())
            raise
        return claimed


class _Worker:
    """Works on shards, one after another.

    Child processes are started for the first, and a report starts with it.
    """

    def __init__(self, task: Task, store: Store, stop: Stop) -> None:
        self._task = task
        self._store = store
        self._stop = stop
        self._meter = PodMeter()
        self._reporter: Reporter | None = None
        self._pool: Pool | None = None
        self._allowance: Allowance | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop_pool()
        if self._reporter is not None:
            self._reporter.close()

    def process(self, shard: Shard) -> None:
        """From the shard's cursor to its end. Raises as `ShardProcessor.complete` does."""
        task = self._task
        with (
            about(shard=shard.index),
            STAGE_SECONDS.labels("Process").time(),
            Heartbeat(self._store, shard, task.heartbeat_interval) as self._heartbeat,
        ):
            if self._pool is None:
                # Takes seconds on a busy machine, in which the pod must not be taken for dead.
                self._start_for(shard)
            log.info(
                "shard started",
                extra={"cursor": shard.cursor, "stop": shard.stop, "epoch": shard.epoch},
            )
            try:
                self._processor.complete(shard, lambda: self._stop.left_of(task.grace))
            except FencedError:
                self._meter.take()
                self._stop_pool()  # what it has in hand is the new holder's to make
                raise
            log.info("shard done", extra=asdict(self._meter.take()))

    def _start_for(self, shard: Shard) -> None:
        try:
            self._start()
        except FpjError:
            with suppress(StoreError):
                self._store.finish_shard(shard, ShardState.PENDING, self._store.now())
            raise

    def _start(self) -> None:
        task = self._task
        self._pool = start_image_pool(_handler(task, self._store.identity()), _workers(task))
        self._allowance = allowance_for(
            self._store,
            task.folder_record,
            task.pod,
            task.collection,
            resolve_tiers(task.job.spec),
            resolve_sharding(task.job.spec, 0).batch_size,
        )
        self._processor = ShardProcessor(
            self._store,
            self._pool,
            task.folder.build(),
            _context(task),
            self._tick,
            self._meter,
            _PATIENCE_SECONDS,
            probe_of(task, self._store),
            self._allowance,
        )
        PROCESSES.set(_workers(task))
        if task.report and self._reporter is None:
            writer = StatusWriter(task.namespace, task.job.metadata.name, task.job_id, task.attempt)
            pods = resolve_sharding(task.job.spec, 0).parallelism
            self._reporter = Reporter(
                self._store, task.job_id, task.attempt, task.pod, writer.write, pods=pods
            )
            self._reporter.start()

    def _stop_pool(self) -> None:
        if self._pool is not None:
            self._pool.stop(0)
            self._pool = None
        if self._allowance is not None:
            with suppress(StoreError):  # it lapses by itself
                self._allowance.release()
            self._allowance = None

    def _tick(self) -> None:
        self._stop.check()
        self._heartbeat.check()
        PENDING.set(self._processor.pending)
        BUSY.set(min(self._pool.in_flight if self._pool else 0, _workers(self._task)))


class PodMeter(PrometheusMeter):
    """Also tells the log which images failed: the first of each shard,
    for a log has no room for all of a million.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told = 0

    @override
    def take(self) -> Counts:
        """The next shard's failures are reported again."""
        self._told = 0
        return super().take()

    @override
    def failed(self, failure: Failure) -> None:
        self._told += 1
        if self._told > _MOST_TOLD:
            return
        log.warning(
            "image failed",
            extra={
                "image": failure.image,
                "key": failure.key,
                "error_type": failure.error_type.value,
                "said": failure.message,
                "attempts": failure.attempts,
            },
        )
        if self._told == _MOST_TOLD:
            log.warning("further failed images of this shard are only recorded in the store")


def _workers(task: Task) -> int:
    return resolve_sharding(task.job.spec, 0).workers_per_pod


def _context(task: Task) -> JobContext:
    spec = task.job.spec
    return JobContext(
        job=task.job_id,
        collection=task.collection,
        tiers=resolve_tiers(spec),
        limits=resolve_limits(spec),
        folder_name=task.folder_record.name,
        fence=task.fence,
        batch_size=resolve_sharding(spec, 0).batch_size,
        check_files=spec.skip_check is not SkipCheck.RECORD,
        layout=task.folder_record.layout,
    )


def _handler(task: Task, store: str) -> ImageHandler:
    spec = task.job.spec
    return ImageHandler(
        source=task.source,
        folder=task.folder,
        collection=task.collection,
        tiers=resolve_tiers(spec),
        limits=resolve_limits(spec),
        token=f"{store}-{uuid.uuid4().hex}",  # process ids are the same in every container
        layout=task.folder_record.layout,
    )
