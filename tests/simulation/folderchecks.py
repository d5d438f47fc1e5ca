"""What must hold of cache folders, whatever goes wrong. See also `simulation.folderstore`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from typing_extensions import override

from fpj_core.kube import names
from fpj_operator.keys import Key
from fpj_worker.inventory import Inventory
from simulation.apiserver import Document, Ref
from simulation.checks import Checks
from simulation.kernel import Process

if TYPE_CHECKING:
    from simulation.folderworld import FolderWorld

_TOLD_SECONDS = 60.0
"""For which an operator may act on a spec that it has read."""
_LIMIT_SECONDS = 200.0
"""For which what was reserved under a higher limit may still be written."""
_BATCH_SECONDS = 1.0
"""In which a batch of files is removed."""
_LARGEST = 25_000
"""Bytes of a file."""
_WITHOUT_WAKE_UP = 40.0
_DONE = {"Complete", "Failed"}


class FolderChecks(Checks):
    """The invariants of one world of cache folders."""

    world: FolderWorld

    def __init__(self, world: FolderWorld) -> None:
        super().__init__(world)
        self._made_at: dict[str, float] = {}
        """When the Jobs of runs were made, by name."""
        self._left_alone_since: float | None = None

    def specs_for(self, pod: str) -> list[Document]:
        """The folder's specs that a pod may have: those since a while before its Job was made."""
        since = self._made_at.get(pod.rsplit("-", 2)[0], 0.0) - _TOLD_SECONDS
        return self._in_force(since)

    def _in_force(self, since: float) -> list[Document]:
        specs = self.world.specs
        later = [spec for at, spec in specs if at > since]
        before = [spec for at, spec in specs if at <= since]
        return [*before[-1:], *later]

    # Files ----------------------------------------------------------------------------------------

    def on_written(self, path: str, process: Process) -> None:
        """The folder holds no more than it may, and a batch of each pod that works.

        What a killed pod has left unrecorded is not counted: `fpj verify` removes it.
        """
        world = self.world
        if world.disk.theirs:
            return  # that it was taken over is found out by the next attempt
        store = world.own_checks
        known = store.paths | store.removals()
        held = sum(
            size
            for each, (size, *_) in world.disk.files.items()
            if each in known or not world.disk.writers[each].dead
        )
        most = max(
            int(spec["maxBytes"]) for spec in self._in_force(world.kernel.loop.now - _LIMIT_SECONDS)
        )
        batches = sum(
            int(job["spec"]["sharding"]["batchSize"]) * _LARGEST for job in self._jobs_of_pods()
        )
        if held > most + batches:
            self._found(
                f"the folder holds {held} bytes once {process.name} has written {path}: it may"
                f" hold {most}, and {batches} are of batches"
            )

    def _jobs_of_pods(self) -> list[Document]:
        world, found = self.world, []
        by_uid = {each["metadata"]["uid"]: each for each in world.api.of("FileProcessingJob")}
        for (_, _, name), process in world.cluster.running.items():
            uid, _attempt = world.cluster.made[name]
            if not process.dead:
                found.append(by_uid.get(uid) or {"spec": {"sharding": {"batchSize": 5}}})
        return [each for each in found if each.get("kind", "FileProcessingJob") != "CacheFolder"]

    def on_removed(self, path: str, process: Process) -> None:
        """Only what is being removed is removed, and only where the folder is ours."""
        store = self.world.own_checks
        if path in store.paths:
            self._found(f"{process.name} removed {path}, which is recorded")
        elif path not in store.removals():
            self._found(f"{process.name} removed {path} before it said so")
        disk, now = self.world.disk, self.world.kernel.loop.now
        # What was started before the marker changed is not stopped in the middle of a batch.
        started = now - disk.marked_at < _BATCH_SECONDS or process.frozen_until > disk.marked_at
        if not started and disk.theirs:
            self._found(f"{process.name} removed {path} from a folder of another store")
        if not started and disk.marker is None:
            self._found(f"{process.name} removed {path} from a folder without its marker")

    def on_theirs(self, path: str, process: Process) -> None:
        """Nobody removes what may be another store's."""
        self._found(f"{process.name} removed {path} from a folder of another store")

    # Resources ------------------------------------------------------------------------------------

    @override
    def on_change(self, what: str, ref: Ref, document: Document) -> None:
        super().on_change(what, ref, document)
        if ref[0] != "Job" or what != "ADDED" or not _is_run(document):
            return
        self._made_at[ref[2]] = self.world.kernel.loop.now
        others = [
            job["metadata"]["name"]
            for job in self.world.api.of("Job")
            if _is_run(job) and job["metadata"]["name"] != ref[2] and not _has_ended(job)
        ]
        if others:
            self._found(f"{ref[2]} was made, and {others} have not ended")
        variables = document["spec"]["template"]["spec"]["containers"][0]["env"]
        task = next(each["value"] for each in variables if each["name"] == "FPJ_TASK")
        given = json.loads(task)["folder"]["spec"]["maxBytes"]
        wanted = self._in_force(self.world.kernel.loop.now - _TOLD_SECONDS)
        if str(given) not in {str(each["maxBytes"]) for each in wanted}:
            self._found(f"{ref[2]} evicts to {given} bytes, which nobody wants any more")

    @override
    def on_status(self, before: Document, after: Document, sender: str) -> None:
        super().on_status(before, after, sender)
        if after["kind"] != "CacheFolder":
            return
        old, new = ((each.get("status") or {}).get("run") or {} for each in (before, after))
        was, number = int(old.get("number") or 0), int(new.get("number") or 0)
        if number not in (was, was + 1):
            self._found(f"run {was} of the folder became {number}")
        if number != was and old and not old.get("endTime"):
            self._found(f"run {number} of the folder began, and {was} had not ended")
        if number != was or old.get("endTime") != new.get("endTime"):
            said = json.dumps(new, sort_keys=True)
            self.world.kernel.note("status", f"CacheFolder run {said}")

    @override
    def _is_orderly(self, sender: str) -> bool:
        """Between two attempts a collection is nobody's, and some of it may be evicted."""
        return not self.world.own_checks.evicted and super()._is_orderly(sender)

    @override
    def _check_failed(self, document: Document) -> None:
        """Nor must a job that finds no folder, or somebody else's, at its start."""
        reasons = {each["reason"] for each in document["status"]["conditions"]}
        if not (self.world.was_unmounted and "CacheFolderUnusable" in reasons):
            super()._check_failed(document)

    # While it runs --------------------------------------------------------------------------------

    @override
    def while_it_runs(self) -> None:
        super().while_it_runs()
        world = self.world
        world.own_checks.compare()
        leading = [
            each.process
            for each in world.replicas
            if each.process is not None and each.process.folders is not None
        ]
        if len(leading) != 1 or not world.calm:
            self._left_alone_since = None
            return
        folders, key = leading[0].folders, Key("team", "cache")
        assert folders is not None
        work = folders.work
        if key in work._timers or key in work._waiting or key in work._in_hand:
            self._left_alone_since = None
            return
        now = world.kernel.loop.now
        self._left_alone_since = self._left_alone_since or now
        if now - self._left_alone_since > _WITHOUT_WAKE_UP:
            self._found("nobody comes back to the folder")

    # At the end -----------------------------------------------------------------------------------

    @override
    def _is_of_a_job(self, document: Document) -> bool:
        return not _is_run(document)

    @override
    def _check_records(self) -> None:
        """Every record has its file. Its size may be that of a job which was stopped in between."""
        world = self.world
        world.own_checks.compare()
        for record in world.own_checks.kept.values():
            there = world.disk.files.get(record.path)
            if record.path in world.deleted_files:
                continue
            if there is None or (there[0] != record.bytes and not world.tampered):
                self._found(f"{record.path} is recorded with {record.bytes} bytes, and is {there}")

    def not_evicted(self) -> str:
        """Why the folder is not as its spec and the truth are; empty if it is."""
        document = self.world.api.of("CacheFolder")[0]
        status, used = document.get("status") or {}, self.world.own_checks.used()[""]
        run = status.get("run") or {}
        high = document["spec"]["maxBytes"] * 0.9
        if run.get("generation") != document["metadata"]["generation"] or not run.get("endTime"):
            return f"its run is {run}"
        shown = (status.get("totalFiles"), status.get("totalBytes"))
        if shown != (len(self.world.own_checks.kept), used):
            return f"it shows {shown}, and holds {len(self.world.own_checks.kept)}, {used} bytes"
        ready = {each["type"]: each["status"] for each in status.get("conditions", ())}
        if run.get("result") != "Succeeded" or ready.get("Ready") != "True":
            return f"its run is {run}, {status.get('conditions')}"
        return f"it holds {used}, and {high:.0f} are too much" if used > high else ""

    def at_the_end(self) -> None:
        """Nothing kept was lost; nothing that was removed has come back."""
        store, disk = self.world.own_checks, self.world.disk
        self._check_records()
        if left := store.removals():
            self._found(f"removals were not finished: {sorted(left)}")
        for path in set(disk.files) - store.paths:
            if store.removed_at.get(path, 0.0) >= disk.modified.get(path, 0.0):
                self._found(f"{path} was removed, and is there again")

    def after_verify(self, found: Inventory) -> None:
        """After a repair, the folder holds what is recorded, and nothing else."""
        store, disk = self.world.own_checks, self.world.disk
        recorded = {each.path: each.bytes for each in store.recorded().values()}
        there = {path: content[0] for path, content in disk.files.items()}
        if recorded != there:
            differ = sorted(set(recorded.items()) ^ set(there.items()))
            self._found(f"after a repair, folder and records differ: {differ}")
        if found.left or found.marker or found.troubles or found.busy:
            self._found(f"after a repair, verify finds {found}")
        store.kept = store.recorded()
        store.compare()


def _is_run(job: Document) -> bool:
    return (job["metadata"].get("labels") or {}).get(names.LABEL_ROLE) == names.ROLE_EVICT


def _has_ended(job: Document) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return bool(_DONE & {each["type"] for each in conditions})
