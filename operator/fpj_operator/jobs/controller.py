"""One reconciliation of a job: observe, decide, act, and which other jobs must be reconciled
because of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from fpj_core.errors import ConcurrencyError, FencedError, StoreError
from fpj_core.kube import names
from fpj_core.kube.api import CONFLICT, Cluster
from fpj_core.kube.errors import ClusterError
from fpj_core.model import Phase
from fpj_core.process.logs import about
from fpj_core.store.protocol import Store
from fpj_operator import metrics
from fpj_operator.jobs.deletions import Deletions
from fpj_operator.jobs.execute import DisturbedError, Executor
from fpj_operator.jobs.folders import Folders
from fpj_operator.jobs.history import keep_history
from fpj_operator.jobs.leases import LeaseRefusedError, Leases
from fpj_operator.jobs.marks import (
    CHILD_AT_WORK,
    ChildMarks,
    Marks,
    child_marks_of,
    marks_after,
    marks_of,
)
from fpj_operator.jobs.observe import observe, others_left
from fpj_operator.jobs.pods import Pods
from fpj_operator.jobs.queue import JobQueue, takes_slot
from fpj_operator.jobs.reconcile import reconcile
from fpj_operator.jobs.state import Observed, Plan, ReleaseLease, StoreView
from fpj_operator.jobs.tally import Tally
from fpj_operator.jobs.traces import Traces
from fpj_operator.jobs.vanished import Vanished
from fpj_operator.keys import Key
from fpj_operator.namespaces import Namespaces
from fpj_operator.settings import OperatorSettings
from fpj_operator.storehealth import StoreHealth
from fpj_operator.workqueue import Workqueue

_MOST_PASSES = 5
_MOST_DISTURBANCES = 4
"""Of one plan: the store goes away, the lease is lost, a child is rejected."""
_STORE_PAUSE_SECONDS = 5.0

log = logging.getLogger("fpj.controller")


class Controller:
    """Fed with events by the handlers; works them off through its queue."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        settings: OperatorSettings,
        traces: Traces | None = None,
    ) -> None:
        self.jobs = JobQueue(settings.max_concurrent_jobs)
        self.work: Workqueue[Key] = Workqueue(
            self._handle, settings.reconcilers, self._about, urgent=self.jobs.is_active
        )
        self._cluster = cluster
        self._store = store
        self._settings = settings
        self.health = StoreHealth(store, self._store_changed, self.jobs.any_unfinished)
        self._leases = Leases(cluster, store, self.health, settings.lease_seconds)
        self._executor = Executor(cluster, store, self.health, self._leases)
        self.vanished = Vanished(
            cluster,
            store,
            self.health,
            self._leases,
            lambda key, uid: self.jobs.uid_of(key) == uid,
            self.holds_lease,
        )
        self._folders = Folders(cluster)
        self._pods = Pods(cluster)
        self._tally = Tally(traces)
        self._namespaces = Namespaces(cluster, settings.check_seconds)
        self.deletions = Deletions(
            cluster,
            store,
            self.health,
            self._leases,
            self._folders,
            self._pods,
            self._namespaces,
            settings,
        )
        self._children: dict[str, ChildMarks] = {}
        """Those child Jobs, by uid, that do not just work."""
        self._looked_at: dict[Key, Marks] = {}
        """What an unfinished job is known by since the last look.

        Events that show the same need no other.
        """

    def when_folder_used(self, tell: Callable[[str, str], None]) -> None:
        """``tell`` gets namespace and name of the cache folder of each job that ends."""
        self._executor.folder_used = tell

    # Events ---------------------------------------------------------------------------------------

    def changed(self, body: Mapping[str, Any]) -> None:
        """A FileProcessingJob appeared or changed."""
        key = self._note(body)
        if names.FINALIZER in (body["metadata"].get("finalizers") or ()):
            self.vanished.held(key)
        self.deletions.changed(body)
        phase = Phase((body.get("status") or {}).get("phase") or Phase.PENDING)
        if not (phase.finished and self._is_settled(body)) and self._looked_at.get(key) != marks_of(
            body
        ):
            self.work.add(key)
        if phase.finished:
            self._looked_at.pop(key, None)
            self._wake(key.namespace)

    def gone(self, body: Mapping[str, Any]) -> None:
        """A FileProcessingJob was deleted; Kubernetes collects its children."""
        key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        uid = body["metadata"]["uid"]
        # Else one of the same name has been made since, and is known already.
        if self.jobs.uid_of(key) in (None, uid):
            self.work.forget(key)
            self.deletions.gone(key)
            self._looked_at.pop(key, None)
        self.jobs.forget(key, uid)
        self._executor.forget(uid)
        self._tally.forget(uid)
        self.vanished.gone(body)
        self._wake(key.namespace)

    def child_changed(self, body: Mapping[str, Any], *, gone: bool) -> None:
        """A child Job changed: its owner is to be looked at,
        unless its pods only came and went as they should.
        """
        uid, marks = body["metadata"]["uid"], child_marks_of(body)
        known = self._children.pop(uid, CHILD_AT_WORK)
        if not gone:
            if marks != CHILD_AT_WORK:
                self._children[uid] = marks
            if marks == known:
                return
        for owner in body["metadata"].get("ownerReferences", []):
            if owner.get("kind") == "FileProcessingJob":
                self.work.add(Key(body["metadata"]["namespace"], owner["name"]))
                self.deletions.child_changed(body, owner["name"])

    def folder_changed(self, body: Mapping[str, Any], *, gone: bool) -> None:
        """A cache folder changed: jobs may have waited for it."""
        metrics.show_folder(body, gone=gone)
        self._folders.changed(body["metadata"]["namespace"])
        self._wake(body["metadata"]["namespace"])

    async def keep_history(self) -> None:
        """Forever: have the store forget old jobs whose resource is gone."""
        await keep_history(self._cluster, self._store, self.health, self._settings)

    def _store_changed(self) -> None:
        """The store went away, or answers again: every job that has to do with it says so."""
        for key in self.jobs.store_users():
            self.work.add(key)

    def tick(self, namespace: str, name: str) -> None:
        """Time to reconcile a job again, although nothing happened to it."""
        self.work.add(Key(namespace, name))

    def holds_lease(self, key: Key) -> None:
        """A job holds the Lease of its collection.

        One that has finished should not: an operator died over its end.
        """
        if self.jobs.is_finished(key):
            self.work.add(key)

    async def watch_active(self) -> None:
        """Look at every active job now and then, not all at once,
        so that silence is noticed though nothing happens.
        """
        every = self._settings.check_seconds
        while True:
            await asyncio.sleep(every)
            for key in self.jobs.at_work():
                self.work.add_after(key, random.uniform(0, every))  # noqa: S311 - jitter, not a secret

    def _note(self, body: Mapping[str, Any]) -> Key:
        """Tell the queue; a slot that is free now goes to the next."""
        metadata = body["metadata"]
        worked = self.jobs.is_at_work(Key(metadata["namespace"], metadata["name"]))
        key = self.jobs.note(body)
        if worked and not self.jobs.is_at_work(key):
            self._wake_next(key.namespace)
        return key

    def _wake_next(self, namespace: str) -> None:
        for key in self.jobs.next_in(namespace):
            self.work.add(key)

    def _wake(self, namespace: str) -> None:
        for key in (*self.jobs.next_in(namespace), *self.jobs.others_pending(namespace)):
            self.work.add(key)

    @staticmethod
    def _is_settled(body: Mapping[str, Any]) -> bool:
        """Whether a finished job needs no look: nobody resumes or changes it,
        and no time to live runs out.
        """
        metadata, status = body["metadata"], body.get("status") or {}
        answered = names.resume_mark(metadata) == (status.get("attempt") or {}).get("resumedBy", "")
        seen = status.get("observedGeneration") == metadata.get("generation")
        return answered and seen and (body.get("spec") or {}).get("ttlSecondsAfterFinished") is None

    # Work -----------------------------------------------------------------------------------------

    def _about(self, key: Key) -> AbstractContextManager[None]:
        """What every line of the log says while a job is looked at."""
        uid = self.jobs.uid_of(key)
        return about(namespace=key.namespace, job=key.name, **({"uid": uid} if uid else {}))

    async def _handle(self, key: Key) -> float | None:
        with metrics.RECONCILE_SECONDS.time():
            try:
                return await self._reconcile(key)
            except StoreError as error:
                if isinstance(error, ConcurrencyError | FencedError):
                    return 0.1
                metrics.RECONCILE_ERRORS.inc()
                log.warning("the store: %s", error)
                return _STORE_PAUSE_SECONDS
            except Exception:
                metrics.RECONCILE_ERRORS.inc()
                raise

    async def _reconcile(self, key: Key) -> float | None:
        for left in reversed(range(_MOST_PASSES)):
            uid = self.jobs.uid_of(key)
            observed = await observe(
                self._cluster,
                self._store,
                self.health,
                self._leases,
                self.jobs,
                self._folders,
                self._pods,
                key,
            )
            # With a namespace the watch over it can end, and never tell of the job's end.
            if observed is None:
                if self.jobs.uid_of(key) != uid:
                    continue  # a namesake has been made since it was asked for
                if uid := self.jobs.forget(key):
                    self._tally.forget(uid)
                    self.vanished.missed(key, uid)
                self._looked_at.pop(key, None)
                return None
            if _may_hold_up(observed) and await self._namespaces.is_ending(key.namespace):
                await self._cluster.delete(
                    "FileProcessingJob", key.namespace, key.name, observed.uid
                )
                return None
            version = self.jobs.version_of(key)
            try:
                observed, plan = await self._decide_and_act(key, observed)
            except BaseException as error:
                # No status was written that says what became of it.
                if self.jobs.version_of(key) == version:
                    self._give_back(key, observed)
                if isinstance(error, ClusterError) and error.reason == CONFLICT and left:
                    # It has changed since it was read: what is to be done is decided again.
                    continue
                raise
            self._settle(key, observed, plan)
            self._tally.take(observed, plan)
            if not plan.again:
                return plan.requeue_after
        return 0.1

    async def _decide_and_act(self, key: Key, observed: Observed) -> tuple[Observed, Plan]:
        plan = reconcile(observed, self._settings)
        if plan.wants_lease:
            return await self._start(key, observed)
        if plan.status is not None and takes_slot(plan.status) and not self.jobs.is_at_work(key):
            # At once, and nothing was waited for since the slot was seen free.
            self.jobs.started(key)
        return await self._act(observed, plan)

    def _settle(self, key: Key, observed: Observed, plan: Plan) -> None:
        """Give back a slot that the job does not need after all,
        and let those have a look whom it may concern.
        """
        status = observed.status if plan.status is None else plan.status
        if self.jobs.is_at_work(key) and not takes_slot(status):
            self.jobs.settled(
                key, status, suspended=bool(observed.job and observed.job.spec.suspend)
            )
            self._wake_next(key.namespace)
        if any(isinstance(step, ReleaseLease) for step in plan.steps_after):
            self._wake(key.namespace)

    async def _act(self, observed: Observed, plan: Plan) -> tuple[Observed, Plan]:
        """Carry a plan out.

        Where something stands in its way, that is decided upon, too: the status says what it is.

        What was carried out in the end, and on what it rests.
        """
        for _ in range(_MOST_DISTURBANCES):
            try:
                await self._carry_out(observed, plan)
            except DisturbedError as disturbed:
                log.warning("%s", disturbed)
                metrics.RECONCILE_ERRORS.inc()
                observed = disturbed.observed
                plan = reconcile(observed, self._settings)
                if plan.wants_lease:
                    break
            else:
                return observed, plan
        return observed, Plan(requeue_after=1.0)

    async def _start(self, key: Key, observed: Observed) -> tuple[Observed, Plan]:
        """Take a slot, then the lock.

        The slot is taken in one step, so nobody else sees it free meanwhile.
        """
        slot_free, ahead = self.jobs.place(key)
        observed = replace(observed, slot_free=slot_free, ahead=ahead)
        if slot_free and self.health.error is not None:
            observed = replace(observed, store=StoreView(error=self.health.error))
        elif slot_free:
            try:
                observed = await self._locked(key, observed)
            except StoreError as error:
                observed = replace(observed, store=StoreView(error=str(error)[:500]))
        plan = reconcile(observed, self._settings)
        if plan.wants_lease:  # the lease changed hands in between
            return observed, Plan(requeue_after=1.0)
        return await self._act(observed, plan)

    async def _locked(self, key: Key, observed: Observed) -> Observed:
        """With the slot taken and the lease tried for.

        A slot without a lock goes back, to whoever is next.
        """
        self.jobs.started(key)
        try:
            lease = await self._executor.acquire(observed, above=observed.attempt.fence)
            observed = replace(observed, lease=lease, now=time.time())
            if observed.lease.held_by(observed.uid, observed.now):
                observed = replace(observed, others_left=await others_left(self._cluster, observed))
        except LeaseRefusedError as refused:
            log.warning("the Lease of the collection is refused: %s", refused)
            metrics.RECONCILE_ERRORS.inc()
            self._give_back(key, observed)
            return replace(observed, rejected=refused.rejected, now=time.time())
        except BaseException:
            self._give_back(key, observed)
            raise
        if not observed.lease.held_by(observed.uid, observed.now):
            self._give_back(key, observed, foreign=True)
        return observed

    def _give_back(self, key: Key, observed: Observed, *, foreign: bool = False) -> None:
        if self.jobs.is_at_work(key) and not takes_slot(observed.status):
            self.jobs.gave_back(key, observed.phase, foreign=foreign)
            self._wake_next(key.namespace)

    def sweep(self, *, places: bool = False) -> None:
        """Level-based, in case an event was lost: wake who may start,
        and with ``places`` who shows an old place.
        """
        for namespace in self.jobs.namespaces():
            self._wake_next(namespace)
        if places:
            for key in self.jobs.outdated():
                self.work.add(key)

    async def _carry_out(self, observed: Observed, plan: Plan) -> None:
        """Do it; the events that it causes itself, and those of progress alone,
        are then known already.
        """
        if plan.again:
            self._looked_at.pop(observed.key, None)
        else:
            self._looked_at[observed.key] = marks_after(observed, plan)
        try:
            await self._executor.carry_out(observed, plan, self._note)
        except BaseException:
            self._looked_at.pop(observed.key, None)
            raise


def _may_hold_up(observed: Observed) -> bool:
    """Whether the job's pods can keep a namespace from being deleted:
    those of any child Job that has not ended.
    """
    return observed.phase.active or any(not child.finished for child in observed.children)
