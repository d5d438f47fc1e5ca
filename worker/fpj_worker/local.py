"""The life of a job on one machine: lock, index, plan, process, finish.

The operator drives the same steps through pods; here one process does them all. Whatever ends a run
early, the next one finds the job unfinished, plans again from what is recorded, and ends with the
same files and counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Protocol

from fpj_core.errors import (
    CacheFolderError,
    CacheFolderFullError,
    EnvironmentFaultError,
    FencedError,
    FolderLostError,
    FpjError,
    ImageError,
    LeaseHeldError,
    PolicyError,
    SourceShrankError,
    StoreError,
    StoreUnavailableError,
)
from fpj_core.folders.base import CacheFolder
from fpj_core.leases import local_holder
from fpj_core.model import Counts, Job, Lease, Phase, Shard
from fpj_core.paths import own_folders
from fpj_core.progress import Progress, measure
from fpj_core.sources.filters import Reason
from fpj_core.store.protocol import Store
from fpj_worker.breaker import Outage
from fpj_worker.claiming import Claim, SourceClaim, refuse_own_source
from fpj_worker.eviction import Evictor, current
from fpj_worker.indexer import index_collection, name_nothing
from fpj_worker.localjob import LocalJob
from fpj_worker.locking import LEASE_SECONDS, take_lock
from fpj_worker.planner import Planner, PlanSettings
from fpj_worker.preview import Preview, Previewer, Wanted, Why
from fpj_worker.probe import Probe, may_heal
from fpj_worker.removal import Cleanup, Removed, Remover, asked_by
from fpj_worker.room import Allowance, allowance_for
from fpj_worker.shard import JobContext, Pool, ShardProcessor
from fpj_worker.stopping import InterruptedRunError
from fpj_worker.tasks import ImageHandler, start_image_pool

_PERSIST_SECONDS = 5.0
_SHOW_SECONDS = 0.25
_STOP_GRACE_SECONDS = 10.0
_WAIT_POLL_SECONDS = 0.2


class JobFailedError(FpjError):
    """The job as a whole ended early: too many failed images, or its deadline passed."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class Observer(Protocol):
    """Is notified of what happens, and shows it."""

    def stage(self, name: str) -> None:
        """A stage begins: Index, Check, Plan, Process or Finish."""

    def listed(self, images: int) -> None:
        """So many images have been listed."""

    def progress(self, progress: Progress, errors: Mapping[str, int]) -> None:
        """Where the job stands, several times a second at most."""

    def waiting(self, why: str, left: float) -> None:
        """The source or the cache folder does not work.

        They are waited for, so many seconds more at most.
        """


class LocalRun:
    """One run of one job.

    ``should_stop`` is asked several times a second; once it says yes, images in flight get a few
    seconds, results are recorded, the job is left Suspended and `InterruptedRunError` is raised.
    ``on_left_out`` gets the names of what of the source is left out, some at a time.
    """

    def __init__(
        self,
        store: Store,
        request: LocalJob,
        observer: Observer,
        should_stop: Callable[[], bool] = lambda: False,
        on_left_out: Callable[[Sequence[tuple[Reason, str]]], None] = name_nothing,
    ) -> None:
        self._store = store
        self._request = request
        self._observer = observer
        self._should_stop = should_stop
        self._on_left_out = on_left_out
        self._job = request.job
        self._folder: CacheFolder = request.folder.build()
        self._lease: Lease | None = None
        self._renewed_at = self._shown_at = 0.0
        self._processing_since: float | None = None
        self._unrecorded: Callable[[], Counts] = Counts
        self._before = Counts()
        self._resumed = False
        self._probe = Probe(
            store, request.source, request.folder, request.job.collection, self._own_folders[0]
        )
        self._recorded_done = 0
        self._was_sick = False
        self._source = request.source.build()
        self.removed = Removed()
        """What this run removed."""

    @property
    def _fence(self) -> int:
        return self._lease.fence if self._lease else 0

    @property
    def job(self) -> Job:
        """The job as last recorded."""
        return self._job

    def run(self) -> Job:
        """Run the job to its end and return it as recorded.

        Raises `InterruptedRunError`, `JobFailedError`, `fpj_core.errors.LeaseHeldError` when
        another run holds the collection, `SourceError`, `CacheFolderError`, `StoreError`; and, with
        the job Suspended, `EnvironmentFaultError` when source or cache folder stopped working and
        did not heal in time.
        """
        refuse_own_source(self._request.source, self._request.folder)
        with self._locked():
            self._claim_source().check()
            self._claim_at_first()
            self._accept()
            with self._outcome_recorded():
                self._prepare_patiently()
                self._process()
                return self._finish()

    def preview(self, on_image: Callable[[Why, str], None] | None = None) -> Preview:
        """List and compare, and write nothing (`--dry-run`).

        ``on_image`` gets each image to make, by reason and key.

        Raises what `run` raises before it makes the first image, but for locks: it takes none.
        """
        request = self._request
        refuse_own_source(request.source, request.folder)
        self._claim_source().check()
        self._claim_folder().check()
        self._enter("Index")
        wanted = Wanted(
            self._job.collection,
            request.tiers,
            request.folder_record.name,
            request.check_files,
            request.force,
            asked_by(self._job.name, request.tiers),
            request.vanished_grace,
        )

        def on_step(listed: int) -> None:
            self._observer.listed(listed)
            self._tick()

        previewer = Previewer(self._store, self._folder, wanted, on_image, self._on_left_out)
        return previewer.compare(request.source.build(), on_step)

    def progress(self) -> tuple[Progress, Counts]:
        """Where the job stands, from the store."""
        counts = self._recorded_counts()
        return measure(self._job, counts), self._job.base + counts

    def of_this_run(self) -> Counts:
        """What this run did, apart from what earlier runs of the job did:
        theirs counts as skipped.
        """
        _, counts = self.progress()
        mine = counts - self._before
        return replace(mine, skipped=counts.done - mine.completed - mine.failed)

    def _recorded_counts(self) -> Counts:
        return self._store.job_counts(self._job.id, self._job.planned_attempt)[0]

    def _claim_folder(self) -> Claim:
        request = self._request
        tiers = [tier.name for tier in request.tiers]
        return Claim(self._store, self._folder, request.folder_record, self._job.collection, tiers)

    @property
    def _own_folders(self) -> Sequence[str]:
        request = self._request
        return own_folders(
            request.folder_record.layout,
            self._job.collection,
            [tier.name for tier in request.tiers],
        )

    def _claim_source(self) -> SourceClaim:
        request = self._request
        return SourceClaim(
            self._store, self._job.collection, request.identity, accept=request.accept_source
        )

    # Steps ----------------------------------------------------------------------------------------

    def _claim_at_first(self) -> None:
        """What is refused leaves no job behind.

        What passes by itself is waited for once there is one.
        """
        try:
            self._claim_folder().take()
        except FpjError as error:
            if not may_heal(error, known=False):
                raise
            self._was_sick = True

    def _prepare_patiently(self) -> None:
        """Claim, index and plan; again until source and cache folder work for so long."""
        if (why := self._prepare()) is not None:
            self._was_sick = True
            trouble = EnvironmentFaultError(why)
            self._wait(trouble, Outage(self._request.wait_seconds), self._prepare)

    def _prepare(self) -> str | None:
        """What of the environment came in the way, if anything did."""
        try:
            if self._was_sick:  # another folder may have taken its place
                self._claim_folder().take()
            self._index()
            self._plan()
        except FpjError as error:
            if not self._may_heal(error):
                raise
            return str(error)
        return None

    def _may_heal(self, error: FpjError) -> bool:
        """Whether it is worth waiting. What is mounted again may be empty for a moment."""
        if isinstance(error, SourceShrankError | FolderLostError):
            return self._was_sick
        return may_heal(error, known=self._store.next_ordinal(self._job.collection) > 0)

    def _doubt(self) -> None:
        """Raises `EnvironmentFaultError` if what could not be listed is the fault of the whole
        source.
        """
        if why := self._probe(self._check_stop):
            raise EnvironmentFaultError(why)

    def _accept(self) -> None:
        self._store.upsert_folder(self._request.folder_record)
        stored = self._store.create_job(self._job)
        self._resumed = stored.started_at is not None
        now = time.time()
        self._job = self._store.update_job(
            replace(
                stored,
                phase=Phase.INDEXING,
                reason="",
                message="",
                started_at=stored.started_at or now,
                finished_at=None,
                last_progress_at=now,
            )
        )

    def _index(self) -> None:
        self._enter("Index")
        collection = self._job.collection
        self._folder.sweep(self._own_folders, self._store.identity())

        def on_progress(listed: int) -> None:
            self._observer.listed(listed)
            self._tick()

        found = index_collection(
            self._store,
            self._source,
            collection,
            on_progress,
            fence=self._fence,
            accept_vanished=self._request.accept_vanished,
            before_first=lambda: self._claim_source().take(self._fence),
            in_doubt=self._doubt,
            on_left_out=self._on_left_out,
        )
        self._job = replace(self._job, left_out=found.left_out)

    def _plan(self) -> None:
        attempt = self._job.planned_attempt + 1
        planned = self._planner().plan(self._job, attempt, resumed=self._resumed)
        self._job = self._store.update_job(
            replace(
                self._job,
                phase=Phase.RUNNING,
                total=planned.total,
                base=planned.base,
                planned_attempt=attempt,
                planned_shards=planned.shards,
                made_before=planned.made_before,
                active_seconds=0.0,
            )
        )
        _, self._before = self.progress()
        self._store.delete_attempts(self._job.id, attempt, self._tick)

    def _planner(self) -> Planner:
        request = self._request
        settings = PlanSettings(
            tiers=request.tiers,
            folder_name=request.folder_record.name,
            shard_size=request.shard_size,
            check_files=request.check_files,
            force=request.force,
            layout=request.folder_record.layout,
        )
        return Planner(
            self._store, self._folder, self._job.collection, settings, self._enter, self._tick
        )

    def _process(self) -> None:
        self._enter("Process")
        self._processing_since = time.monotonic()
        # Whoever looks on counts the time from here.
        self._job = self._store.update_job(self._timed())
        outage = Outage(self._request.wait_seconds)
        while (trouble := self._work()) is not None:
            if not isinstance(trouble, CacheFolderFullError):
                self._wait(trouble, outage, self._probe_and_take_back)
            elif (why := self._make_room()) is not None:
                self._wait(CacheFolderFullError(why), outage, self._make_room)
            self._observer.stage("Process")

    def _work(self) -> EnvironmentFaultError | None:
        """All shards, one after another; or what of the environment came in the way."""
        try:
            self._work_off()
        except EnvironmentFaultError as error:
            return error
        return None

    def _work_off(self) -> None:
        holder = self._holder
        shard = self._claim(holder)
        if shard is None:
            return
        with self._pool() as pool, self._room() as allowance:
            processor = ShardProcessor(
                self._store,
                pool,
                self._folder,
                self._context(),
                self._tick,
                # The store may be on the same full disk.
                probe=lambda _tick: self._probe(self._check_stop),
                allowance=allowance,
            )
            while shard is not None:
                self._unrecorded = lambda: processor.unrecorded
                try:
                    processor.complete(shard, lambda: _STOP_GRACE_SECONDS)
                finally:
                    self._unrecorded = Counts
                shard = self._claim(holder)
            self.removed += processor.removed

    @contextmanager
    def _room(self) -> Iterator[Allowance | None]:
        """What may be written to a folder that has a limit."""
        request = self._request
        allowance = allowance_for(
            self._store,
            request.folder_record,
            self._holder,
            self._job.collection,
            request.tiers,
            request.batch_size,
        )
        if allowance is None:
            yield None
            return
        try:
            yield allowance
        finally:
            with suppress(StoreError):  # it lapses by itself
                allowance.release()

    def _make_room(self) -> str | None:
        """Evict what may go; why an image has no room even then."""
        record = current(self._store, self._request.folder_record)
        try:
            evicted = Evictor(self._store, self._folder, record, self._tick_waiting).run()
        except LeaseHeldError:
            pass  # another run makes room at this moment
        except FencedError:
            raise
        except (PolicyError, CacheFolderError, ImageError, StoreError) as error:
            return str(error)
        else:
            self.removed += evicted.removed
        with self._room() as allowance:
            if allowance is None or allowance.take():
                return self._take_back()
            return str(allowance.refusal())

    def _wait(
        self, trouble: EnvironmentFaultError, outage: Outage, ask: Callable[[], str | None]
    ) -> None:
        """Until ``ask`` finds nothing wrong.

        Raises an error of the kind of ``trouble`` when the environment is given up.
        """
        why = str(trouble)
        began = time.monotonic()
        with suppress(StoreUnavailableError):
            self._recorded_done = self.progress()[1].done
        outage.begin(began, self._recorded_done)
        self._note_wait(trouble.reason, why)
        try:
            while True:
                self._pause(type(trouble), why, outage)
                why = ask() or ""
                if not why:
                    break
        finally:
            if self._processing_since is not None:
                # This time does not count as work.
                self._processing_since += time.monotonic() - began
        self._note_wait("", "")

    def _pause(self, kind: type[EnvironmentFaultError], why: str, outage: Outage) -> None:
        until = time.monotonic() + outage.pause()
        while (now := time.monotonic()) < until:
            if not (left := outage.left(now)):
                raise kind(why)
            self._observer.waiting(why, left)
            time.sleep(_WAIT_POLL_SECONDS)
            self._tick_waiting()

    def _probe_and_take_back(self) -> str | None:
        return self._probe(self._check_stop) or self._take_back()

    def _take_back(self) -> str | None:
        """The shards that could not be handed back while the store was away.

        Why that cannot be done yet.
        """
        try:
            self._store.release_shards(self._job.id, self._job.planned_attempt)
        except StoreUnavailableError as error:
            return str(error)
        return None

    def _note_wait(self, reason: str, message: str) -> None:
        """For whoever asks how the job is."""
        self._job = replace(self._job, reason=reason, message=message)
        with suppress(StoreUnavailableError):
            self._job = self._store.update_job(self._timed())

    def _tick_waiting(self) -> None:
        """As `_tick`; a store that is away, too, as on the same full disk,
        is part of what is waited for.
        """
        self._check_stop()
        self._check_bounds(0)
        now = time.monotonic()
        if now - self._renewed_at >= _PERSIST_SECONDS and self._lease:
            self._renewed_at = now
            with suppress(StoreUnavailableError):
                self._lease = self._store.renew_lease(self._lease, LEASE_SECONDS, self._store.now())

    @property
    def _holder(self) -> str:
        return local_holder(self._job.id)

    def _check_stop(self) -> None:
        if self._should_stop():
            raise InterruptedRunError("interrupted")

    def _claim(self, holder: str) -> Shard | None:
        return self._store.claim_shard(
            self._job.id, self._job.planned_attempt, holder, self._store.now()
        )

    def _finish(self) -> Job:
        self._enter("Finish")
        self._remove()
        self._store.refresh_folder(self._request.folder_record.name)
        _, counts = self.progress()
        self._check_bounds(counts.failed)  # images may have failed since progress was last shown
        phase = Phase.COMPLETED_WITH_ERRORS if counts.failed else Phase.COMPLETED
        self._end(phase, "ImagesFailed" if counts.failed else "AllImagesDone")
        return self._job

    def _remove(self) -> None:
        """What the collection no longer needs.

        Where that cannot be removed now, the job is done anyway, and its next run tries again.
        """
        name = self._request.folder_record.name
        remover = Remover(self._store, self._folder, name, self._job.collection, self._tick)
        asked = asked_by(self._job.name, self._request.tiers)
        cleanup = Cleanup(asked, self._request.vanished_grace, self._source.leaves_out)
        remover.start(cleanup, self._fence)
        try:
            self.removed += remover.finish()
        except (CacheFolderError, ImageError) as error:
            self.removed += Removed(troubles={name: str(error)})

    # Around the steps -----------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the collection's lease; a dead process's lease on this machine is broken first."""
        self._lease = take_lock(self._store, self._job.collection, self._job.id)
        try:
            yield
        finally:
            self._store.release_lease(self._lease)

    @contextmanager
    def _outcome_recorded(self) -> Iterator[None]:
        """Never leave a job that looks Running behind, as far as the store can still be written."""
        try:
            yield
        except InterruptedRunError as error:
            self._end(Phase.SUSPENDED, "Interrupted", str(error))
            raise
        except EnvironmentFaultError as error:
            self._end(Phase.SUSPENDED, error.reason, str(error))
            raise
        except JobFailedError as error:
            self._end(Phase.FAILED, error.reason, str(error))
            raise
        except FencedError:
            raise
        except FpjError as error:
            self._end(Phase.FAILED, type(error).__name__.removesuffix("Error"), str(error))
            raise

    def _end(self, phase: Phase, reason: str, message: str = "") -> None:
        # A child that was killed may have left part of a file.
        self._folder.sweep(self._own_folders, self._store.identity())
        self._job = self._store.update_job(
            replace(
                self._timed(),
                phase=phase,
                reason=reason,
                message=message,
                finished_at=time.time() if phase.finished else None,
            )
        )
        self._show()

    def _enter(self, stage: str) -> None:
        if not (self._was_sick and stage == "Index"):  # each try to list again is part of the wait
            self._observer.stage(stage)
        self._job = replace(self._job, stage=stage)
        self._tick()

    def _tick(self) -> None:
        """Look whether to stop, keep the lease, show and persist progress.

        Each as often as it needs.
        """
        self._check_stop()
        now = time.monotonic()
        if now - self._renewed_at >= _PERSIST_SECONDS and self._lease:
            self._lease = self._store.renew_lease(self._lease, LEASE_SECONDS, self._store.now())
            self._renewed_at = now
            if self._processing_since is not None:
                self._job = self._store.update_job(self._timed())
        if self._processing_since is not None and now - self._shown_at >= _SHOW_SECONDS:
            self._shown_at = now
            self._show()

    def _show(self) -> None:
        """The figures of now: images that wait to be recorded are done,
        and the clock has gone on.
        """
        recorded = self._recorded_counts()
        counts = recorded + self._unrecorded()
        self._observer.progress(measure(self._timed(), counts), (self._job.base + counts).errors)
        self._check_bounds((self._job.base + recorded).failed)

    def _timed(self) -> Job:
        """The job with the time it has been processing."""
        if self._processing_since is None:
            return self._job
        return replace(
            self._job,
            active_seconds=time.monotonic() - self._processing_since,
            last_progress_at=time.time(),
        )

    def _check_bounds(self, failed: int) -> None:
        request, job = self._request, self._job
        if job.phase is not Phase.RUNNING:
            return
        bound = request.max_failed(job.total)
        if bound is not None and failed > bound:
            raise JobFailedError(
                "TooManyFailedImages", f"{failed} images failed, maxFailedImages allows {bound}"
            )
        if (
            request.deadline_seconds
            and job.started_at
            and time.time() - job.started_at > request.deadline_seconds
        ):
            raise JobFailedError(
                "DeadlineExceeded", f"activeDeadlineSeconds ({request.deadline_seconds:g}) passed"
            )

    def _context(self) -> JobContext:
        request = self._request
        return JobContext(
            job=self._job.id,
            collection=self._job.collection,
            tiers=request.tiers,
            limits=request.limits,
            folder_name=request.folder_record.name,
            fence=self._fence,
            batch_size=request.batch_size,
            check_files=request.check_files,
            layout=request.folder_record.layout,
        )

    def _pool(self) -> Pool:
        request = self._request
        handler = ImageHandler(
            source=request.source,
            folder=request.folder,
            collection=self._job.collection,
            tiers=request.tiers,
            limits=request.limits,
            token=f"{self._store.identity()}-{self._job.id}-{os.getpid()}",
            layout=request.folder_record.layout,
        )
        return start_image_pool(handler, request.workers)
