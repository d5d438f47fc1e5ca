"""The contract of the store. SQLite and MongoDB implement it; ``tests/contract`` holds both to it.

Rules that every implementation keeps:

- **Fencing.** ``flush``, ``heartbeat``, ``finish_shard`` and the lease calls name the epoch or
  fence they believe in; a caller that lost its claim gets `FencedError` and nothing of its call is
  kept.
- **Counting is exact.** A shard's cursor and counts move in one atomic update, after its
  derivatives are recorded.
- Unreachable servers give `StoreUnavailableError` after the driver's own bounded retries.
- Iterators stream in bounded memory; each query has an index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fpj_core.model import (
    Counts,
    Derivative,
    Failure,
    Folder,
    ImageRecord,
    Job,
    Lease,
    Shard,
    ShardBatch,
    ShardState,
)
from fpj_core.store.counters import CounterCheck
from fpj_core.store.removals import Removals
from fpj_core.store.room import Reservations


def nothing() -> None:
    """Do nothing: for callers who need not know how far an operation is."""


@dataclass(frozen=True, slots=True)
class CollectionStatistics:
    """Totals of one collection, aggregated by the store."""

    collection: str
    images: int
    source_bytes: int
    by_tier: Mapping[str, tuple[int, int]]
    """Tier name to (files, bytes)."""


@dataclass(frozen=True, slots=True)
class FolderShares:
    """What of a folder is of which tier, and of which collection: (files, bytes), the largest
    first.
    """

    by_tier: Mapping[str, tuple[int, int]]
    by_collection: Mapping[str, tuple[int, int]]


class Statistics(Protocol):
    """What a store says by its counters, and how these are checked."""

    def folder_totals(self, name: str) -> tuple[int, int, int]:
        """(files, bytes, collections) of a folder, from counters:
        what it costs does not grow with the derivatives.
        """

    def folder_shares(self, name: str, most: int) -> FolderShares:
        """What of a folder is of its ``most`` largest tiers and collections, from counters."""

    def refresh_folder(self, name: str) -> Folder:
        """Record the folder's totals as its statistics.

        Raises `StoreError` if there is no such folder.
        """

    def statistics(
        self, collection: str | None = None, namespace: str | None = None
    ) -> list[CollectionStatistics]:
        """Totals per collection that has images, by id, from counters: of one, of a namespace's,
        or of all.
        """

    def verify_counters(
        self, collection: str | None = None, on_step: Callable[[], None] = nothing
    ) -> Iterator[CounterCheck]:
        """Count one collection, or all, and compare.

        Reads every record; ``on_step`` is called every few thousand.
        """

    def repair_counters(
        self, collection: str | None = None, on_step: Callable[[], None] = nothing
    ) -> Iterator[CounterCheck]:
        """As `verify_counters`, and set the counters that are wrong."""


class Store(Statistics, Removals, Reservations, Protocol):
    """See the module's docstring for the rules."""

    @property
    def location(self) -> str:
        """Where the store lives, fit for showing (no password)."""

    def identity(self) -> str:
        """32 hex digits, made at random with the store and kept in it.

        Another store has another one, and so has one that was emptied: what was recorded elsewhere
        is not there.
        """

    def now(self) -> float:
        """Seconds since the epoch by the store's clock: that of its server,
        or of the one host that uses the file.

        What ``now`` of leases, claims and heartbeats is, for hosts may disagree. Raises
        `StoreError`.
        """

    def close(self) -> None:
        """Release every connection. The store is unusable afterwards."""

    # Leases ---------------------------------------------------------------------------------------

    def acquire_lease(
        self, name: str, holder: str, ttl: float, now: float, above: int = 0
    ) -> Lease:
        """Take a free or expired lease, or renew one's own. Raises `LeaseHeldError`.

        The fence rises by one whenever the holder changes, released or expired. It is always
        greater than ``above``: who writes under ``above`` or less is fenced, even of the same
        holder, and in a store that was emptied since.
        """

    def break_lease(self, name: str, holder: str) -> None:
        """Expire the lease if ``holder`` still has it; for holders known to be dead."""

    def renew_lease(self, lease: Lease, ttl: float, now: float) -> Lease:
        """Extend a held lease. Raises `FencedError` if it was taken over."""

    def release_lease(self, lease: Lease) -> None:
        """Give a lease back. Does nothing if it was taken over."""

    def lease(self, name: str) -> Lease | None:
        """The lease as it stands, held or expired."""

    # Sources --------------------------------------------------------------------------------------

    def collection_source(self, collection: str) -> str | None:
        """Which source the collection's images are of, as it was recorded.

        None where that was never done.
        """

    def record_source(self, collection: str, source: str, fence: int) -> None:
        """Record the source. ``fence`` as for `upsert_images`. Raises `FencedError`."""

    # Collections ----------------------------------------------------------------------------------

    def collections(self) -> list[str]:
        """Every collection of which the store knows anything but jobs, by id."""

    def forget_collection(
        self, collection: str, fence: int, on_step: Callable[[], None] = nothing
    ) -> None:
        """Forget all that is known of a collection but its jobs: images, names, the source, and who
        asks for which tiers.

        A few thousand images at a time; ``on_step`` is called in between. Safe to repeat.
        ``fence`` as for `upsert_images`; the lease stays, so that it goes on rising. Raises
        `FencedError`, and `StoreError` where derivatives or removals are recorded: their files
        would be nobody's.
        """

    # Images ---------------------------------------------------------------------------------------

    def next_ordinal(self, collection: str) -> int:
        """One more than the highest ordinal ever given in the collection (0 for an empty one)."""

    def images_by_key(self, collection: str, keys: Sequence[str]) -> dict[str, ImageRecord]:
        """Known images among ``keys`` (up to 1,000), deleted ones included."""

    def image_keys(self, collection: str, ordinals: Sequence[int]) -> dict[int, str]:
        """Keys of known images among ``ordinals`` (up to 1,000), deleted ones included."""

    def images_below(self, collection: str, prefix: str) -> Iterator[ImageRecord]:
        """Images not deleted whose keys begin with ``prefix``, which ends in a slash,
        ascending by key.
        """

    def upsert_images(self, images: Sequence[ImageRecord], fence: int) -> None:
        """Insert or replace whole records (up to 1,000), atomically per record.

        ``fence`` is that of their collection's lease (`fpj_core.kube.names.lease_name`), 0 where
        none was ever given. Raises `FencedError` if it is not the lease's any more. What a later
        fence wrote is never replaced.
        """

    def mark_deleted(self, collection: str, ordinals: Sequence[int], fence: int) -> None:
        """Mark images as vanished from the source at this moment (up to 1,000 ordinals).

        ``fence`` as for `upsert_images`.
        """

    def live_ordinals(self, collection: str) -> Iterator[int]:
        """Ordinals of images not deleted, ascending."""

    def images(self, collection: str, start: int, stop: int) -> list[ImageRecord]:
        """Images not deleted with ``start <= ordinal < stop``, ascending (ranges up to 10,000)."""

    def count_images(
        self,
        collection: str,
        start: int = 0,
        stop: int | None = None,
        on_step: Callable[[], None] = nothing,
    ) -> int:
        """Images not deleted with ``start <= ordinal < stop`` (all from ``start`` on when ``stop``
        is None).

        They are counted some ten thousand at a time; ``on_step`` is called in between.
        """

    # Names ----------------------------------------------------------------------------------------

    def claim_names(self, collection: str, wanted: Sequence[tuple[str, str]]) -> dict[str, str]:
        """From (name, image id), up to 1,000, to the image that owns each name:
        the first that ever wanted it.

        Of several in ``wanted`` that is the first. Nobody loses a name again, so whoever asks once
        more, from wherever, gets the same answer. Names are 32 hex digits
        (`fpj_core.folders.mirror.claimed_name`).
        """

    def name_owners(self, collection: str, names: Sequence[str]) -> dict[str, str]:
        """The image that owns each of the names, up to 1,000, that somebody owns.

        Nothing is claimed.
        """

    # Derivatives ----------------------------------------------------------------------------------

    def derivatives(
        self, collection: str, start: int, stop: int, tiers: Sequence[str]
    ) -> list[Derivative]:
        """Recorded derivatives of images with ``start <= ordinal < stop`` (ranges up to 10,000),
        by ordinal.
        """

    def derivative_files(
        self, collection: str, tiers: Sequence[str] | None, on_step: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, str, str, str, int]]:
        """(ordinal, tier, folder, path, bytes) of every derivative in the collection,
        streamed for the file check. None stands for all tiers.

        ``on_step`` is called every few thousand derivatives, also while none is of the tiers.
        """

    def delete_derivatives(
        self, collection: str, refs: Sequence[tuple[int, str]], fence: int | None = None
    ) -> None:
        """Forget derivatives by (ordinal, tier), up to 5,000: their files are gone.

        With a ``fence``, as for `upsert_images`. Raises `FencedError` then.
        """

    def pending_ordinals(
        self, collection: str, digests: Mapping[str, str], on_step: Callable[[], None] = nothing
    ) -> Iterator[int]:
        """Ordinals of live images that lack an up-to-date derivative in some tier, ascending.

        ``digests`` maps each tier of the job to its settings digest. Up to date means: digest and
        source version both match. ``on_step`` is called every few thousand images, also while none
        is pending.
        """

    def live_and_pending(
        self, collection: str, digests: Mapping[str, str], on_step: Callable[[], None] = nothing
    ) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
        """Ordinals of live images, and those among them that `pending_ordinals` gives:
        some thousands at a time.

        All ascend. Each record is read once. ``on_step`` as for `pending_ordinals`.
        """

    def made_by(self, job: Job, on_step: Callable[[], None] = nothing) -> Iterator[tuple[int, int]]:
        """(ordinal, bytes of derivatives) of each live image for which the job has made anything,
        by ordinal.

        ``on_step`` is called every few thousand images, also while none is the job's.
        """

    # Jobs -----------------------------------------------------------------------------------------

    def create_job(self, job: Job) -> Job:
        """Insert a job; an existing one with the same id is returned as it stands."""

    def get_job(self, job_id: str) -> Job | None:
        """The job, or None."""

    def update_job(self, job: Job) -> Job:
        """Replace the record whose id and ``version`` match; returns it with ``version + 1``.

        Raises `ConcurrencyError` if the stored version differs.
        """

    def jobs(
        self, *, collection: str | None = None, limit: int = 100, before: float | None = None
    ) -> list[Job]:
        """Newest first; ``before`` (a ``created_at``) pages on."""

    def delete_job(self, job_id: str, on_step: Callable[[], None] = nothing) -> None:
        """Forget a job with its shards and failures, a thousand at a time; its record goes last.

        What it made, and the records of that, stay. Safe to repeat; ``on_step`` is called in
        between.
        """

    # Shards ---------------------------------------------------------------------------------------

    def put_shards(self, job: str, attempt: int, shards: Iterable[Shard], planner: str = "") -> int:
        """Record ``shards`` as the plan of ``attempt``, in place of what it had.

        How many there are.

        Shards of other attempts stay as they are. Each shard starts at an epoch above every epoch
        that the job used before, so whoever held it is fenced out. ``shards`` come by ascending
        index and are written a thousand at a time. Safe to repeat. Raises `FencedError` if the
        job's record says that the attempt is planned, or names another ``planner``, and once shards
        of a later attempt, or the same attempt's by a later caller, have been put. Who may be
        replaced while it plans must write its name into the record first: then no plan that comes
        late touches one that was recorded.
        """

    def delete_attempts(self, job: str, before: int, on_step: Callable[[], None] = nothing) -> None:
        """Forget the shards of the attempts below ``before``,
        some at a time; ``on_step`` is called in between.
        """

    def shards(self, job: str, attempt: int) -> list[Shard]:
        """All shards of the attempt, by index."""

    def shard(self, job: str, attempt: int, index: int) -> Shard | None:
        """One shard, or None."""

    def silent_shards(self, job: str, attempt: int, since: float) -> list[int]:
        """Indexes of shards that nobody works on any more, ascending, 100 at most.

        Those are running ones without a sign of life after ``since``, and those that were handed
        back.
        """

    def claim_shard(
        self,
        job: str,
        attempt: int,
        holder: str,
        now: float,
        *,
        suspect_after: float = 15.0,
        index: int | None = None,
    ) -> Shard | None:
        """Claim the lowest pending shard, or one whose holder has been silent for ``suspect_after``
        seconds.

        With ``index``, that shard or none. Raises the shard's epoch. None when nothing can be
        claimed. Two callers never get the same epoch.
        """

    def release_shards(self, job: str, attempt: int, on_step: Callable[[], None] = nothing) -> None:
        """Make every shard of the attempts up to ``attempt`` that has not succeeded pending,
        and fence its holder out.

        Counts and cursors stay. A thousand at a time; ``on_step`` is called in between, and what it
        raises leaves the rest as it was.
        """

    def heartbeat(self, shard: Shard, now: float) -> None:
        """Say that the holder lives. Raises `FencedError`."""

    def flush(self, batch: ShardBatch, now: float) -> None:
        """Record a batch and move the cursor; counts as a heartbeat. Raises `FencedError`.

        A batch that is already recorded (its answer was lost) is not counted again.
        """

    def finish_shard(self, shard: Shard, state: ShardState, now: float) -> None:
        """Set the final state of a held shard, or PENDING to hand it back. Raises `FencedError`."""

    def job_counts(self, job: str, attempt: int) -> tuple[Counts, Mapping[ShardState, int]]:
        """The sum of the counts of the attempt's shards,
        and how many of them stand in each state.
        """

    def claim_reporter(self, job: str, holder: str, interval: float, now: float) -> bool:
        """Whether ``holder`` may report the job's status now:
        true once per ``interval`` seconds per job.
        """

    # Failures -------------------------------------------------------------------------------------

    def failures(
        self, job: str, *, error_type: str | None = None, after: int = -1, limit: int = 100
    ) -> list[Failure]:
        """Failures of a job by ordinal, those above ``after``."""

    def delete_failures(self, job: str, on_step: Callable[[], None] = nothing) -> None:
        """Forget a job's failures, a thousand at a time:
        its failed images are about to be tried again.
        """

    # Folders --------------------------------------------------------------------------------------

    def upsert_folder(self, folder: Folder) -> None:
        """Record a folder, but for its statistics."""

    def folders(self) -> list[Folder]:
        """All folders with their statistics as last refreshed, by name."""
