"""What should happen to a job now: from what is observed to a plan. Pure, and safe to ask again at any time.

A job's way is: Pending (for a cache folder, a slot, its collection's lock) -> Indexing -> Running -> Completed,
CompletedWithErrors or Failed. Whatever disturbs it (suspension, a lost lease, silence, a resume) ends the attempt and
leads back to Pending; the next attempt locks, indexes and plans anew, and finds done what is done. So there is one
road, and every interruption takes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fpj_core import names
from fpj_core.exits import Reason
from fpj_core.formatting import count, moment
from fpj_core.model import Counts, Phase, ShardState
from fpj_core.status import NO_TIME, status_document
from fpj_core.v1alpha1 import resolve_max_failed, resolve_recovery
from fpj_operator.children import WAVE, index_job, reporting_rights, shards_job, workers_report
from fpj_operator.conditions import Verdict, operator_status, seconds_of, seen_status
from fpj_operator.settings import OperatorSettings
from fpj_operator.state import (
    Apply,
    Attempt,
    ChildJob,
    DeleteChildren,
    DeleteResource,
    Emit,
    FenceShards,
    Observed,
    Plan,
    RecordJob,
    RefreshFolder,
    ReleaseLease,
    RenewLease,
    Step,
)
from fpj_operator.trouble import WAITS_FOR_OTHERS

_WAIT_SECONDS = 10.0
_QUEUE_SECONDS = 60.0
"""A queued job is woken when its turn comes; this only brings its place in the queue up to date."""
_TROUBLE_SECONDS = 5.0
"""What keeps a job from moving may end at any time, and no event tells of it."""
_ROUND_PLACES = (10_000, 5_000, 2_000, 1_000, 500, 200, 100, 50, 20, 10)
_ALERT_EVERY = 10
_ACTIVE = frozenset({Phase.INDEXING, Phase.RUNNING})
_MAY_HEAL = frozenset({Reason.STORE_UNAVAILABLE.value, Reason.SHARD_HELD.value})
"""Why pods may have used up their retries although the next attempt can succeed."""


def reconcile(observed: Observed, settings: OperatorSettings) -> Plan:
    """Decide. Raises nothing: what is wrong with a job becomes part of its status."""
    decision = _Decision(observed, settings)
    plan = decision.plan()
    return replace(plan, steps_after=(*plan.steps_after, *decision.not_understood()))


@dataclass(frozen=True, slots=True)
class _Decision:
    o: Observed
    settings: OperatorSettings

    def plan(self) -> Plan:  # noqa: PLR0911 - a table of cases, the first that holds decides
        o = self.o
        if o.deleting:
            return Plan()
        resumed = bool(o.resume) and o.resume != o.attempt.resumed_by
        if o.phase.finished and not resumed:
            return self._after_the_end()
        if o.job is None:
            return self._invalid()
        if o.job.spec.suspend:
            return self._suspend()
        if o.store.error is not None:
            return self._store_unreachable(o.store.error)
        if resumed and o.phase in _ACTIVE:
            return self._recover(attempts=0, reason="Resumed", message="recovered on request")
        if o.phase not in _ACTIVE:
            return self._start()
        if not o.lease.held_by(o.uid, o.now):
            return self._lease_lost()
        return self._bounds() or (self._indexing() if o.phase is Phase.INDEXING else self._running())

    def _invalid(self) -> Plan:
        """Nothing is known of the job but that its spec is invalid: what runs goes on, what has not begun fails."""
        o = self.o
        if o.attempt.number and not o.phase.finished:
            return Plan(requeue_after=_WAIT_SECONDS)
        return self._fail("InvalidSpec", o.problem or "the spec is invalid")

    def not_understood(self) -> tuple[Step, ...]:
        """A word to whoever changed the spec of a running job to what this version does not understand, once."""
        o = self.o
        if not o.problem or not o.attempt.number or o.phase.finished or o.deleting:
            return ()
        text = f"the job goes on by its earlier spec; generation {o.generation} is not understood: {o.problem}"
        return (Emit("InvalidSpec", text, warning=True, unique=f"spec-{o.generation}"),)

    # Before and between attempts --------------------------------------------------------------------------

    def _start(self) -> Plan:
        o = self.o
        if o.folder is None:
            return self._wait("NoCacheFolder", o.folder_problem or "there is no cache folder", _WAIT_SECONDS)
        if not o.slot_free and o.phase is not Phase.RECOVERING:
            limit = self.settings.max_concurrent_jobs
            return self._wait(
                "Queued",
                f"waits for one of {limit} slots of the namespace; {_place(o.ahead)} wait before it",
                _QUEUE_SECONDS,
            )
        if o.lease.held_by_another(o.uid, o.now):
            holder = o.lease.holder_name or o.lease.holder
            text = f"{holder} is at work on the collection"
            return self._wait("CollectionLocked", text, _WAIT_SECONDS, lock_message=text)
        if not o.lease.held_by(o.uid, o.now):
            return Plan(wants_lease=True)
        fresh = o.phase is not Phase.RECOVERING and bool(o.resume) and o.resume != o.attempt.resumed_by
        attempt = Attempt(
            number=o.attempt.number + 1,
            started_at=o.now,
            resumed_by=o.resume,
            cache_folder=o.folder.metadata.name,
            fence=o.lease.fence,
        )
        verdict = Verdict(Phase.INDEXING, "Indexing", "listing the source", "Index", locked=True)
        # As with batch/v1 Jobs, a deadline does not count what was before a suspension.
        before = None if fresh or o.phase is Phase.SUSPENDED else o.status.get("startTime")
        status = operator_status(
            o, verdict, attempt, start=before or moment(o.now), recovery_attempts=0 if fresh else None
        )
        rights = reporting_rights(o) if workers_report(o, self.settings) else []
        child = index_job(o, o.folder, attempt, self.settings)
        # The status first: children that it does not know would be applied again, with another fence, and refused.
        return Plan(
            status=status,
            steps_first=(
                RecordJob(Phase.INDEXING, "", "", attempt.number),
                DeleteChildren(o.attempt.number),
            ),
            steps_after=(
                *[Apply(manifest) for manifest in (*rights, child)],
                Emit("Indexing", f"attempt {attempt.number}: listing the source"),
            ),
            requeue_after=self.settings.check_seconds,
        )

    def _wait(self, reason: str, message: str, seconds: float, lock_message: str = "") -> Plan:
        verdict = Verdict(Phase.PENDING, reason, message, "", lock_message=lock_message)
        if self.o.phase is Phase.RECOVERING:
            verdict = replace(verdict, phase=Phase.RECOVERING, trouble=(reason, message))
        return Plan(status=operator_status(self.o, verdict, self.o.attempt), requeue_after=seconds)

    def _suspend(self) -> Plan:
        o = self.o
        verdict = Verdict(Phase.SUSPENDED, "Suspended", "spec.suspend is true")
        at_work = o.phase.active
        steps: tuple[Step, ...] = ()
        if at_work and o.store.error is None:
            steps = (RecordJob(Phase.SUSPENDED, "Suspended", "", o.attempt.number), FenceShards())
        told = (Emit("Suspended", "work is stopped; what is done is kept"),) if o.phase is not Phase.SUSPENDED else ()
        release: tuple[Step, ...] = (ReleaseLease(),) if o.lease.holder == o.uid else ()
        return Plan(
            status=operator_status(o, verdict, o.attempt, progress=self._without_eta()),
            steps_first=steps + ((DeleteChildren(o.attempt.number),) if self._live_children() else ()),
            steps_after=release + told,
        )

    def _lease_lost(self) -> Plan:
        """Someone else may work on the collection: whoever of ours still does is fenced, and we queue again."""
        o = self.o
        message = "the collection's lease was lost"
        noted = RecordJob(Phase.RECOVERING, "LeaseLost", message, o.attempt.number)
        verdict = Verdict(Phase.RECOVERING, "LeaseLost", message, trouble=("LeaseLost", message))
        return Plan(
            status=operator_status(o, verdict, o.attempt),
            steps_first=(noted, FenceShards(), DeleteChildren(o.attempt.number)),
            steps_after=(Emit("LeaseLost", f"{message}; locking it again", warning=True),),
            again=True,
        )

    def _recover(self, *, attempts: int, reason: str, message: str) -> Plan:
        o = self.o
        verdict = Verdict(Phase.RECOVERING, reason, message, locked=o.lease.held_by(o.uid, o.now))
        noted = RecordJob(Phase.RECOVERING, reason, message, o.attempt.number)
        return Plan(
            status=operator_status(o, verdict, o.attempt, recovery_attempts=attempts),
            steps_first=(noted, FenceShards(), DeleteChildren(o.attempt.number)),
            steps_after=(Emit("Recovering", message, warning=reason == "StaleJob"),),
            again=True,
        )

    def _recover_or_fail(self, reason: str, message: str, why: str = "") -> Plan:
        """Another attempt, while ``recovery.maxAttempts`` allows one."""
        before = int(self.o.status.get("recoveryAttempts", 0))
        most = resolve_recovery(self.o.job.spec).max_attempts if self.o.job else 0
        if before >= most:
            return self._fail(reason, f"{message} after {before} recoveries{': ' if why else ''}{why}")
        return self._recover(attempts=before + 1, reason=reason, message=f"{message}; recovery {before + 1} of {most}")

    def _store_unreachable(self, error: str) -> Plan:
        o = self.o
        if o.phase.active:
            verdict = Verdict(
                o.phase,
                "StoreUnavailable",
                error,
                str(o.status.get("stage", "")),
                locked=True,
                trouble=("StoreUnavailable", error),
            )
            return Plan(status=operator_status(o, verdict, o.attempt), requeue_after=_WAIT_SECONDS)
        return self._wait("StoreUnavailable", error, _WAIT_SECONDS)

    # An attempt -------------------------------------------------------------------------------------------

    def _bounds(self) -> Plan | None:
        """Deadline, failed images, silence: each ends the attempt."""
        o = self.o
        spec = o.job.spec if o.job else None
        if spec is None:
            return None
        started = seconds_of(o.status.get("startTime"))
        if spec.active_deadline_seconds and o.now - started > spec.active_deadline_seconds:
            return self._fail("DeadlineExceeded", f"activeDeadlineSeconds ({spec.active_deadline_seconds}) passed")
        total = o.store.record.total if o.store.record else 0
        failed = self._counts().failed
        allowed = resolve_max_failed(spec, total)
        if o.phase is Phase.RUNNING and allowed is not None and failed > allowed:
            text = f"{count(failed)} images failed; maxFailedImages allows {count(allowed)}"
            return self._fail("TooManyFailedImages", text)
        trouble, moving = self._trouble(), self._moving()
        if (trouble and trouble[0] in WAITS_FOR_OTHERS) or moving.get("reason") in WAITS_FOR_OTHERS:
            return None  # it may not work, or may again only as of now
        silent = o.now - self._last_progress()
        recovery = resolve_recovery(spec)
        limit = float(recovery.stale_after_seconds)
        if self.settings.stale_after_floor:
            limit = min(limit, self.settings.stale_after_floor)
        if silent <= limit:
            return None
        return self._recover_or_fail("StaleJob", f"no progress for {silent:.0f} s", trouble[1] if trouble else "")

    def _indexing(self) -> Plan:
        o = self.o
        planned = o.store.record is not None and o.store.record.planned_attempt == o.attempt.number
        child = self._child(names.ROLE_INDEX, 0)
        if planned:
            return self._begin_running()
        if child is None:
            return self._apply_index()
        if child.failed:
            reason, message = child.trouble or ("IndexFailed", "the index Job failed")
            return (self._recover_or_fail if reason in _MAY_HEAL else self._fail)(reason, message)
        if child.complete:
            return self._fail("IndexFailed", "the index Job ended without a plan")
        verdict = self._at_work(Verdict(Phase.INDEXING, "Indexing", "listing the source", "Index", locked=True), child)
        return self._keep_going(verdict)

    def _apply_index(self) -> Plan:
        o = self.o
        if o.folder is None:
            return self._fail("NoCacheFolder", o.folder_problem or "the cache folder is gone")
        verdict = Verdict(Phase.INDEXING, "Indexing", "listing the source", "Index", locked=True)
        rights = reporting_rights(o) if workers_report(o, self.settings) else []
        child = index_job(o, o.folder, o.attempt, self.settings)
        return replace(self._keep_going(verdict), steps_first=tuple(Apply(each) for each in (*rights, child)))

    def _begin_running(self) -> Plan:
        o = self.o
        if o.store.total_shards == 0 or self._all_succeeded():
            return self._finish()
        plan = self._running(Phase.RUNNING)
        images = count(o.store.record.total if o.store.record else 0)
        event = Emit("Running", f"{images} images listed, {count(o.store.total_shards)} shards to work on")
        return replace(plan, steps_after=(*plan.steps_after, event))

    def _running(self, phase: Phase = Phase.RUNNING) -> Plan:
        o = self.o
        if self._all_succeeded():
            return self._finish()
        waves = max(1, math.ceil(o.store.total_shards / WAVE))
        jobs = [self._child(names.ROLE_SHARDS, wave) for wave in range(waves)]
        # The latest wave there is, or the one after it: an earlier one that is missing ended long ago.
        latest = max((wave for wave, child in enumerate(jobs) if child is not None), default=-1)
        done = latest >= 0 and (last := jobs[latest]) is not None and last.finished
        current = latest + 1 if done or latest < 0 else latest
        if current == waves:
            return self._shards_failed(jobs)
        child = jobs[current]
        verdict = Verdict(
            phase,
            "Running",
            f"working on {count(o.store.total_shards)} shards",
            "Process",
            locked=True,
        )
        plan = self._keep_going(self._at_work(verdict, child))
        if child is None:
            if o.folder is None:
                return self._fail("NoCacheFolder", o.folder_problem or "the cache folder is gone")
            wanted = shards_job(o, o.folder, o.attempt, self.settings, current, o.store.total_shards)
            plan = replace(plan, steps_first=(Apply(wanted), *plan.steps_first))
        return plan

    def _keep_going(self, verdict: Verdict) -> Plan:
        o = self.o
        report = {} if o.job is None or workers_report(o, self.settings) else self._progress()
        renew: tuple[Step, ...] = ()
        if o.lease.expires_at - o.now < self.settings.lease_seconds * 2 / 3:
            renew = (RenewLease(),)
        return Plan(
            status=operator_status(o, verdict, o.attempt, progress=report),
            steps_first=renew,
            steps_after=self._alerts(),
            requeue_after=min(self.settings.check_seconds, _TROUBLE_SECONDS if verdict.trouble else math.inf),
        )

    def _alerts(self) -> tuple[Step, ...]:
        """An event at every tenth failed image; its name makes sure that each is written once."""
        o = self.o
        failed = self._counts().failed
        if failed < _ALERT_EVERY:
            return ()
        tens = failed // _ALERT_EVERY * _ALERT_EVERY
        errors = ", ".join(f"{name} {count(number)}" for name, number in sorted(self._counts().errors.items()))
        text = f"{count(failed)} images have failed: {errors}"
        return (Emit("ImagesFailing", text, warning=True, unique=f"{o.attempt.number}-{tens}"),)

    # Ends -------------------------------------------------------------------------------------------------

    def _finish(self) -> Plan:
        counts = self._counts()
        if counts.failed:
            phase, reason = Phase.COMPLETED_WITH_ERRORS, "ImagesFailed"
        else:
            phase, reason = Phase.COMPLETED, "AllImagesDone"
        text = f"{count(counts.completed)} made, {count(counts.skipped)} up to date, {count(counts.failed)} failed"
        return self._end(Verdict(phase, reason, text, "Finish"))

    def _shards_failed(self, jobs: list[ChildJob | None]) -> Plan:
        o = self.o
        left = o.store.total_shards - o.store.shards.get(ShardState.SUCCEEDED, 0)
        reason, message = next((job.trouble for job in jobs if job and job.trouble), ("ShardsFailed", ""))
        text = f"{count(left)} of {count(o.store.total_shards)} shards failed{': ' if message else ''}{message}"
        return (self._recover_or_fail if reason in _MAY_HEAL else self._fail)(reason, text)

    def _fail(self, reason: str, message: str) -> Plan:
        return self._end(Verdict(Phase.FAILED, reason, message, str(self.o.status.get("stage", ""))))

    def _end(self, verdict: Verdict) -> Plan:
        o = self.o
        failed = verdict.phase is Phase.FAILED
        known = o.store.error is None and o.store.record is not None and o.job is not None
        first: tuple[Step, ...] = ()
        if known:
            record = RecordJob(verdict.phase, verdict.reason, verdict.message, o.attempt.number)
            first = (record, *((FenceShards(),) if failed else ()))
        if known and o.attempt.cache_folder and not failed:
            first += (RefreshFolder(o.attempt.cache_folder),)
        release: tuple[Step, ...] = (ReleaseLease(),) if o.lease.holder == o.uid else ()
        gone: tuple[Step, ...] = (DeleteChildren(o.attempt.number),) if failed and self._live_children() else ()
        attempt = replace(o.attempt, resumed_by=o.resume)
        return Plan(
            status=operator_status(o, verdict, attempt, progress=self._progress(at_rest=True) or self._without_eta()),
            steps_first=first + gone,
            steps_after=(*release, *self._alerts(), Emit(verdict.phase.value, verdict.message, warning=failed)),
            again=self._ttl() is not None,
        )

    def _after_the_end(self) -> Plan:
        o = self.o
        steps: tuple[Step, ...] = (ReleaseLease(),) if o.lease.holder == o.uid else ()
        status = None
        if o.status.get("observedGeneration") != o.generation and (o.job or o.phase is Phase.FAILED):
            status = seen_status(o)
            text = "the job has finished: what is changed counts when it is begun again, by the annotation"
            steps = (*steps, Emit("NotBegunAgain", f"{text} {names.RESUME_ANNOTATION}"))
        ttl = self._ttl()
        if ttl is None:
            return Plan(status=status, steps_after=steps)
        left = seconds_of(o.status.get("completionTime")) + ttl - o.now
        if left <= 0:
            return Plan(steps_after=(*steps, DeleteResource()))
        return Plan(status=status, steps_after=steps, requeue_after=left)

    # Looking ----------------------------------------------------------------------------------------------

    def _ttl(self) -> int | None:
        return self.o.job.spec.ttl_seconds_after_finished if self.o.job else None

    def _child(self, role: str, wave: int) -> ChildJob | None:
        o = self.o
        return next(
            (
                child
                for child in o.children
                if (child.role, child.attempt, child.wave) == (role, o.attempt.number, wave) and not child.deleting
            ),
            None,
        )

    def _live_children(self) -> bool:
        return any(not child.finished and not child.deleting for child in self.o.children)

    def _trouble(self) -> tuple[str, str] | None:
        return next((child.trouble for child in self.o.children if child.trouble and not child.deleting), None)

    def _at_work(self, verdict: Verdict, child: ChildJob | None) -> Verdict:
        """With what keeps the child's pods, or some of them, from working."""
        if child is None:
            return verdict
        recorded = self.o.store.record.last_progress_at if self.o.store.record else None
        over = 0 < child.trouble_since < (recorded or 0.0)  # what the pods did since is newer than how one ended
        return replace(verdict, trouble=None if over else child.trouble, delay=child.delay)

    def _moving(self) -> Mapping[str, Any]:
        """The condition Progressing as it was last written."""
        return next((each for each in self.o.status.get("conditions", []) if each["type"] == "Progressing"), {})

    def _all_succeeded(self) -> bool:
        shards = self.o.store.shards
        return self.o.store.total_shards == shards.get(ShardState.SUCCEEDED, 0)

    def _counts(self) -> Counts:
        return self.o.store.counts

    def _last_progress(self) -> float:
        o = self.o
        recorded = o.store.record.last_progress_at if o.store.record else None
        told = seconds_of(o.status.get("lastProgressAt"))
        return max(told, recorded or 0.0, o.attempt.started_at, seconds_of(self._moving().get("lastTransitionTime")))

    def _progress(self, *, at_rest: bool = False) -> dict[str, Any]:
        """Progress as the status has it."""
        store = self.o.store
        if store.record is None or store.progress is None:
            return {}
        moved = store.record.last_progress_at
        return status_document(store.progress, store.counts, store.shards, moved, at_rest=at_rest)

    def _without_eta(self) -> dict[str, Any]:
        """What was last printed of progress, for a job that is not getting on with it."""
        shown = self.o.status.get("display")
        return {"display": {**shown, "eta": NO_TIME}} if shown else {}


def _place(ahead: int) -> str:
    """Jobs that go first: in round numbers where there are many, or every job that ends would change all statuses."""
    above = next((places for places in _ROUND_PLACES if ahead > places), None)
    return str(ahead) if above is None else f"more than {count(above)}"
