"""What the store must refuse, and how what it takes must add up: checked by what it holds,
not by what it answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fpj_core.kube.names import lease_name
from fpj_core.manifest import read_resource
from fpj_core.model import Job, Lease, Phase, RemovalReason, ShardState, tier_digests
from fpj_core.store.sqlite import SQLiteStore
from fpj_core.v1alpha1 import FileProcessingJob, resolve_tiers

if TYPE_CHECKING:
    from simulation.storeserver import StoreServer

_STOPPED = frozenset({Phase.FAILED, Phase.CANCELLED, Phase.SUSPENDED, Phase.RECOVERING})
CHECKED = frozenset(
    {
        "flush",
        "heartbeat",
        "finish_shard",
        "claim_shard",
        "put_shards",
        "update_job",
        "acquire_lease",
    }
    | {"upsert_images", "mark_deleted", "record_source", "start_removals"}
)
"""Calls that are carried out by `StoreChecks`."""


class FencedWriteError(AssertionError):
    """The store took what it must refuse, or what does not add up."""


class StoreChecks:
    """The store's calls, each with what must hold of it.

    ``sender`` is the name of the process that calls.
    """

    checked: frozenset[str] = CHECKED
    """Names of the calls that it carries out."""

    def __init__(self, server: StoreServer) -> None:
        self._server = server
        self.sender = ""
        self.on_flush: Callable[[str], None] = lambda _job: None
        self.is_there: Callable[[str], bool] = lambda _key: False
        """Whether the source has an image of that key."""
        self.unsynced: Callable[[str, Iterable[str]], list[str]] = lambda _process, _paths: []
        """Of some files of the cache folder, those that a process has written and that are not on
        disk yet.
        """
        self.replaced()

    def replaced(self) -> None:
        """It is another store: what the one before has given away says nothing of it."""
        self._epochs: dict[tuple[str, int, int], int] = {}
        self._late: set[tuple[str, int, int, int]] = set()
        """Claims on shards of a job that had been stopped, or had gone on to another attempt."""
        self._holders: dict[tuple[str, int], str] = {}
        """Of a lease and its fence."""

    @property
    def _real(self) -> SQLiteStore:
        return self._server.real

    def _found(self, what: str) -> None:
        self._server.kernel.fail(FencedWriteError(what))

    def _row(self, query: str, *values: object) -> Any:
        return self._real._connection._sqlite.execute(query, values).fetchone()

    # Shards ---------------------------------------------------------------------------------------

    def _epoch(self, job: str, attempt: int, index: int) -> int | None:
        row = self._row(
            "SELECT epoch FROM shards WHERE job = ? AND attempt = ? AND idx = ?",
            job,
            attempt,
            index,
        )
        return row[0] if row else None

    def flush(self, batch: Any, now: float) -> None:
        sender, epoch = self.sender, self._epoch(batch.job, batch.attempt, batch.index)
        self._real.flush(batch, now)
        self._held(epoch, batch, f"a batch of shard {batch.index}")
        if missing := self.unsynced(sender, [each.path for each in batch.derivatives]):
            self._found(f"files are recorded before they are on disk: {', '.join(missing)}")
        self._check_counts(batch)
        self.on_flush(batch.job)

    def _check_counts(self, batch: Any) -> None:
        """What lies before the cursor is accounted for, and nothing counts twice."""
        done, start, cursor, stop = self._row(
            "SELECT completed + skipped + failed, start, cursor, stop FROM shards"
            " WHERE job = ? AND attempt = ? AND idx = ?",
            batch.job,
            batch.attempt,
            batch.index,
        )
        passed = self._real.count_images(batch.collection, start, cursor)
        most = self._real.count_images(batch.collection, start, stop)
        if not passed <= done <= most:
            self._found(
                f"shard {batch.index} counts {done} images: {passed} lie before its cursor, {most}"
                " in it"
            )

    def heartbeat(self, shard: Any, now: float) -> None:
        epoch = self._epoch(shard.job, shard.attempt, shard.index)
        self._real.heartbeat(shard, now)
        self._held(epoch, shard, f"a heartbeat of shard {shard.index}")

    def finish_shard(self, shard: Any, state: Any, now: float) -> None:
        epoch = self._epoch(shard.job, shard.attempt, shard.index)
        self._real.finish_shard(shard, state, now)
        if state is not ShardState.PENDING:
            self._held(epoch, shard, f"the end of shard {shard.index}")

    def _held(self, epoch: int | None, given: Any, what: str) -> None:
        if epoch != given.epoch:
            self._found(f"{what} was accepted at epoch {given.epoch}, the store had {epoch}")
        if (given.job, given.attempt, given.index, given.epoch) in self._late:
            self._found(f"{what} was accepted of a claim from after the attempt's end")

    def claim_shard(self, job: str, attempt: int, holder: str, now: float, **options: Any) -> Any:
        claimed = self._real.claim_shard(job, attempt, holder, now, **options)
        if claimed is not None:
            key = (job, attempt, claimed.index)
            if claimed.epoch <= self._epochs.get(key, -1):
                self._found(f"two claims of shard {claimed.index} got the epoch {claimed.epoch}")
            self._epochs[key] = claimed.epoch
            record = self._real.get_job(job)
            if record is None or record.phase in _STOPPED or record.planning_attempt > attempt:
                self._late.add((*key, claimed.epoch))
        return claimed

    # Plans ----------------------------------------------------------------------------------------

    def put_shards(self, job: str, attempt: int, shards: Any, planner: str = "") -> int:
        latest, record = (
            self._row("SELECT attempt FROM job_state WHERE job = ?", job),
            self._real.get_job(job),
        )
        began, planned = latest[0] if latest else 0, record.planned_attempt if record else 0
        number = self._real.put_shards(job, attempt, shards, planner)
        if began > attempt or planned >= attempt:
            self._found(f"a plan of attempt {attempt} was accepted, the store had a later one")
        return number

    def update_job(self, job: Job) -> Job:
        before = self._real.get_job(job.id)
        after = self._real.update_job(job)
        if before is not None and before.planned_attempt != after.planned_attempt:
            self._check_plan(after)
        return after

    def _check_plan(self, job: Job) -> None:
        """It counts each image of the listing once: as done, or as one to be made."""
        resource = read_resource(dict(job.manifest))
        assert isinstance(resource, FileProcessingJob)
        total, digests = (
            self._real.count_images(job.collection),
            tier_digests(resolve_tiers(resource.spec)),
        )
        lacking = sum(1 for _ in self._real.pending_ordinals(job.collection, digests))
        counts, _ = self._real.job_counts(job.id, job.planned_attempt)
        done = (job.base + counts).done
        if job.total != total or done + lacking != total:
            self._found(
                f"{job.name} is planned with {done} of {job.total} images done; {lacking} of"
                f" {total} lack"
            )

    # Leases and what they guard -------------------------------------------------------------------

    def acquire_lease(
        self, name: str, holder: str, ttl: float, now: float, above: int = 0
    ) -> Lease:
        before = self._real.lease(name)
        lease = self._real.acquire_lease(name, holder, ttl, now, above)
        if before is not None and before.holder not in ("", holder) and before.expires_at > now:
            self._found(f"{holder} was given the lease that {before.holder} held")
        if (known := self._holders.setdefault((name, lease.fence), holder)) != holder:
            self._found(f"{known} and {holder} were given the same fence {lease.fence}")
        return lease

    def _fence(self, collection: str) -> int:
        lease = self._real.lease(lease_name(collection))
        return lease.fence if lease else 0

    def upsert_images(self, images: Any, fence: int) -> None:
        found = {each.collection: self._fence(each.collection) for each in images}
        self._real.upsert_images(images, fence)
        self._fenced(found, fence)

    def mark_deleted(self, collection: str, ordinals: Any, fence: int) -> None:
        found = {collection: self._fence(collection)}
        for image in self._real.images(collection, 0, 10_000):
            if image.ordinal in ordinals and self.is_there(image.key):
                self._found(f"{image.key} is marked as deleted, and its source has it")
        self._real.mark_deleted(collection, ordinals, fence)
        self._fenced(found, fence)

    def start_removals(
        self, collection: str, refs: Sequence[tuple[int, str]], reason: RemovalReason, fence: int
    ) -> None:
        found = {collection: self._fence(collection)}
        live = set(self._real.live_ordinals(collection))
        if reason is RemovalReason.VANISHED and (lost := live & {ordinal for ordinal, _ in refs}):
            self._found(f"what was made of images that are there is removed: {sorted(lost)}")
        self._real.start_removals(collection, refs, reason, fence)
        self._fenced(found, fence)

    def record_source(self, collection: str, source: str, fence: int) -> None:
        found = {collection: self._fence(collection)}
        self._real.record_source(collection, source, fence)
        self._fenced(found, fence)

    def _fenced(self, found: dict[str, int], given: int) -> None:
        for collection, fence in found.items():
            if fence != given:
                self._found(
                    f"images of {collection} were written with fence {given}; it was {fence}"
                )
