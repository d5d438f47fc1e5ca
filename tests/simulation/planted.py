"""Bugs to be found: most undo one fix of the past, in a copy of the code.

A simulation that misses them is blind there.

`Bug.old` stands once in the file. How long each takes to be found is in
docs/development/simulation.md, which `python -m simulation --planted --write` makes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fpj_mutations.catalogue import MutationError, replaced

ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("core", "operator", "worker")


@dataclass(frozen=True)
class Bug:
    """``name`` says what is wrong; ``path`` is the file, in which ``old`` becomes ``new``."""

    name: str
    path: str
    old: str
    new: str
    world: str = "jobs"
    """The kind of schedules that should find it."""
    equivalent: str = ""
    """Why nothing can show it, where something else holds whatever this does."""

    @property
    def is_there(self) -> bool:
        """Whether the code still has its place."""
        try:
            replaced((ROOT / self.path).read_text(encoding="utf-8"), self.old, self.new)
        except MutationError:
            return False
        return True


def _of_folders(name: str, path: str, old: str, new: str) -> Bug:
    return Bug(name, path, old, new, world="folders")


_O, _W, _C = "operator/fpj_operator/", "worker/fpj_worker/", "core/fpj_core/"

BUGS = (
    # Completed requires evidence
    Bug(
        "an empty store shows nothing that is left, so the job is done",
        _O + "jobs/evidence.py",
        "    if attempt.store_id and store.identity != attempt.store_id:\n",
        "    if store.record is None:\n        return Evidence(Finding.DONE, attempt)\n"
        "    if attempt.store_id and store.identity != attempt.store_id:\n",
    ),
    Bug(
        "the store's identity is not compared",
        _O + "jobs/evidence.py",
        "if attempt.store_id and store.identity != attempt.store_id:",
        "if False:",
    ),
    Bug(
        "the plan of another attempt counts",
        _O + "jobs/evidence.py",
        "    if record.planned_attempt != attempt.number:\n",
        "    if not record.planned_attempt:\n",
    ),
    Bug(
        "shards that are missing are not missed",
        _O + "jobs/evidence.py",
        "if store.total_shards != shards:",
        "if False:",
    ),
    Bug(
        "a job is done while a shard is not",
        _O + "jobs/evidence.py",
        "if store.shards.get(ShardState.SUCCEEDED, 0) != shards:",
        "if store.shards.get(ShardState.SUCCEEDED, 0) < shards - 1:",
    ),
    Bug(
        "an edited spec is not made",
        _O + "jobs/reconcile.py",
        "if not fits(found.attempt, o.job.spec):",
        "if False:",
    ),
    Bug(
        "pods of the earlier spec are not waited for",
        _O + "jobs/reconcile.py",
        "if o.pods_left:",
        "if False:",
    ),
    Bug(
        "a status is written upon what was read long ago",
        _O + "jobs/execute.py",
        "            observed.version or None,\n",
        "            None,\n",
    ),
    Bug(
        "images are written with a fence of the past",
        _C + "store/sqlite.py",
        "            for collection in {image.collection for image in images}:\n               "
        " check_fence(",
        "            for collection in {image.collection for image in images}:\n               "
        " (lambda *_: None)(",
    ),
    Bug(
        "a late attempt's plan replaces the one of now",
        _C + "store/sqlite_jobs.py",
        "    if row is not None and (row[0] >= attempt or row[1] != planner):\n",
        "    if False:\n",
    ),
    Bug(
        "a late report is written whatever the job is at",
        _W + "pod/report.py",
        "        return self._tests + [",
        "        return [",
    ),
    Bug(
        "what earlier attempts made within a shard is not counted",
        _W + "planner.py",
        "yield replace(shard, counts=replace(counts, skipped=max(images - to_do - counts.completed,"
        " 0)))",
        "yield shard",
    ),
    # Waits
    Bug(
        "a rejected child is tried again without a word",
        _O + "jobs/execute.py",
        "raise DisturbedError(replace(observed, rejected=rejected), str(error)) from error",
        "raise",
    ),
    Bug(
        "the lease is renewed when it is nearly over",
        _O + "jobs/reconcile.py",
        "if o.lease.expires_at - o.now >= self.settings.lease_seconds * 2 / 3:",
        "if o.lease.expires_at - o.now >= -60:",
    ),
    Bug(
        "recoveries are not counted",
        _O + "jobs/reconcile.py",
        "attempts=before + 1, reason=reason",
        "attempts=before, reason=reason",
    ),
    Bug(
        "one recovery more than allowed",
        _O + "jobs/reconcile.py",
        "        if before >= most:",
        "        if before > most:",
    ),
    Bug(
        "rights of workers stay after the end",
        _O + "jobs/reconcile.py",
        "        return (DeleteRights(),) if began or o.rights else ()",
        "        return ()",
    ),
    Bug(
        "the lock stays after the end",
        _O + "jobs/reconcile.py",
        "        if o.lease.holder == o.uid and o.store.error is None:\n",
        "        if False:\n",
    ),
    Bug(
        "unfinished child Jobs stay after the end",
        _O + "jobs/reconcile.py",
        "        if (late or o.phase is Phase.FAILED) and self._live_children() and stop not in"
        " steps:",
        "        if False:",
    ),
    Bug(
        "a deleted job is nobody's business",
        _O + "jobs/vanished.py",
        "    async def _handle(self, what: Gone | Key) -> None:\n",
        "    async def _handle(self, what: Gone | Key) -> None:\n        return\n",
    ),
    Bug(
        "suspending fences nobody",
        _O + "jobs/reconcile.py",
        'steps = (RecordJob(Phase.SUSPENDED, "Suspended", "", o.attempt.number), FenceShards())',
        "steps = ()",
    ),
    Bug(
        "active shards are shown of a job at rest",
        _O + "jobs/reconcile.py",
        '    "shards": {"active": 0},\n',
        "",
    ),
    Bug(
        "no record is kept of an end that is not tidied up",
        _O + "jobs/reconcile.py",
        "        return (*steps, RecordEnd()) if known else steps",
        "        return steps",
    ),
    # Leadership, leases, shards
    Bug(
        "a leader goes on past its lease",
        _O + "election.py",
        "_LEADS_FOR = 2 / 3",
        "_LEADS_FOR = 2",
    ),
    Bug(
        "a standby takes a lease that is still valid",
        _O + "election.py",
        'self._sightings.left(_NAME, found["spec"], self._seconds) > 0',
        'self._sightings.left(_NAME, found["spec"], self._seconds) > 9',
    ),
    Bug(
        "a deleted leader's Lease is free at once",
        _O + "election.py",
        "            if self._is_only_just_gone():\n                return False\n",
        "",
    ),
    Bug(
        "who lost the race for the Lease knows of no leader",
        _O + "election.py",
        "            self._sightings.left(_NAME, {}, self._seconds)\n",
        "",
    ),
    Bug(
        "a process that may not write writes",
        _C + "kube/api.py",
        "            if not self._may_write():",
        "            if False:",
    ),
    Bug(
        "the late end of a namesake takes the job of now out of the queue",
        _O + "jobs/queue.py",
        "        if entry is not None and uid not in (None, entry.uid):",
        "        if False:",
    ),
    Bug(
        "fenced pods fail the job with its recoveries unused",
        _O + "jobs/reconcile.py",
        "    Reason.SHARD_HELD.value,\n    Reason.FENCED.value,\n",
        "    Reason.SHARD_HELD.value,\n",
    ),
    Bug(
        "an outage of the store fails the job with its recoveries unused",
        _O + "jobs/reconcile.py",
        "_SICK | {\n    Reason.STORE_UNAVAILABLE.value,\n",
        "_SICK | {\n",
    ),
    Bug(
        "a batch is recorded whoever holds the shard",
        _C + "store/sqlite_jobs.py",
        "row is None or row[0] != batch.epoch or",
        "row is None or",
    ),
    Bug(
        "the end of a shard is recorded whoever holds it",
        _C + "store/sqlite_jobs.py",
        ' AND epoch = ?"\n        )\n        with self._connection.write() as db:\n'
        "            if not db.execute(\n                query,"
        " (*values, shard.job, shard.attempt, shard.index, shard.epoch)",
        '"\n        )\n        with self._connection.write() as db:\n'
        "            if not db.execute(\n                query,"
        " (*values, shard.job, shard.attempt, shard.index)",
    ),
    Bug(
        "a claim keeps the epoch",
        _C + "store/sqlite_jobs.py",
        'heartbeat_at = ?, epoch = epoch + 1"\n            f" WHERE job = ? AND attempt = ? AND idx'
        " = ? RETURNING",
        'heartbeat_at = ?"\n            f" WHERE job = ? AND attempt = ? AND idx = ? RETURNING',
    ),
    Bug(
        "a batch whose answer was lost counts twice",
        _C + "store/sqlite_jobs.py",
        "            if row[1] != batch.expected_cursor:  #",
        "            if False:  #",
    ),
    Bug(
        "the next holder of a lease keeps the fence",
        _C + "store/sqlite_jobs.py",
        "fence = 1 if row is None else row[1] + (row[0] != holder)",
        "fence = 1 if row is None else row[1]",
    ),
    Bug(
        "a lease that is held is taken",
        _C + "store/sqlite_jobs.py",
        "            if row and row[0] != holder and row[2] > now:",
        "            if False:",
    ),
    Bug(
        "who lost the lease keeps working",
        _O + "jobs/reconcile.py",
        "if o.lease.holder != o.uid or (o.lease.renewed and o.lease.fence != o.attempt.fence):",
        "if False:",
    ),
    Bug(
        "release gives back another's Lease",
        _O + "jobs/leases.py",
        "            if found is None or view.holder != uid:\n                return\n",
        "            if found is None:\n                return\n",
    ),
    Bug(
        "an event for a job that is in hand is lost",
        _O + "workqueue.py",
        "            self._again.add(key)\n",
        "            pass\n",
    ),
    # Workers and their storage
    Bug(
        "files are recorded before they are on disk",
        _W + "shard.py",
        "            if batch.derivatives:\n                self._bring_to_disk()\n",
        "",
    ),
    Bug(
        "a fault of the storage is held against the image",
        _W + "shard.py",
        "        doubtful = self._probe is not None and may_be_environment(error.error_type,"
        " error.environment)\n",
        "        doubtful = False\n",
    ),
    Bug(
        "a source that is not mounted has lost its images",
        _W + "indexer.py",
        "        if not self._accept_vanished:\n            self._refuse_shrunk(on_step)\n",
        "",
    ),
    Bug(
        "who indexes without the lease fails for a wrong reason",
        _W + "indexer.py",
        "        if ordinal >> 3 >= len(self._seen):\n",
        "        if False:\n",
    ),
    Bug(
        "a pod works for a job that was stopped",
        _C + "jobs.py",
        "    if job.phase in _STOPPED:\n",
        "    if False:\n",
    ),
    Bug(
        "a lost shard is still finished",
        _W + "pod/shard.py",
        "        try:\n            self.check_attempt()\n        except FencedError:",
        "        try:\n            pass\n        except FencedError:",
    ),
    Bug(
        "the cursor passes what is not made",
        _W + "shard.py",
        "        cursor = rest[0].image.ordinal if rest else self._unread\n",
        "        cursor = self._unread\n",
    ),
    Bug(
        "files that are gone are not looked for",
        _W + "planner.py",
        "        if settings.check_files:\n",
        "        if False:\n",
    ),
    # Cache folders
    _of_folders(
        "who evicts holds no lease of the folder",
        _W + "eviction.py",
        "        with locked(self._store, name, who, eviction_lease_name) as self._mine:\n",
        "        if True:\n",
    ),
    _of_folders(
        "the record of a removal goes before the file",
        _W + "removal.py",
        "        troubles = self._folder.remove_many([each.path for each in going])\n",
        "        self._store.end_removals(some)\n"
        "        troubles = self._folder.remove_many([each.path for each in going])\n",
    ),
    _of_folders(
        "a removal is over before it is on disk",
        _W + "removal.py",
        "        sync()  # a file must",
        "        # a file must",
    ),
    _of_folders(
        "what a killed eviction has started is left",
        _W + "eviction.py",
        "            removed = self._finish_earlier(who)\n",
        "            removed = Removed()\n",
    ),
    _of_folders(
        "an eviction whose lease has not lapsed yet is not waited for",
        _W + "pod/evict.py",
        "            if time.monotonic() >= until:\n",
        "            if True:\n",
    ),
    _of_folders(
        "files are removed from a folder that another store has marked",
        _W + "removal.py",
        "            require_ours(self._store, self._folder)\n",
        "            self._folder.require_marker()\n",
    ),
    _of_folders(
        "files are removed where no folder is mounted",
        _W + "removal.py",
        "            require_ours(self._store, self._folder)\n",
        "",
    ),
    _of_folders(
        "what others have reserved is not counted",
        _C + "store/sqlite_room.py",
        "            reserved = _bytes(db, others, folder, holder, since)\n",
        "            reserved = 0\n",
    ),
    _of_folders(
        "what is being removed leaves room at once",
        _C + "store/sqlite_room.py",
        '            held += _bytes(db, "removals WHERE folder = ?", folder)\n',
        "",
    ),
    _of_folders(
        "counters are not reduced by removals",
        _C + "store/sqlite_removals.py",
        "            count(db, number, gone)\n",
        "",
    ),
    _of_folders(
        "pinned images are evicted",
        _C + "policy/census.py",
        "        if self._pinned and (candidate.collection, candidate.ordinal) in self._pinned:\n",
        "        if False:\n",
    ),
    _of_folders(
        "what is younger than the minimum age is evicted",
        _C + "policy/census.py",
        "        return Kept.TOO_YOUNG if least and self._now - candidate.created_at < least else"
        " None\n",
        "        return None\n",
    ),
    _of_folders(
        "evictions begin below the high watermark",
        _C + "policy/limits.py",
        "    if policy.high is not None and policy.low is not None and remaining > policy.high:\n",
        "    if policy.high is not None and policy.low is not None and remaining > policy.low:\n",
    ),
    _of_folders(
        "nobody looks at a folder again",
        _O + "folders/reconcile.py",
        "            requeue_after=self._wait(run, ended),\n",
        "            requeue_after=None,\n",
    ),
    _of_folders(
        "a run is another one while it goes on",
        _O + "folders/reconcile.py",
        "        if v.runs:\n",
        "        if v.runs and not self._cause():\n",
    ),
    _of_folders(
        "a lock that an eviction had meanwhile counts as kept",
        _O + "jobs/execute.py",
        "    return renewed.renewed and (moved > 0 or (lapsed and moved < 0))\n",
        "    return lapsed and moved != 0\n",
    ),
)


@dataclass(frozen=True)
class Found:
    """What came of a bug, in seconds of one core. ``said`` is empty where it was not found."""

    bug: Bug
    schedules: int
    seconds: float
    said: str
    seed: int | None = None
    simulation: str = ""
    """A digest of the simulation that found it."""


def copy_of(bug: Bug, folder: Path) -> dict[str, str]:
    """A copy of the product with the bug; the environment by which it runs."""
    for part in _PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / bug.path
    text = file.read_text(encoding="utf-8")
    file.write_text(replaced(text, bug.old, bug.new), encoding="utf-8")
    paths = [*(str(folder / part) for part in _PARTS), str(ROOT / "tests"), str(ROOT / "hack")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def hunt(bug: Bug, minutes: float, first: int = 0) -> Found:
    """Run schedules over the bug until one fails."""
    with TemporaryDirectory(prefix="fpj-planted-") as folder:
        environment = copy_of(bug, Path(folder))
        command = [
            sys.executable,
            "-m",
            "simulation",
            "--until-found",
            "--minutes",
            str(minutes),
            "--first",
            str(first),
            "--world",
            bug.world,
        ]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd=folder
        )
    last = done.stdout.splitlines()[-1].split("\t") if done.stdout else []
    if len(last) != 4:
        raise RuntimeError(f"{bug.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    schedules, seconds, seed, said = last
    return Found(bug, int(schedules), float(seconds), said, int(seed) if seed else None)
