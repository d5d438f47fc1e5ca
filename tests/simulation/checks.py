"""What must hold in every schedule, whatever goes wrong.

Each is checked against the facts, not by the product's own words.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fpj_core.kube import names
from fpj_core.kube.names import lease_name
from fpj_core.manifest import parse_resource
from fpj_core.model import ShardState, tier_digests
from fpj_core.v1alpha1 import FileProcessingJob, resolve_tiers
from fpj_operator.keys import Key
from simulation.apiserver import Document, Ref, Request
from simulation.kernel import Process

if TYPE_CHECKING:
    from simulation.world import World

FINISHED = frozenset({"Completed", "CompletedWithErrors", "Failed", "Cancelled"})
_DONE = frozenset({"Completed", "CompletedWithErrors"})
_ACTIVE = frozenset({"Indexing", "Running"})
MOST_RECOVERIES = 3
_MAY_HEAL = frozenset(
    {
        "Fenced",
        "StoreUnavailable",
        "EnvironmentFault",
        "ShardHeld",
        "StaleJob",
        "LeaseLost",
        "RecordsLost",
        "Internal",
    }
    | {"CacheFolderUnusable"}
)
"""Nothing in these worlds is broken for good."""
_SAYS_SO = 40.0
"""Seconds within which a rejected child is reported,
with what it takes until the operator looks.
"""
_JUST_NOW = 30.0
"""Seconds in which an operator may act on what it has read of a store that was replaced since."""
_MOST_ATTEMPTS = 60
_WITHOUT_WAKE_UP = 40.0
"""Seconds for which a job may look as if nobody would come back to it:
its event may be under way.
"""
_WRITES_AT_ONCE, _WRITES_A_MINUTE = 400, 60
"""Requests that change something, of all operators and workers of a schedule."""


class ViolationError(AssertionError):
    """Something does not hold."""


def said(document: Document) -> str:
    conditions = (document.get("status") or {}).get("conditions", [])
    return "; ".join(
        f"{each['type']}={each['status']} {each['reason']}: {each['message']}"
        for each in conditions
        if each["type"] in ("Ready", "Progressing", "CollectionLocked")
    )


class Checks:
    """The invariants of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._nobody_since: dict[str, float] = {}
        self._noisy_at = 0.0
        self._clocks: tuple[object, ...] = ()
        """When something last kept operators from what they have to do."""
        self._began: dict[tuple[str, int], float] = {}
        """By uid and attempt, when it was first seen."""
        self._holders: dict[Ref, str] = {}
        """Of the Leases of collections."""

    def _found(self, what: str) -> None:
        self.world.kernel.fail(ViolationError(what))

    # At each write --------------------------------------------------------------------------------

    def on_write(self, process: Process, request: Request) -> None:
        """One active leader: whoever writes leads, and nobody else does."""
        if request.kind == "Lease" and request.namespace != "team":
            return
        leaders = self.leaders()
        if leaders != [process.name]:
            self._found(f"{process.name} writes, and the leaders are {leaders}")

    def leaders(self) -> list[str]:
        """Who takes itself for the leader."""
        running = [
            replica.process for replica in self.world.replicas if replica.process is not None
        ]
        leaders = [process.name for process in running if process.election.leads]
        if len(leaders) > 1:
            self._found(f"there are several leaders: {leaders}")
        return leaders

    def on_status(self, before: Document, after: Document, sender: str) -> None:
        if after["kind"] != "FileProcessingJob":
            return
        old, new = before.get("status") or {}, after["status"]
        name, phase, was = after["metadata"]["name"], new.get("phase"), old.get("phase")
        self.world.kernel.note(
            "status", f"{name} {was} -> {phase} attempt {new.get('attempt')} {said(after)}"
        )
        if new.get("recoveryAttempts", 0) > MOST_RECOVERIES:
            self._found(f"{name}: {new['recoveryAttempts']} recoveries")
        number, earlier = (
            (new.get("attempt") or {}).get("number", 0),
            (old.get("attempt") or {}).get("number", 0),
        )
        self._began.setdefault((after["metadata"]["uid"], number), self.world.kernel.loop.now)
        self._check_sender(name, was, earlier, after, sender)
        self._check_recovery(name, old, new)
        if number < earlier:
            self._found(f"{name}: attempt {earlier} became {number}")
        stores = [(each.get("attempt") or {}).get("storeId") for each in (old, new)]
        if number == earlier and all(stores) and stores[0] != stores[1]:
            self._found(
                f"{name}: attempt {number} began in the store {stores[0]} and goes on in"
                f" {stores[1]}"
            )
        if number > _MOST_ATTEMPTS:
            self._found(f"{name}: {number} attempts")
        resumed = names.resume_mark(after["metadata"]) != (old.get("attempt") or {}).get(
            "resumedBy", ""
        )
        if was in FINISHED and phase != was and not resumed:
            self._found(f"{name} was {was} and became {phase}")
        self._check_progress(name, old, new, sender)
        if phase in _DONE and was != phase:
            self._check_done(after)
        if phase == "Failed" and was != phase:
            self._check_failed(after)

    def _check_sender(
        self, name: str, was: str | None, attempt: int, document: Document, sender: str
    ) -> None:
        """Pods report on an attempt only while it runs."""
        pod = self.world.cluster.made.get(sender)
        if pod is not None and (was != "Running" or pod != (document["metadata"]["uid"], attempt)):
            self._found(
                f"{sender} of attempt {pod[1]} reported on {name}, which was {was} in attempt"
                f" {attempt}"
            )

    def _check_recovery(self, name: str, old: Document, new: Document) -> None:
        """What ends an attempt counts as a recovery, unless people did it, and what is said to be
        lost was lost.
        """
        if old.get("phase") not in _ACTIVE or new.get("phase") not in ("Recovering", "Failed"):
            return
        ready: Document = next((each for each in new["conditions"] if each["type"] == "Ready"), {})
        reason, message = ready.get("reason"), ready.get("message", "")
        before, after = (each.get("recoveryAttempts", 0) for each in (old, new))
        wanted = {"Resumed": 0, "SpecChanged": before}.get(str(reason), before + 1)
        if new["phase"] == "Recovering" and after != wanted:
            self._found(f"{name} recovers from {reason}, and {before} recoveries became {after}")
        store = self.world.store
        if reason == "RecordsLost" and not (
            store.was_changed or store.lost_records or "was started but" in message
        ):
            self._found(
                f"{name} takes its records for lost, and the store has lost nothing: {message}"
            )

    def _check_progress(self, name: str, old: Document, new: Document, sender: str) -> None:
        progress, phase = new.get("progress") or {}, new.get("phase")
        done = _done(progress)
        if done > progress.get("total", done):
            self._found(f"{name}: {done} of {progress['total']} done")
        good, before = (
            _done(each) - int(each.get("failed", 0))
            for each in (progress, old.get("progress") or {})
        )
        if good < before and self._is_orderly(sender) and "total" in progress:
            self._found(f"{name}: {before} were made or up to date, now {good}")
        resting = phase in ("Suspended", "Recovering") or phase in FINISHED
        if resting and sender.startswith("operator") and (new.get("shards") or {}).get("active"):
            self._found(f"{name} is {phase}, with {new['shards']['active']} active shards")

    def _is_orderly(self, sender: str) -> bool:
        """Whether what was made must still be there, and this report is not late."""
        late = self.world.disordered and sender in self.world.cluster.made
        return not self.world.tampered and not late

    def _check_failed(self, document: Document) -> None:
        """What may heal costs no job before its recoveries are used up."""
        status = document["status"]
        reason = next(each["reason"] for each in status["conditions"] if each["type"] == "Failed")
        name = document["metadata"]["name"]
        if reason in ("ShardsFailed", "IndexFailed") and not self._failed_children(document):
            self._found(f"{name} failed, though no child Job of its attempt did: {said(document)}")
        if reason in _MAY_HEAL and status.get("recoveryAttempts", 0) < MOST_RECOVERIES:
            recoveries = status.get("recoveryAttempts", 0)
            self._found(f"{name} failed after {recoveries} recoveries: {said(document)}")

    def _failed_children(self, document: Document) -> list[Document]:
        uid, attempt = document["metadata"]["uid"], document["status"]["attempt"]["number"]
        wanted = {names.LABEL_UID: uid, names.LABEL_ATTEMPT: str(attempt)}
        mine = [
            job
            for job in self.world.api.of("Job")
            if wanted.items() <= job["metadata"]["labels"].items()
        ]
        ends = [
            (job, {each["type"] for each in job.get("status", {}).get("conditions", ())})
            for job in mine
        ]
        return [job for job, conditions in ends if conditions & {"Failed", "FailureTarget"}]

    def on_change(self, what: str, ref: Ref, document: Document) -> None:
        """Nobody gives back the Lease of an active job."""
        if ref[0] != "Lease" or ref[1] != "team":
            return
        before = self._holders.pop(ref, "")
        if what == "DELETED":
            return
        self._holders[ref] = document["spec"].get("holderIdentity") or ""
        for job in (
            self.world.api.of("FileProcessingJob") if before and not self._holders[ref] else ()
        ):
            phase = (job.get("status") or {}).get("phase")
            if job["metadata"]["uid"] == before and phase in _ACTIVE:
                self._found(f"{job['metadata']['name']} is {phase}, and its Lease was given back")

    def on_flush(self, uid: str) -> None:
        """Nobody records anything for a job that is suspended, or between two attempts."""
        if self.world.store.was_changed:
            return
        for document in self.world.api.of("FileProcessingJob"):
            phase = (document.get("status") or {}).get("phase")
            later = "taken back once" in said(document)
            if (
                document["metadata"]["uid"] == uid
                and phase in ("Suspended", "Recovering")
                and not later
            ):
                self._found(f"{document['metadata']['name']} is {phase}, and a batch was recorded")

    # Completed ------------------------------------------------------------------------------------

    def _check_done(self, document: Document) -> None:
        """Every image of the source is accounted for, once, by its file or by its failure."""
        world, status, uid = self.world, document["status"], document["metadata"]["uid"]
        name, attempt = document["metadata"]["name"], status["attempt"]
        progress = status.get("progress") or {}
        if _done(progress) != progress.get("total") or progress.get("total") != attempt.get(
            "plannedImages"
        ):
            self._found(f"{name} is {status['phase']} with {progress} of {attempt}")
        if status.get("observedGeneration") == document["metadata"]["generation"]:
            self._check_files(
                document, int(progress.get("failed", 0)), self._began[uid, attempt["number"]]
            )
        if world.kernel.loop.now - world.store.changed_at < _JUST_NOW:
            return
        store = world.store.real
        record = store.get_job(uid)
        if (
            store.identity() != attempt.get("storeId")
            or record is None
            or record.planned_attempt != attempt["number"]
        ):
            self._found(f"{name} is {status['phase']}, and its store has no such plan: {record}")
            return
        counts, states = store.job_counts(uid, attempt["number"])
        shards = states.get(ShardState.SUCCEEDED, 0)
        if set(states) - {ShardState.SUCCEEDED} or shards != attempt.get("plannedShards"):
            self._found(f"{name} is {status['phase']} with shards {states}")
        if (record.base + counts).done != record.total:
            self._found(
                f"{name} is {status['phase']}: {record.base} and {counts} of {record.total}"
            )

    def _check_files(self, document: Document, failed: int, began: float) -> None:
        """What is recorded is on disk, as the spec of now and the source want it; ``began`` is when
        the attempt did.
        """
        world = self.world
        resource = parse_resource(
            {
                "apiVersion": document["apiVersion"],
                "kind": document["kind"],
                "spec": document["spec"],
            }
            | {"metadata": {"name": document["metadata"]["name"], "namespace": "team"}}
        )
        assert isinstance(resource, FileProcessingJob)
        digests = tier_digests(resolve_tiers(resource.spec))
        collection = names.store_collection("team", resource.collection_id)
        store = world.store.real
        images = store.images(collection, 0, 10_000)
        lacking = []
        made = {
            (d.image, d.tier): d for d in store.derivatives(collection, 0, 10_000, list(digests))
        }
        for image in images:
            for tier, digest in digests.items():
                derivative = made.get((image.id, tier))
                if (
                    derivative is None
                    or derivative.digest != digest
                    or derivative.source_version != image.version
                ):
                    lacking.append(f"{image.key}: not recorded")
                    continue
                there = world.disk.files.get(derivative.path)
                # It was there when it was looked for.
                if world.deleted_files.get(derivative.path, 0.0) > began:
                    continue
                # A source that changed since it was listed is made as it is now: the next listing
                # shows that it is new.
                newer = there is not None and there[1].startswith(image.version)
                if there is None or there[::2] != (derivative.bytes, digest) or not newer:
                    self._found(
                        f"{document['metadata']['name']}: {image.key} is recorded as {derivative},"
                        f" is {there}"
                    )
        strange = {
            each.key: each.error_type for each in store.failures(document["metadata"]["uid"])
        }
        strange = {key: kind for key, kind in strange.items() if world.can_be_made(key)}
        if strange and not (world.was_unmounted and len(images) < 3):
            self._found(
                f"{document['metadata']['name']}: images that are well are charged: {strange}"
            )
        emptied = world.kernel.loop.now - world.store.changed_at < _JUST_NOW
        if len(lacking) > failed and not emptied:
            self._found(
                f"{document['metadata']['name']} is done with {failed} failed, but {lacking}"
            )

    # While it runs --------------------------------------------------------------------------------

    def while_it_runs(self) -> None:
        """No unfinished job is forgotten; writes are bounded."""
        world = self.world
        most = _WRITES_AT_ONCE + world.kernel.seconds() / 60 * _WRITES_A_MINUTE * max(
            len(world.api.of("FileProcessingJob")), 1
        )
        if world.api.writes > most:
            self._found(f"{world.api.writes} writes in {world.kernel.seconds():.0f} s")
        leading = [
            r.process
            for r in world.replicas
            if r.process is not None and r.process.controller is not None
        ]
        self.leaders()
        self._listen(leading)
        self._check_rejections()
        self._check_locked()
        if len(leading) != 1 or not world.calm:
            self._nobody_since.clear()
            return
        for document in world.api.of("FileProcessingJob"):
            self._check_wake_up(leading[0].controller, document)

    def _listen(self, leading: list[Any]) -> None:
        """Note whether anything keeps the operator from what it has to do."""
        world = self.world
        nodes = [*(replica.node for replica in world.replicas), *world.cluster.nodes]
        troubles = (
            world.network.api_down,
            world.network.api_fates,
            world.network.store_fates,
            world.store.down,
            len(leading) != 1,
            any(node.cut_off for node in nodes),
            any(process.frozen_until > world.kernel.loop.now for process in leading),
        )
        clocks = (
            world.store.skew,
            *(node.skew for node in nodes),
            *(process.name for process in leading),
        )
        if any(troubles) or clocks != self._clocks:
            self._clocks = clocks
            self._noisy_at = world.kernel.loop.now

    def _quiet_for(self) -> float:
        """Seconds for which nothing kept the operator from what it has to do."""
        return self.world.kernel.loop.now - max(self._noisy_at, self.world.store.changed_at)

    def _check_rejections(self) -> None:
        """A child that is rejected is reported while that lasts."""
        world = self.world
        for name, since in list(world.api.rejected.items()):
            document = world.api.get("FileProcessingJob", "team", name)
            phase = (document.get("status") or {}).get("phase") if document is not None else None
            if document is None or not world.api.admit or phase not in _ACTIVE:
                del world.api.rejected[name]
            elif "ChildRejected" in said(document):
                continue
            elif min(world.kernel.loop.now - since, self._quiet_for()) > _SAYS_SO:
                self._found(
                    f"{name} is {phase}, its child is rejected, and it says {said(document)}"
                )

    def _check_locked(self) -> None:
        """The lock of an active job is renewed in time,
        where nothing keeps the operator from it.
        """
        world = self.world
        if (
            self._quiet_for()
            < world.settings.lease_seconds / 3 + 2 * world.settings.check_seconds + _SAYS_SO / 2
        ):
            return
        for document in world.api.of("FileProcessingJob"):
            status, uid = document.get("status") or {}, document["metadata"]["uid"]
            since = self._began.get(
                (uid, (status.get("attempt") or {}).get("number", 0)), world.kernel.loop.now
            )
            collection = names.store_collection("team", document["spec"]["collection"]["id"])
            held = world.store.real.lease(lease_name(collection))
            if status.get("phase") not in _ACTIVE or held is None or held.holder != uid:
                continue
            if world.kernel.loop.now - since > _SAYS_SO and held.expires_at < world.kernel.wall(
                world.store.skew
            ):
                self._found(
                    f"{document['metadata']['name']} is {status['phase']}, and its lock has lapsed:"
                    f" {held}"
                )

    def _check_wake_up(self, controller: Any, document: Document) -> None:
        name = document["metadata"]["name"]
        status = document.get("status") or {}
        if status.get("phase") in FINISHED or self._comes_back(controller, document):
            self._nobody_since.pop(name, None)
            return
        since = self._nobody_since.setdefault(name, self.world.kernel.loop.now)
        if self.world.kernel.loop.now - since > _WITHOUT_WAKE_UP:
            self._found(
                f"nobody comes back to {name}, which is {status.get('phase')}: {said(document)}"
            )

    @staticmethod
    def _comes_back(controller: Any, document: Document) -> bool:
        key = Key("team", document["metadata"]["name"])
        work, jobs = controller.work, controller.jobs
        if (
            document["spec"].get("suspend")
            and (document.get("status") or {}).get("phase") == "Suspended"
        ):
            return True
        in_line = key in work._timers or key in work._waiting or key in work._in_hand
        entry = jobs._entry(key)
        return (
            in_line
            or key in jobs.at_work()
            or (
                entry is not None and bool(said(document)) and (entry.waits or bool(jobs.lock(key)))
            )
        )

    # At the end -----------------------------------------------------------------------------------

    def at_rest(self) -> None:
        """After the last job's end: nothing runs, nothing is locked, nobody may report."""
        world = self.world
        pods = [world.api.objects.get(ref) for ref in world.cluster.running]
        if going_on := [
            pod["metadata"]["name"]
            for pod in pods
            if pod and self._is_of_a_job(pod) and "deletionTimestamp" not in pod["metadata"]
        ]:
            self._found(f"pods go on: {going_on}")
        self._check_records()
        for document in world.api.of("FileProcessingJob"):
            name, status = document["metadata"]["name"], document["status"]
            if status.get("observedGeneration") != document["metadata"]["generation"]:
                self._found(
                    f"{name} is {status['phase']}, of generation {status.get('observedGeneration')}"
                )
            if names.resume_mark(document["metadata"]) != (status.get("attempt") or {}).get(
                "resumedBy", ""
            ):
                self._found(f"{name} is {status['phase']}, and was to be restarted since")
            record = (
                None
                if world.store.was_changed
                else world.store.real.get_job(document["metadata"]["uid"])
            )
            if record is not None and (not record.phase.finished or record.finished_at is None):
                self._found(
                    f"{name} is {status['phase']}, its record {record.phase}, ended"
                    f" {record.finished_at}"
                )
        for kind in ("ServiceAccount", "Role", "RoleBinding"):
            if found := world.api.of(kind):
                self._found(
                    f"rights are left: {kind} {[each['metadata']['name'] for each in found]}"
                )
        for job in world.api.of("Job"):
            conditions = {each["type"] for each in job.get("status", {}).get("conditions", ())}
            if self._is_of_a_job(job) and not conditions & {"Complete", "Failed"}:
                self._found(f"a child Job that has not ended is left: {job['metadata']['name']}")
        self._check_locks()

    def _is_of_a_job(self, document: Document) -> bool:
        """Whether a Job or a Pod is a FileProcessingJob's."""
        return True

    def _check_records(self) -> None:
        """Every file is as it is recorded, also those that nobody looked at lately."""
        world, collection = self.world, names.store_collection("team", "photos")
        if world.store.was_changed:
            return
        for derivative in world.store.real.derivatives(collection, 0, 10_000, ["thumbnail"]):
            there = world.disk.files.get(derivative.path)
            if derivative.path not in world.deleted_files and (
                there is None or there[::2] != (derivative.bytes, derivative.digest)
            ):
                self._found(f"{derivative.image} is recorded as {derivative}, and is {there}")

    def _check_locks(self) -> None:
        """Of jobs that are there still: those of deleted ones are found by a sweep,
        which takes its time.
        """
        world = self.world
        there = {each["metadata"]["uid"] for each in world.api.of("FileProcessingJob")}
        for lease in world.api.of("Lease"):
            if (
                lease["metadata"]["namespace"] == "team"
                and lease["spec"].get("holderIdentity") in there
            ):
                self._found(f"the lock is left: {json.dumps(lease['spec'])}")
        for collection in () if world.store.was_changed else world.collections:
            held = world.store.real.lease(lease_name(names.store_collection("team", collection)))
            lasts = held is not None and held.expires_at > world.kernel.wall(world.store.skew)
            if held and lasts and held.holder in there:
                self._found(f"the store's lock is left: {held}")

    def left_behind(self) -> str:
        """After all jobs were deleted: what is left of them, empty for nothing."""
        world = self.world
        kinds = ("Job", "Pod", "ServiceAccount", "Role", "RoleBinding")
        left = [
            f"{kind} {each['metadata']['name']}" for kind in kinds for each in world.api.of(kind)
        ]
        left += [each.name for each in world.cluster.running.values()]
        for lease in world.api.of("Lease"):
            if lease["metadata"]["namespace"] == "team" and lease["spec"].get("holderIdentity"):
                left.append(f"Lease of {lease['spec']['holderIdentity']}")
        for collection in () if world.store.was_changed else world.collections:
            held = world.store.real.lease(lease_name(names.store_collection("team", collection)))
            lasts = held is not None and held.expires_at > world.kernel.wall(world.store.skew)
            if held and lasts and held.holder and not held.holder.startswith("run-"):
                left.append(f"the store's lock: {held}")
        return ", ".join(left)


def _done(progress: Document) -> int:
    return int(
        progress.get("completed", 0) + progress.get("skipped", 0) + progress.get("failed", 0)
    )
