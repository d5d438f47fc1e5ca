"""What should happen to a job now: from what is observed to a plan.

Pure, and safe to ask again at any time.

A job goes through: Pending (for a cache folder, a slot, its collection's lock) -> Indexing ->
Running -> Completed, CompletedWithErrors or Failed. Whatever interrupts it (suspension, a lost
lease, silence, a resume) ends the attempt and leads back to Pending; the next attempt locks,
indexes and plans again, and finds done what is done. So there is one code path, and every
interruption takes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fpj_core.formatting import count, moment, seconds_of
from fpj_core.kube import names
from fpj_core.kube.exits import Reason
from fpj_core.kube.names import WAVE
from fpj_core.kube.status import NO_TIME, status_document
from fpj_core.model import Counts, Phase, ShardState
from fpj_core.overlap import overlap_of_places
from fpj_core.v1alpha1 import (
    CacheFolder,
    DeletionPolicy,
    resolve_max_failed,
    resolve_pre_running_deadline,
    resolve_recovery,
    resolve_sharding,
)
from fpj_operator.conditionlist import condition
from fpj_operator.emit import Emit
from fpj_operator.jobs.children import (
    index_job,
    reporting_rights,
    shards_job,
    template_of,
    workers_report,
)
from fpj_operator.jobs.conditions import Verdict, last_progress, operator_status, seen_status
from fpj_operator.jobs.evidence import Finding, evidence
from fpj_operator.jobs.queue import NO_SLOT, queue_words, takes_slot
from fpj_operator.jobs.shape import begun_by, fits, spec_digest
from fpj_operator.jobs.state import (
    Apply,
    Attempt,
    ChildJob,
    DeleteChildren,
    DeleteResource,
    DeleteRights,
    FenceShards,
    MarkFiles,
    Observed,
    Plan,
    RecordEnd,
    RecordJob,
    RefreshFolder,
    Rejected,
    ReleaseLease,
    RenewLease,
    Step,
    SuspendChild,
)
from fpj_operator.jobs.templatepolicy import violations
from fpj_operator.settings import OperatorSettings

_WAIT_SECONDS = 10.0
_PODS_SECONDS, _OTHERS_SECONDS = 1.0, 2.0
_QUEUE_SECONDS = 60.0
"""A job is woken when the cache folders of its namespace change, and jobs in line are by the queue,
when it is time.
"""
_TROUBLE_SECONDS = 5.0
"""What blocks a job may end at any time, without an event."""
_SOONEST_TRY, _LATEST_TRY = 2.0, 12.0
"""Seconds between two tries of a child object that the API server rejects:
half of the time since it began to.
"""
_LINGER_SECONDS = 10.0
"""That the last pods of a completed job have to end by themselves."""
_AFTERMATH_SECONDS = 3_600.0
"""For so long after its end, a job whose store is away waits to be tidied up."""
_ALERT_EVERY = 10
_STOPPED: Mapping[str, Mapping[str, Any]] = {
    "progress": {"imagesPerSecond": 0.0},
    "display": {"rate": NO_TIME, "eta": NO_TIME},
    "shards": {"active": 0},
}
_ACTIVE = frozenset({Phase.INDEXING, Phase.RUNNING})
_FULL = Reason.CACHE_FOLDER_FULL.value
_SICK = frozenset({Reason.ENVIRONMENT_FAULT.value, _FULL})
_MAY_HEAL = _SICK | {
    Reason.STORE_UNAVAILABLE.value,
    Reason.SHARD_HELD.value,
    Reason.FENCED.value,
}
"""Why pods may have used up their retries although the next attempt can succeed."""


def reconcile(observed: Observed, settings: OperatorSettings) -> Plan:
    """Decide. Raises nothing: whatever is wrong with a job becomes part of its status."""
    if (mark := _mark(observed)) is not None:
        return Plan(steps_first=(mark,), again=True)  # alone: it changes the resource's version
    decision = _Decision(_without_own_holds(observed), settings)
    plan = decision.renewed_first(decision.plan())
    return replace(plan, steps_after=(*plan.steps_after, *decision.not_understood()))


@dataclass(frozen=True, slots=True)
class _Decision:
    o: Observed
    settings: OperatorSettings
    finding: Finding = Finding.UNPLANNED

    def plan(self) -> Plan:  # noqa: PLR0911 - a table of cases, the first that holds decides
        o = self.o
        if o.deleting:
            return self._cancelled() if o.marked and not o.phase.finished else Plan()
        resumed = bool(o.resume) and o.resume != o.attempt.resumed_by
        if o.phase.finished and not resumed:
            return self._after_the_end()
        if o.job is None:
            return self._invalid()
        if o.job.spec.suspend:
            return self._suspend()
        if forbidden := violations(template_of(o), self.settings):
            return self._fail("PolicyForbidden", "; ".join(forbidden))
        if o.store.error is not None and o.phase.active:
            return self._store_unreachable(o.store.error)
        if resumed and o.phase in _ACTIVE:
            return self._recover(attempts=0, reason="Resumed", message="recovered on request")
        return self._attempt() if o.phase in _ACTIVE else self._start()

    def _cancelled(self) -> Plan:
        """The end of a job that is deleted and waits for the removal of its files.

        Its pods get their grace period first: what they have written and not recorded, no removal
        would find. See `fpj_operator.jobs.deletion` for what follows.
        """
        if self.o.store.error is not None:  # its workers must be fenced in the end
            return Plan(requeue_after=_WAIT_SECONDS)
        if self._live_children():
            stop = DeleteChildren(self.o.latest_attempt, finished_too=False)
            return Plan(steps_first=(stop,), requeue_after=_PODS_SECONDS)
        if self.o.pods_left:
            return Plan(requeue_after=_PODS_SECONDS)
        text = "the job is being deleted, and the files that were made of its collection with it"
        return self._end(Verdict(Phase.CANCELLED, "Deleted", text))

    def renewed_first(self, plan: Plan) -> Plan:
        """With the lease renewed, where that is due, before any step that may fail:
        else retries would cost it.

        One that has lapsed, too: while the API server was away nobody could take it, except in the
        store.
        """
        o = self.o
        if (
            o.unrenewed is not None
            or plan.wants_lease
            or o.job is None
            or o.phase not in _ACTIVE
            or o.lease.holder != o.uid
        ):
            return plan
        # Only the store can say who had it since.
        if o.store.error is not None and not o.lease.held_by(o.uid, o.now):
            return plan
        if o.lease.expires_at - o.now >= self.settings.lease_seconds * 2 / 3:
            return plan
        return replace(
            plan, steps_first=(RenewLease(store=o.store.error is None), *plan.steps_first)
        )

    def _invalid(self) -> Plan:
        """All we know is that the spec is invalid: a job that runs continues,
        one that has not started fails.
        """
        o = self.o
        if o.attempt.number and not o.phase.finished:
            return Plan(requeue_after=_WAIT_SECONDS)
        return self._fail("InvalidSpec", o.problem or "the spec is invalid")

    def not_understood(self) -> tuple[Step, ...]:
        """An event, once, where the spec of a running job was changed to something this version
        does not understand.
        """
        o = self.o
        if not o.problem or not o.attempt.number or o.phase.finished or o.deleting:
            return ()
        text = (
            f"the job continues with its earlier spec; generation {o.generation} is not understood:"
            f" {o.problem}"
        )
        return (Emit("InvalidSpec", text, warning=True, unique=f"spec-{o.generation}"),)

    # Before and between attempts ------------------------------------------------------------------

    def _start(self) -> Plan:  # noqa: PLR0911 - what is waited for, in the order of need
        o = self.o
        if o.phase is Phase.RECOVERING and (ended := self._deadline()) is not None:
            return ended
        if o.folder is None:
            return self._wait(
                "NoCacheFolder", o.folder_problem or "there is no cache folder", _QUEUE_SECONDS
            )
        if o.job and (
            how := overlap_of_places(o.job.spec.collection.source, o.folder.spec.storage)
        ):
            text = (
                f"cache folder {o.folder.metadata.name} {how}; choose another one, or give it a"
                " path of its own"
            )
            return self._fail(Reason.CACHE_FOLDER_UNUSABLE.value, text)
        if o.lock:
            return self._wait("CollectionLocked", o.lock, None, lock_message=o.lock)
        if not o.slot_free:
            return self._wait(
                "Queued", queue_words(self.settings.max_concurrent_jobs, o.ahead), None
            )
        if o.store.error is not None:
            return self._wait("StoreUnavailable", o.store.error, _WAIT_SECONDS)
        if o.rejected is not None:
            return self._lease_refused(o.rejected)
        if o.lease.held_by_another(o.uid, o.now):
            holder = o.lease.holder_name or o.lease.holder
            text = f"{holder} is working on the collection"
            return self._wait("CollectionLocked", text, _WAIT_SECONDS, lock_message=text)
        if (ending := self._pods_ending()) is not None:
            return ending
        # A lease that is still held is taken again, with a greater fence: a pod of the attempt
        # before may be frozen in the middle of its listing, and the store may have been emptied or
        # restored, and its fence with it.
        ours = o.lease.renewed and o.lease.held_by(o.uid, o.now) and o.lease.fence > o.attempt.fence
        return self._begin(o.folder) if ours else Plan(wants_lease=True)

    def _pods_ending(self) -> Plan | None:
        """Wait for pods that may write files where those of the next attempt go,
        made by another spec.
        """
        o = self.o
        if o.pods_left:  # what they have in hand is not made by the spec of now
            waiting = self._wait(
                "SpecChanged",
                "waiting for the pods of the earlier spec to end",
                _PODS_SECONDS,
                keeps_lock=True,
            )
            return replace(waiting, steps_first=(DeleteChildren(o.latest_attempt),))
        if o.others_left:
            text = (
                f"waiting for the pods of {o.others_left} to end, which was working on the"
                " collection"
            )
            return self._wait("PodsEnding", text, _OTHERS_SECONDS, keeps_lock=True)
        return None

    def _begin(self, folder: CacheFolder) -> Plan:
        """The next attempt, now that it has a folder, a slot and the lock."""
        o = self.o
        fresh = (
            o.phase is not Phase.RECOVERING and bool(o.resume) and o.resume != o.attempt.resumed_by
        )
        attempt = Attempt(
            number=o.latest_attempt + 1,
            started_at=o.now,
            resumed_by=o.resume,
            cache_folder=folder.metadata.name,
            fence=o.lease.fence,
            spec_digest=spec_digest(o.job.spec, folder.metadata.name) if o.job else "",
            store_id=o.store.identity,
        )
        verdict = Verdict(Phase.INDEXING, "Indexing", "listing the source", "Index", locked=True)
        before = None if fresh or o.phase is Phase.SUSPENDED else o.status.get("startTime")
        status = operator_status(
            o,
            verdict,
            attempt,
            start=before or moment(o.now),
            recovery_attempts=0 if fresh else None,
        )
        rights = reporting_rights(o) if workers_report(o, self.settings) else []
        child = index_job(o, folder, attempt, self.settings)
        # Suspended while the store was away, it is fenced now: nobody has taken its shards away
        # yet.
        owed: tuple[Step, ...] = (FenceShards(),) if self._recorded_as_active() else ()
        # The status first: children that it does not know would be applied again, with another
        # fence, and refused.
        return Plan(
            status=status,
            steps_first=(
                *owed,
                RecordJob(Phase.INDEXING, "", "", attempt.number),
                DeleteChildren(o.latest_attempt),
            ),
            steps_after=(
                *[Apply(manifest) for manifest in (*rights, child)],
                Emit("Indexing", f"attempt {attempt.number}: listing the source"),
            ),
            requeue_after=self.settings.check_seconds,
        )

    def _wait(
        self,
        reason: str,
        message: str,
        seconds: float | None,
        lock_message: str = "",
        *,
        keeps_lock: bool = False,
    ) -> Plan:
        """For what another has to end first.

        A job between attempts gives its lock back, unless it is soon over.
        """
        o = self.o
        release = not keeps_lock and o.store.error is None and o.lease.holder == o.uid
        locked = not release and o.lease.held_by(o.uid, o.now)
        verdict = Verdict(
            Phase.PENDING, reason, message, "", locked=locked, lock_message=lock_message
        )
        if o.phase is Phase.RECOVERING:
            verdict = replace(verdict, phase=Phase.RECOVERING, trouble=(reason, message))
        # As with batch/v1 Jobs, a deadline does not count what was before a suspension, nor the
        # suspension.
        started = o.phase is not Phase.SUSPENDED
        return Plan(
            status=operator_status(o, verdict, o.attempt, started=started),
            steps_after=(ReleaseLease(),) if release else (),
            requeue_after=seconds,
        )

    def _lease_refused(self, found: Rejected) -> Plan:
        """The API server refuses the collection's Lease: reported as a rejected child is,
        without slot and lock.
        """
        if found.final:
            return self._fail(*_words(found))
        return self._with_rejection(self._wait(*_words(found), None), found)

    def _suspend(self) -> Plan:
        """Also without the store: pods are deleted, and fenced once it is back,
        before anything else.
        """
        o = self.o
        away = o.store.error is not None and o.attempt.number > 0
        later = (
            f"; its shards are taken back once the store answers: {o.store.error}" if away else ""
        )
        verdict = Verdict(Phase.SUSPENDED, "Suspended", f"spec.suspend is true{later}")
        steps: tuple[Step, ...] = ()
        if o.store.error is None and (o.phase.active or self._recorded_as_active()):
            steps = (RecordJob(Phase.SUSPENDED, "Suspended", "", o.attempt.number), FenceShards())
        event = (
            (Emit("Suspended", "work has stopped; what is done is kept"),)
            if o.phase is not Phase.SUSPENDED
            else ()
        )
        release: tuple[Step, ...] = (
            (ReleaseLease(),) if o.lease.holder == o.uid and o.store.error is None else ()
        )
        return Plan(
            status=operator_status(o, verdict, o.attempt, progress=self._stopped()),
            steps_first=steps
            + ((DeleteChildren(o.attempt.number),) if self._live_children() else ()),
            steps_after=release + self._rights_over() + event,
            requeue_after=_WAIT_SECONDS if away else None,
        )

    def _recorded_as_active(self) -> bool:
        """Whether the store takes the job for active although it is not:
        somebody may still hold its shards.
        """
        record = self.o.store.record
        return record is not None and record.phase in _ACTIVE and self.o.phase not in _ACTIVE

    def _lease_lost(self) -> Plan:
        """Someone else may work on the collection: whoever of ours still does is fenced,
        and we queue again.
        """
        return self._recover_or_fail("LeaseLost", "the collection's lease was lost")

    def _recover(self, *, attempts: int, reason: str, message: str) -> Plan:
        o = self.o
        held = o.lease.held_by(o.uid, o.now)
        verdict = Verdict(
            Phase.RECOVERING,
            reason,
            message,
            locked=held,
            trouble=("LeaseLost", message) if reason == "LeaseLost" else None,
        )
        noted = RecordJob(Phase.RECOVERING, reason, message, o.attempt.number)
        return Plan(
            status=operator_status(
                o, verdict, o.attempt, recovery_attempts=attempts, progress=self._stopped()
            ),
            steps_first=(noted, FenceShards(), DeleteChildren(o.attempt.number)),
            steps_after=(
                Emit(
                    "LeaseLost" if reason == "LeaseLost" else "Recovering",
                    message,
                    warning=bool(attempts),
                ),
            ),
            again=True,
        )

    def _recover_or_fail(self, reason: str, message: str, why: str = "") -> Plan:
        """Another attempt, while ``recovery.maxAttempts`` allows one."""
        before = int(self.o.status.get("recoveryAttempts", 0))
        most = resolve_recovery(self.o.job.spec).max_attempts if self.o.job else 0
        if before >= most:
            return self._fail(
                reason, f"{message} after {before} recoveries{': ' if why else ''}{why}"
            )
        return self._recover(
            attempts=before + 1,
            reason=reason,
            message=f"{message}; recovery {before + 1} of {most}",
        )

    def _spec_changed(self) -> Plan:
        """As many of these as there are edits: no recovery of the job is spent on one."""
        text = "the spec was changed: a new attempt makes what does not match it and keeps the rest"
        return self._recover(
            attempts=int(self.o.status.get("recoveryAttempts", 0)),
            reason="SpecChanged",
            message=text,
        )

    def _store_unreachable(self, error: str) -> Plan:
        """Reported while it lasts; pods continue for as long as they can,
        and nothing else is decided.
        """
        o = self.o
        said = ("StoreUnavailable", error)
        stage, locked = str(o.status.get("stage", "")), o.lease.held_by(o.uid, o.now)
        verdict = Verdict(o.phase, *said, stage, locked=locked, trouble=said)
        return Plan(status=operator_status(o, verdict, o.attempt), requeue_after=_WAIT_SECONDS)

    # An attempt -----------------------------------------------------------------------------------

    def _attempt(self) -> Plan:
        o = self.o
        if o.lease.holder != o.uid or (o.lease.renewed and o.lease.fence != o.attempt.fence):
            return self._lease_lost()
        if o.job is None:
            return self._invalid()
        # What the store showed is from before this plan, which may have started the attempt.
        if o.rejected is not None:
            return self._bounds() or self._rejected(o.rejected)
        found = evidence(o.attempt, o.store, planned=o.phase is Phase.RUNNING)
        if found.finding is Finding.LOST:
            return self._recover_or_fail("RecordsLost", found.lost)
        if not fits(found.attempt, o.job.spec):
            return self._spec_changed()
        attempt = begun_by(found.attempt, o.job.spec)
        return _Decision(replace(o, attempt=attempt), self.settings, found.finding)._active()

    def _active(self) -> Plan:
        """What comes next in an attempt whose records and spec are right so far."""
        o = self.o
        if o.store.record is not None and o.store.record.phase is Phase.RECOVERING:
            # An operator died over it. The attempt's pods are refused whatever they want to record.
            return self._recover_or_fail(
                "RecordsLost", "the recovery of this attempt was started but not finished"
            )
        if (ended := self._bounds()) is not None:
            return ended
        return self._within_slot(self._indexing() if o.phase is Phase.INDEXING else self._running())

    def _within_slot(self, plan: Plan) -> Plan:
        """Pods run only while the job has a slot.

        One that could not run gave it up, and may have to wait for another.

        Where Kueue decides, pods that it has admitted run, and take a slot even if there is none.
        """
        o = self.o
        phase = Phase(plan.status["phase"]) if plan.status is not None else None
        if (
            plan.status is None
            or phase not in _ACTIVE
            or not takes_slot(plan.status)
            or o.job is None
        ):
            return plan
        live = [child for child in o.children if not child.finished and not child.deleting]
        ours = not o.job.spec.queue_name
        if o.slot_free:
            run = tuple(
                SuspendChild(child.name, suspend=False)
                for child in live
                if child.suspended and ours
            )
            return replace(plan, steps_first=(*plan.steps_first, *run))
        if live and not ours:
            return plan
        said = ("Queued", queue_words(self.settings.max_concurrent_jobs, o.ahead))
        held = self._keep_going(
            Verdict(o.phase, *said, str(o.status.get("stage", "")), locked=True, trouble=said)
        )
        return replace(
            held,
            steps_first=tuple(
                SuspendChild(child.name, suspend=True) for child in live if not child.suspended
            ),
        )

    def _deadline(self) -> Plan | None:
        """Of the job as a whole; also while an attempt that was ended waits for the next."""
        limit = self.o.job.spec.active_deadline_seconds if self.o.job else None
        started = self.o.status.get("startTime")
        if not limit or not started or self.o.now - seconds_of(started) <= limit:
            return None
        return self._fail("DeadlineExceeded", f"activeDeadlineSeconds ({limit}) passed")

    def _never_ran(self, cause: tuple[str, str]) -> Plan | None:
        """Of a job none of whose pods can run: counted from its attempt's start,
        or from the last image since.
        """
        o = self.o
        limit = resolve_pre_running_deadline(o.job.spec) if o.job else None
        if limit is None or o.now - last_progress(o) <= limit:
            return None
        text = (
            f"preRunningDeadlineSeconds ({limit}) passed, and no pod can run: {cause[0]}:"
            f" {cause[1]}"
        )
        return self._fail("PreRunningDeadlineExceeded", text)

    def _bounds(self) -> Plan | None:
        """Deadlines, failed images, silence: each ends the attempt."""
        return self._deadline() or self._too_many_failed() or self._silence()

    def _too_many_failed(self) -> Plan | None:
        o = self.o
        total = o.store.record.total if o.store.record else 0
        failed = self._counts().failed
        allowed = resolve_max_failed(o.job.spec, total) if o.job else None
        if o.phase is not Phase.RUNNING or allowed is None or failed <= allowed:
            return None
        text = f"{count(failed)} images failed; maxFailedImages allows {count(allowed)}"
        return self._fail("TooManyFailedImages", text)

    def _silence(self) -> Plan | None:
        o = self.o
        if o.stalled and o.phase is Phase.RUNNING:
            pods = ", ".join(o.stalled)
            return self._recover_or_fail(
                "StaleJob", f"all the shards that are left are held by silent pods: {pods}"
            )
        trouble = self._trouble()
        if trouble and trouble[0] in NO_SLOT:
            return self._never_ran(trouble)
        if self._moving().get("reason") in {*NO_SLOT, "Queued"} or o.job is None:
            return None  # it may work again only as of now
        trouble = trouble or self._sick_still()
        if trouble is not None and trouble[0] == _FULL:
            return None  # until something is evicted, or the limit is raised
        sick = trouble is not None and trouble[0] in _SICK
        # An index that fails again and again lists something each time: that leads nowhere.
        silent = o.now - (
            o.attempt.started_at if sick and o.phase is Phase.INDEXING else self._last_progress()
        )
        limit = float(resolve_recovery(o.job.spec).stale_after_seconds)
        if self.settings.stale_after_floor:
            limit = min(limit, self.settings.stale_after_floor)
        if silent <= limit:
            return None
        return self._recover_or_fail(
            trouble[0] if trouble and sick else "StaleJob",
            f"no progress for {silent:.0f} s",
            trouble[1] if trouble else "",
        )

    def _indexing(self) -> Plan:
        child = self._child(names.ROLE_INDEX, 0)
        if self.finding is not Finding.UNPLANNED:
            return self._begin_running()
        if child is None:
            return self._apply_index()
        if child.failed:
            reason, message = child.trouble or ("IndexFailed", "the index Job failed")
            return (self._recover_or_fail if reason in _MAY_HEAL else self._fail)(reason, message)
        if child.complete:
            return self._recover_or_fail(
                "RecordsLost", "the index Job ended, and the store has no plan of its attempt"
            )
        verdict = self._at_work(
            Verdict(Phase.INDEXING, "Indexing", "listing the source", "Index", locked=True), child
        )
        return self._keep_going(verdict)

    def _apply_index(self) -> Plan:
        o = self.o
        if o.folder is None:
            return self._fail("NoCacheFolder", o.folder_problem or "the cache folder is gone")
        verdict = Verdict(Phase.INDEXING, "Indexing", "listing the source", "Index", locked=True)
        rights = reporting_rights(o) if workers_report(o, self.settings) else []
        child = index_job(o, o.folder, o.attempt, self.settings)
        return replace(
            self._keep_going(verdict), steps_first=tuple(Apply(each) for each in (*rights, child))
        )

    def _rejected(self, found: Rejected) -> Plan:
        """The API server rejects a child object: reported in its words,
        and retried where that can help.
        """
        said = _words(found)
        if found.final:
            return self._fail(*said)
        o = self.o
        verdict = Verdict(o.phase, *said, str(o.status.get("stage", "")), locked=True, trouble=said)
        return self._with_rejection(self._keep_going(verdict), found)

    def _with_rejection(self, plan: Plan, found: Rejected) -> Plan:
        """With an event, once an attempt, and the next try: soon at first,
        then ever more slowly.
        """
        o = self.o
        event = Emit(*_words(found), warning=True, unique=f"{o.attempt.number}-rejected")
        moving = self._moving()
        since = (
            seconds_of(moving.get("lastTransitionTime"))
            if moving.get("status") == "False"
            else o.now
        )
        pause = min(max((o.now - since) / 2, _SOONEST_TRY), _LATEST_TRY)
        return replace(
            plan,
            steps_after=(*plan.steps_after, event),
            requeue_after=max(pause, found.retry_after),
        )

    def _begin_running(self) -> Plan:
        o = self.o
        if self.finding is Finding.DONE:
            return self._finish()
        plan = self._running(Phase.RUNNING)
        images = count(o.store.record.total if o.store.record else 0)
        event = Emit(
            "Running", f"{images} images listed, {count(o.store.total_shards)} shards to process"
        )
        return replace(plan, steps_after=(*plan.steps_after, event))

    def _running(self, phase: Phase = Phase.RUNNING) -> Plan:
        o = self.o
        if self.finding is Finding.DONE:
            return self._finish()
        waves = max(1, math.ceil(o.store.total_shards / WAVE))
        jobs = [self._child(names.ROLE_SHARDS, wave) for wave in range(waves)]
        # The latest wave there is, or the one after it: an earlier one that is missing ended long
        # ago.
        latest = max((wave for wave, child in enumerate(jobs) if child is not None), default=-1)
        done = latest >= 0 and (last := jobs[latest]) is not None and last.finished
        current = latest + 1 if done or latest < 0 else latest
        if current == waves or (done and self._gave_up(jobs[latest], latest + 1)):
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
            failed = self._failed_before(current)
            wanted = shards_job(
                o, o.folder, o.attempt, self.settings, current, o.store.total_shards, failed=failed
            )
            plan = replace(plan, steps_first=(Apply(wanted), *plan.steps_first))
        return plan

    def _failed_before(self, wave: int) -> int:
        """Shards that the waves before it, which have ended, have left undone."""
        store = self.o.store
        return max(
            min(wave * WAVE, store.total_shards) - store.shards.get(ShardState.SUCCEEDED, 0), 0
        )

    def _gave_up(self, last: ChildJob | None, wave: int) -> bool:
        """Whether ``wave``, after ``last``, is not to begin: it would fail as well,
        or no more shards may fail.
        """
        limit = resolve_sharding(self.o.job.spec, 0).max_failed_shards if self.o.job else None
        too_many = limit is not None and self._failed_before(wave) > limit
        return too_many or (last is not None and last.gave_up)

    def _keep_going(self, verdict: Verdict) -> Plan:
        o = self.o
        report = {} if o.job is None or workers_report(o, self.settings) else self._progress()
        if o.unrenewed is not None:
            return self._unrenewed(verdict, o.unrenewed, report)
        return Plan(
            status=operator_status(o, verdict, o.attempt, progress=report),
            steps_after=self._alerts(),
            requeue_after=min(
                self.settings.check_seconds, _TROUBLE_SECONDS if verdict.trouble else math.inf
            ),
        )

    def _unrenewed(self, verdict: Verdict, found: Rejected, report: Mapping[str, Any]) -> Plan:
        """The work goes on while nobody else can have the Lease.

        Each reconciliation tries to renew it again.
        """
        o = self.o
        reason, message = _words(found)
        text = f"the lock on the collection cannot be renewed: {message}"
        verdict = replace(
            verdict, locked=o.lease.held_by(o.uid, o.now), lock_reason=reason, lock_message=text
        )
        return Plan(
            status=operator_status(o, verdict, o.attempt, progress=report),
            steps_after=(
                *self._alerts(),
                Emit(reason, text, warning=True, unique=f"{o.attempt.number}-unrenewed"),
            ),
            requeue_after=max(self.settings.check_seconds, found.retry_after),
        )

    def _alerts(self) -> tuple[Step, ...]:
        """An event at every tenth failed image; its name makes sure that each is written once."""
        o = self.o
        failed = self._counts().failed
        if failed < _ALERT_EVERY:
            return ()
        tens = failed // _ALERT_EVERY * _ALERT_EVERY
        errors = ", ".join(
            f"{name} {count(number)}" for name, number in sorted(self._counts().errors.items())
        )
        text = f"{count(failed)} images have failed: {errors}"
        return (Emit("ImagesFailing", text, warning=True, unique=f"{o.attempt.number}-{tens}"),)

    # Ends -----------------------------------------------------------------------------------------

    def _finish(self) -> Plan:
        counts = self._counts()
        if counts.failed:
            phase, reason = Phase.COMPLETED_WITH_ERRORS, "ImagesFailed"
        else:
            phase, reason = Phase.COMPLETED, "AllImagesDone"
        text = (
            f"{count(counts.completed)} made, {count(counts.skipped)} up to date,"
            f" {count(counts.failed)} failed"
        )
        return self._end(Verdict(phase, reason, text, "Finish"))

    def _shards_failed(self, jobs: list[ChildJob | None]) -> Plan:
        o = self.o
        left = o.store.total_shards - o.store.shards.get(ShardState.SUCCEEDED, 0)
        reason, message = next(
            (job.trouble for job in jobs if job and job.trouble), ("ShardsFailed", "")
        )
        what = "are not done" if any(job.gave_up for job in jobs if job) else "failed"
        text = (
            f"{count(left)} of {count(o.store.total_shards)} shards"
            f" {what}{': ' if message else ''}{message}"
        )
        return (self._recover_or_fail if reason in _MAY_HEAL else self._fail)(reason, text)

    def _fail(self, reason: str, message: str) -> Plan:
        return self._end(
            Verdict(Phase.FAILED, reason, message, str(self.o.status.get("stage", "")))
        )

    def _end(self, verdict: Verdict) -> Plan:
        """The status first: the end is reported as soon as it is known.

        Tidying up afterwards cannot delay it.
        """
        o = self.o
        attempt = replace(o.attempt, resumed_by=o.resume)
        return Plan(
            status=operator_status(
                o, verdict, attempt, progress=self._progress(at_rest=True) or self._stopped()
            ),
            steps_after=(
                *self._aftermath(verdict.phase, verdict.reason, verdict.message),
                *self._alerts(),
                Emit(verdict.phase.value, verdict.message, warning=verdict.phase is Phase.FAILED),
            ),
            requeue_after=_LINGER_SECONDS if self._live_children() else None,
            again=self._ttl() is not None,
        )

    def _aftermath(self, phase: Phase, reason: str, message: str) -> tuple[Step, ...]:
        """What is to be done after an end, in this order; `RecordEnd` says that it has been.

        Of a job that failed or is deleted the pods are stopped at once. Of another the last may
        still be saying that they are done.
        """
        o = self.o
        failed = phase in (Phase.FAILED, Phase.CANCELLED)
        known = o.store.error is None and o.store.record is not None and o.job is not None
        steps: tuple[Step, ...] = ()
        if known:
            steps = (
                RecordJob(phase, reason, message, o.attempt.number),
                *((FenceShards(),) if failed else ()),
            )
        if failed and self._live_children():
            steps += (DeleteChildren(o.attempt.number, finished_too=False),)
        # What the store locks cannot be given back without it.
        if o.lease.holder == o.uid and o.store.error is None:
            steps += (ReleaseLease(),)
        if known and o.attempt.cache_folder and not failed:
            steps += (RefreshFolder(o.attempt.cache_folder),)
        steps += self._rights_over()
        return (*steps, RecordEnd()) if known else steps

    def _rights_over(self) -> tuple[Step, ...]:
        """The rights of workers end with their work; a job that is resumed gets them again."""
        o = self.o
        began = not o.phase.at_rest and o.attempt.number > 0
        return (DeleteRights(),) if began or o.rights else ()

    def _after_the_end(self) -> Plan:
        o = self.o
        status, steps = None, self._tidied_up()
        if o.status.get("observedGeneration") != o.generation and (
            o.job or o.phase is Phase.FAILED
        ):
            status = seen_status(o, changed=o.job is not None and not fits(o.attempt, o.job.spec))
            text = (
                "the job has finished: spec changes take effect when it is restarted with the"
                " annotation"
            )
            steps = (*steps, Emit("NotBegunAgain", f"{text} {names.RESUME_ANNOTATION}"))
        ttl, ended = self._ttl(), seconds_of(o.status.get("completionTime"))
        left = None if ttl is None else ended + ttl - o.now
        if left is not None and left <= 0:
            return Plan(steps_after=(*steps, DeleteResource()))
        soon = _LINGER_SECONDS if self._owes_more() and o.now - ended < _AFTERMATH_SECONDS else None
        waits = [seconds for seconds in (left, soon) if seconds is not None]
        return Plan(status=status, steps_after=steps, requeue_after=min(waits, default=None))

    def _tidied_up(self) -> tuple[Step, ...]:
        """Steps after the end that an operator did not come to, or that had to wait.

        None, for a job at rest.
        """
        o = self.o
        if (
            o.store.record is not None
            and o.store.record.finished_at is None
            and o.store.error is None
        ):
            said = condition(o.status, "Ready")
            steps = self._aftermath(o.phase, said.get("reason", ""), said.get("message", ""))
        else:
            steps = (ReleaseLease(),) if o.lease.holder == o.uid and o.store.error is None else ()
            steps += self._rights_over()
        late = o.now - seconds_of(o.status.get("completionTime")) >= _LINGER_SECONDS
        # Nobody needs these pods any more; with them the namespace could not be deleted, nor a node
        # be drained.
        stop = DeleteChildren(o.attempt.number, finished_too=False)
        if (late or o.phase is Phase.FAILED) and self._live_children() and stop not in steps:
            steps = (stop, *steps)
        return steps

    def _owes_more(self) -> bool:
        """Whether something is left to do that can only be done later."""
        return self.o.store.error is not None or self._live_children()

    # Looking --------------------------------------------------------------------------------------

    def _ttl(self) -> int | None:
        return self.o.job.spec.ttl_seconds_after_finished if self.o.job else None

    def _child(self, role: str, wave: int) -> ChildJob | None:
        o = self.o
        return next(
            (
                child
                for child in o.children
                if (child.role, child.attempt, child.wave) == (role, o.attempt.number, wave)
                and not child.deleting
            ),
            None,
        )

    def _live_children(self) -> bool:
        return any(not child.finished and not child.deleting for child in self.o.children)

    def _trouble(self) -> tuple[str, str] | None:
        """What keeps the job from working now: a child object that is rejected,
        or what its pods say.
        """
        if (found := self.o.rejected) is not None:
            return _words(found)
        return next(
            (child.trouble for child in self.o.children if child.trouble and not child.deleting),
            None,
        )

    def _at_work(self, verdict: Verdict, child: ChildJob | None) -> Verdict:
        """With what keeps the child's pods, or some of them, from working."""
        if child is None:
            return verdict
        recorded = self.o.store.record.last_progress_at if self.o.store.record else None
        # What the pods did since is newer than how one ended.
        over = 0 < child.trouble_since < (recorded or 0.0)
        trouble = None if over else child.trouble or self._sick_still()
        return replace(verdict, trouble=trouble, delay=child.delay)

    def _sick_still(self) -> tuple[str, str] | None:
        """What pods said of source or cache folder, until an image is done:
        each new pod only tries it again.
        """
        moving, record = self._moving(), self.o.store.record
        moved = record.last_progress_at if record else None
        reason = str(moving.get("reason", ""))
        if reason not in _SICK or (moved or 0.0) > seconds_of(moving.get("lastTransitionTime")):
            return None
        return reason, str(moving.get("message", ""))

    def _moving(self) -> Mapping[str, Any]:
        """The condition Progressing as it was last written."""
        return condition(self.o.status, "Progressing")

    def _counts(self) -> Counts:
        return self.o.store.counts

    def _last_progress(self) -> float:
        """A condition that changed counts, too."""
        return max(last_progress(self.o), seconds_of(self._moving().get("lastTransitionTime")))

    def _progress(self, *, at_rest: bool = False) -> dict[str, Any]:
        """Progress as the status has it."""
        store = self.o.store
        if store.record is None or store.progress is None:
            return {}
        moved = store.record.last_progress_at
        return status_document(store.progress, store.counts, store.shards, moved, at_rest=at_rest)

    def _stopped(self) -> dict[str, Any]:
        """What was last reported of progress, of an attempt that nobody works on any more: no rate,
        no active shard.
        """
        status = self.o.status
        shown = {
            name: dict(status[name])
            for name in ("progress", "display", "shards")
            if status.get(name)
        }
        for name, changes in _STOPPED.items():
            if name in shown:
                shown[name] |= changes
        return shown


def _mark(o: Observed) -> MarkFiles | None:
    """Whether a deletion waits for the removal of files, where the policy now says otherwise.

    Decided before anything is made. A spec that is not understood changes nothing.
    """
    if o.job is None or o.problem or o.deleting:
        return None
    wanted = o.job.spec.meant("deletion_policy") is DeletionPolicy.DELETE
    return None if wanted == o.marked else MarkFiles(wanted)


def _words(found: Rejected) -> tuple[str, str]:
    """(reason, message) of an object that the API server rejects."""
    return "ChildRejected", f"{found.kind} {found.name}: {found.message}"


def _without_own_holds(o: Observed) -> Observed:
    """A child Job that is suspended because it has no slot is not in trouble.

    Only Kueue's holds count.
    """
    if o.job is None or o.job.spec.queue_name or not any(child.suspended for child in o.children):
        return o
    return replace(
        o, children=tuple(replace(c, trouble=None) if c.suspended else c for c in o.children)
    )
