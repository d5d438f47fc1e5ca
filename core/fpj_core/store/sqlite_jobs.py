"""Leases, jobs, shards and failures in SQLite: the part of the
store where several processes meet.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import override

from fpj_core.errors import ConcurrencyError, ErrorType, FencedError, LeaseHeldError
from fpj_core.model import Counts, Derivative, Failure, Job, Lease, Shard, ShardBatch, ShardState
from fpj_core.store.codec import batched, clean, job_from_document, job_to_document
from fpj_core.store.counters import Amount, Place, add
from fpj_core.store.protocol import Store, nothing
from fpj_core.store.sqlite_counters import count, derivatives_between
from fpj_core.store.sqlite_removals import supersede
from fpj_core.store.sqlite_room import SQLiteRoom

_SHARD = (
    "job, attempt, idx, collection, start, stop, cursor, state, epoch, holder, heartbeat_at,"
    " completed, skipped, failed, bytes_written, processing_ms, errors"
)
_STEP = 1_000
_ALL = 2**62
_FAILURE = "job, collection, ordinal, image, key, error_type, message, attempts, at"


class SQLiteJobs(SQLiteRoom, Store):
    """See `fpj_core.store.protocol.Store`."""

    # Leases ---------------------------------------------------------------------------------------

    @override
    def acquire_lease(
        self, name: str, holder: str, ttl: float, now: float, above: int = 0
    ) -> Lease:
        with self._connection.write() as db:
            row = db.execute(
                "SELECT holder, fence, expires_at FROM leases WHERE name = ?", (name,)
            ).fetchone()
            if row and row[0] != holder and row[2] > now:
                raise LeaseHeldError(name, row[0], row[2])
            fence = 1 if row is None else row[1] + (row[0] != holder)
            fence = max(fence, above + 1)
            db.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)",
                (name, holder, fence, now + ttl),
            )
        return Lease(name, holder, fence, now + ttl)

    @override
    def break_lease(self, name: str, holder: str) -> None:
        with self._connection.write() as db:
            db.execute(
                "UPDATE leases SET expires_at = 0 WHERE name = ? AND holder = ?", (name, holder)
            )

    @override
    def renew_lease(self, lease: Lease, ttl: float, now: float) -> Lease:
        query = "UPDATE leases SET expires_at = ? WHERE name = ? AND holder = ? AND fence = ?"
        with self._connection.write() as db:
            if not db.execute(query, (now + ttl, lease.name, lease.holder, lease.fence)).rowcount:
                raise FencedError(f"lease {lease.name} was taken over")
        return replace(lease, expires_at=now + ttl)

    @override
    def release_lease(self, lease: Lease) -> None:
        """The row stays, so the fence goes on rising."""
        query = (
            "UPDATE leases SET holder = '', expires_at = 0"
            " WHERE name = ? AND holder = ? AND fence = ?"
        )
        with self._connection.write() as db:
            db.execute(query, (lease.name, lease.holder, lease.fence))

    @override
    def lease(self, name: str) -> Lease | None:
        with self._connection.read() as db:
            row = db.execute("SELECT * FROM leases WHERE name = ?", (name,)).fetchone()
        return Lease(*row) if row else None

    # Jobs -----------------------------------------------------------------------------------------

    @override
    def create_job(self, job: Job) -> Job:
        row = (job.id, job.collection, job.created_at, job.version, _dump(job))
        with self._connection.write() as db:
            db.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?, ?)", row)
            (document,) = db.execute("SELECT document FROM jobs WHERE id = ?", (job.id,)).fetchone()
        return job_from_document(json.loads(document))

    @override
    def get_job(self, job_id: str) -> Job | None:
        with self._connection.read() as db:
            row = db.execute("SELECT document FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return job_from_document(json.loads(row[0])) if row else None

    @override
    def update_job(self, job: Job) -> Job:
        changed = replace(job, version=job.version + 1)
        query = "UPDATE jobs SET document = ?, version = ? WHERE id = ? AND version = ?"
        with self._connection.write() as db:
            if not db.execute(
                query, (_dump(changed), changed.version, job.id, job.version)
            ).rowcount:
                raise ConcurrencyError(f"job {job.id} changed since version {job.version} was read")
        return changed

    @override
    def jobs(
        self, *, collection: str | None = None, limit: int = 100, before: float | None = None
    ) -> list[Job]:
        mine = "collection = ? AND " if collection is not None else ""
        query = (
            f"SELECT document FROM jobs WHERE {mine}created_at < ? ORDER BY created_at DESC LIMIT ?"
        )
        given = () if collection is None else (collection,)
        with self._connection.read() as db:
            rows = db.execute(
                query, (*given, before if before is not None else 1e18, limit)
            ).fetchall()
        return [job_from_document(json.loads(document)) for (document,) in rows]

    @override
    def delete_job(self, job_id: str, on_step: Callable[[], None] = nothing) -> None:
        self.delete_attempts(job_id, _ALL, on_step)
        self.delete_failures(job_id, on_step)
        with self._connection.write() as db:
            db.execute("DELETE FROM job_state WHERE job = ?", (job_id,))
            db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    # Shards ---------------------------------------------------------------------------------------

    @override
    def put_shards(self, job: str, attempt: int, shards: Iterable[Shard], planner: str = "") -> int:
        epoch = self._next_epoch(job, attempt, planner)
        query = f"INSERT OR REPLACE INTO shards ({_SHARD}) VALUES ({', '.join('?' * 17)})"
        number = 0
        for batch in batched(shards, _STEP):
            with self._connection.write() as db:
                _check_plan(db, job, attempt, epoch, planner)
                db.executemany(
                    query,
                    [_shard_row(replace(each, attempt=attempt, epoch=epoch)) for each in batch],
                )
            number += len(batch)
        with self._connection.write() as db:
            _check_plan(db, job, attempt, epoch, planner)
            db.execute(
                "DELETE FROM shards WHERE job = ? AND attempt = ? AND idx >= ?",
                (job, attempt, number),
            )
        return number

    @override
    def delete_attempts(self, job: str, before: int, on_step: Callable[[], None] = nothing) -> None:
        query = (
            "DELETE FROM shards WHERE (job, attempt, idx) IN"
            " (SELECT job, attempt, idx FROM shards WHERE job = ? AND attempt < ? LIMIT ?)"
        )
        self._in_steps(query, (job, before), on_step)

    @override
    def shards(self, job: str, attempt: int) -> list[Shard]:
        query = f"SELECT {_SHARD} FROM shards WHERE job = ? AND attempt = ? ORDER BY idx"
        with self._connection.read() as db:
            return [_shard(row) for row in db.execute(query, (job, attempt)).fetchall()]

    @override
    def shard(self, job: str, attempt: int, index: int) -> Shard | None:
        query = f"SELECT {_SHARD} FROM shards WHERE job = ? AND attempt = ? AND idx = ?"
        with self._connection.read() as db:
            row = db.execute(query, (job, attempt, index)).fetchone()
        return _shard(row) if row else None

    @override
    def silent_shards(self, job: str, attempt: int, since: float) -> list[int]:
        query = (
            "SELECT idx FROM shards WHERE job = ? AND attempt = ? AND (state = ?"
            " AND heartbeat_at <= ?"
            " OR state = ? AND heartbeat_at > 0) ORDER BY idx LIMIT 100"
        )
        with self._connection.read() as db:
            given = (job, attempt, ShardState.RUNNING, since, ShardState.PENDING)
            return [index for (index,) in db.execute(query, given)]

    @override
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
        one = "" if index is None else " AND idx = ?"
        free = (
            f"SELECT idx FROM shards WHERE job = ? AND attempt = ?{one}"
            " AND (state = ? OR (state = ? AND heartbeat_at <= ?)) ORDER BY idx LIMIT 1"
        )
        given = (job, attempt) if index is None else (job, attempt, index)
        take = (
            "UPDATE shards SET state = ?, holder = ?, heartbeat_at = ?, epoch = epoch + 1"
            f" WHERE job = ? AND attempt = ? AND idx = ? RETURNING {_SHARD}"
        )
        with self._connection.write() as db:
            states = (ShardState.PENDING, ShardState.RUNNING, now - suspect_after)
            row = db.execute(free, (*given, *states)).fetchone()
            if row is None:
                return None
            return _shard(
                db.execute(
                    take, (ShardState.RUNNING, holder, now, job, attempt, row[0])
                ).fetchall()[0]
            )

    @override
    def release_shards(self, job: str, attempt: int, on_step: Callable[[], None] = nothing) -> None:
        window = (
            "SELECT attempt, idx FROM shards WHERE job = ? AND attempt <= ? AND (attempt,"
            " idx) > (?, ?)"
            " ORDER BY attempt, idx LIMIT ?"
        )
        free = (
            "UPDATE shards SET state = ?, holder = NULL, heartbeat_at = 0, epoch = epoch + 1"
            " WHERE job = ? AND (attempt, idx) > (?, ?) AND (attempt, idx) <= (?, ?) AND state <> ?"
        )
        last = (-1, -1)
        while True:
            with self._connection.write() as db:
                rows = db.execute(window, (job, attempt, *last, _STEP)).fetchall()
                if not rows:
                    return
                db.execute(free, (ShardState.PENDING, job, *last, *rows[-1], ShardState.SUCCEEDED))
            last = rows[-1]
            on_step()

    @override
    def heartbeat(self, shard: Shard, now: float) -> None:
        self._change_held(shard, "heartbeat_at = ?", (now,))

    @override
    def finish_shard(self, shard: Shard, state: ShardState, now: float) -> None:
        self._change_held(shard, "state = ?, heartbeat_at = ?", (state, now))

    @override
    def flush(self, batch: ShardBatch, now: float) -> None:
        """All of it is one transaction."""
        number = self._given_number(batch.collection)
        with self._connection.write() as db:
            row = db.execute(
                "SELECT epoch, cursor, errors FROM shards"
                " WHERE job = ? AND attempt = ? AND idx = ?",
                (batch.job, batch.attempt, batch.index),
            ).fetchone()
            if (
                row is None
                or row[0] != batch.epoch
                or row[1] not in (batch.expected_cursor, batch.cursor)
            ):
                raise FencedError(f"shard {batch.index} of job {batch.job} was taken over")
            if row[1] != batch.expected_cursor:  # recorded before; the answer was lost
                db.execute(
                    "UPDATE shards SET heartbeat_at = ? WHERE job = ? AND attempt = ? AND idx = ?",
                    (now, batch.job, batch.attempt, batch.index),
                )
                return
            _record(db, number, batch, now)
            _count(db, batch, json.loads(row[2]), now)

    @override
    def job_counts(self, job: str, attempt: int) -> tuple[Counts, Mapping[ShardState, int]]:
        mine = "FROM shards WHERE job = ? AND attempt = ?"
        sums = (
            "SELECT coalesce(sum(completed), 0), coalesce(sum(skipped), 0), coalesce(sum(failed),"
            " 0),"
            f" coalesce(sum(bytes_written), 0), coalesce(sum(processing_ms), 0) {mine}"
        )
        errors = (
            "SELECT e.key, sum(e.value) FROM shards, json_each(shards.errors) e"
            " WHERE job = ? AND attempt = ? GROUP BY e.key"
        )
        states = f"SELECT state, count(*) {mine} GROUP BY state"
        which = (job, attempt)
        with self._connection.read() as db:
            counts = _counts(
                db.execute(sums, which).fetchone(), dict(db.execute(errors, which).fetchall())
            )
            return counts, {ShardState(state): count for state, count in db.execute(states, which)}

    @override
    def claim_reporter(self, job: str, holder: str, interval: float, now: float) -> bool:
        with self._connection.write() as db:
            db.execute("INSERT OR IGNORE INTO job_state (job) VALUES (?)", (job,))
            query = "UPDATE job_state SET reported_at = ? WHERE job = ? AND reported_at <= ?"
            return bool(db.execute(query, (now, job, now - interval)).rowcount)

    # Failures -------------------------------------------------------------------------------------

    @override
    def failures(
        self, job: str, *, error_type: str | None = None, after: int = -1, limit: int = 100
    ) -> list[Failure]:
        typed = "AND error_type = ? " if error_type is not None else ""
        query = (
            f"SELECT {_FAILURE} FROM failures WHERE job = ? AND ordinal > ?"
            f" {typed}ORDER BY ordinal LIMIT ?"
        )
        given = () if error_type is None else (error_type,)
        with self._connection.read() as db:
            rows = db.execute(query, (job, after, *given, limit)).fetchall()
        return [_failure(row) for row in rows]

    @override
    def delete_failures(self, job: str, on_step: Callable[[], None] = nothing) -> None:
        query = (
            "DELETE FROM failures WHERE (job, ordinal) IN (SELECT job, ordinal"
            " FROM failures WHERE job = ? LIMIT ?)"
        )
        self._in_steps(query, (job,), on_step)

    def _next_epoch(self, job: str, attempt: int, planner: str) -> int:
        """An epoch above all that the job used, for a plan of ``attempt``."""
        with self._connection.write() as db:
            _check_planner(db, job, attempt, planner)
            db.execute("INSERT OR IGNORE INTO job_state (job) VALUES (?)", (job,))
            (kept, latest) = db.execute(
                "SELECT epoch, attempt FROM job_state WHERE job = ?", (job,)
            ).fetchone()
            if latest > attempt:
                raise _planned_since(job, max(latest, attempt))
            (used,) = db.execute(
                "SELECT coalesce(max(epoch), 0) FROM shards WHERE job = ?", (job,)
            ).fetchone()
            epoch: int = max(used, kept) + 1
            db.execute(
                "UPDATE job_state SET epoch = ?, attempt = ? WHERE job = ?", (epoch, attempt, job)
            )
        return epoch

    def _in_steps(
        self, query: str, arguments: tuple[object, ...], on_step: Callable[[], None]
    ) -> None:
        """Run a statement that changes as many rows as its last parameter says,
        until it finds none.
        """
        while True:
            with self._connection.write() as db:
                if not db.execute(query, (*arguments, _STEP)).rowcount:
                    return
            on_step()

    def _change_held(self, shard: Shard, assignments: str, values: tuple[object, ...]) -> None:
        query = (
            f"UPDATE shards SET {assignments}"
            " WHERE job = ? AND attempt = ? AND idx = ? AND epoch = ?"
        )
        with self._connection.write() as db:
            if not db.execute(
                query, (*values, shard.job, shard.attempt, shard.index, shard.epoch)
            ).rowcount:
                raise FencedError(f"shard {shard.index} of job {shard.job} was taken over")


def _check_plan(db: sqlite3.Connection, job: str, attempt: int, epoch: int, planner: str) -> None:
    _check_planner(db, job, attempt, planner)
    found = db.execute("SELECT epoch, attempt FROM job_state WHERE job = ?", (job,)).fetchone()
    if found != (epoch, attempt):
        raise _planned_since(job, found[1] if found else attempt)


def _check_planner(db: sqlite3.Connection, job: str, attempt: int, planner: str) -> None:
    """Raise `FencedError` if the job's record, where there is one,
    says that others plan the attempt, or have.
    """
    query = (
        "SELECT coalesce(json_extract(document, '$.planned_attempt'), 0),"
        " coalesce(json_extract(document, '$.planner'), '') FROM jobs WHERE id = ?"
    )
    row = db.execute(query, (job,)).fetchone()
    if row is not None and (row[0] >= attempt or row[1] != planner):
        raise _planned_since(job, attempt)


def _planned_since(job: str, attempt: int) -> FencedError:
    return FencedError(f"attempt {attempt} of job {job} is planned by others, or has been planned")


def _record(db: sqlite3.Connection, collection: int, batch: ShardBatch, now: float) -> None:
    """Derivatives, failures and facts of a batch."""
    ordinals = [derivative.ordinal for derivative in batch.derivatives]
    within = (min(ordinals), max(ordinals) + 1) if ordinals else (0, 0)
    before = derivatives_between(db, collection, *within)
    if before:
        supersede(db, collection, batch.derivatives, batch.fence, now)
    db.executemany(
        "INSERT INTO derivatives VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (collection, ordinal, tier) DO UPDATE SET digest = excluded.digest,"
        " source_version = excluded.source_version, folder = excluded.folder, path = excluded.path,"
        " width = excluded.width, height = excluded.height, bytes = excluded.bytes,"
        " job = excluded.job,"
        " fence = excluded.fence, created_at = excluded.created_at, cost_ms = excluded.cost_ms"
        " WHERE excluded.fence >= derivatives.fence",
        [
            (collection, d.ordinal, d.tier, d.image, d.digest, d.source_version, d.folder, d.path)
            + (d.width, d.height, d.bytes, d.job, batch.fence, d.created_at, d.cost_ms)
            for d in batch.derivatives
        ],
    )
    after = derivatives_between(db, collection, *within) if before else _amounts(batch.derivatives)
    add(after, before, -1)
    count(db, collection, after)
    db.executemany(
        f"INSERT OR REPLACE INTO failures ({_FAILURE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                f.job,
                f.collection,
                f.ordinal,
                f.image,
                f.key,
                f.error_type,
                clean(f.message),
                f.attempts,
                f.at,
            )
            for f in batch.failures
        ],
    )
    db.executemany(
        "UPDATE images SET width = ?, height = ?, format = ?, thumbhash = ?, dominant_color = ?,"
        " warning = ?,"
        " captured_at = ? WHERE collection = ? AND ordinal = ?",
        [
            (
                f.width,
                f.height,
                f.format,
                f.thumbhash,
                f.dominant_color,
                f.warning and clean(f.warning),
                f.captured_at,
            )
            + (collection, ordinal)
            for ordinal, f in batch.facts.items()
        ],
    )


def _amounts(derivatives: Sequence[Derivative]) -> dict[Place, Amount]:
    """All of them, where none was there before."""
    amounts: dict[Place, Amount] = {}
    for place in {(each.folder, each.tier) for each in derivatives}:
        sizes = [each.bytes for each in derivatives if (each.folder, each.tier) == place]
        amounts[place] = (len(sizes), sum(sizes))
    return amounts


def _count(db: sqlite3.Connection, batch: ShardBatch, errors: dict[str, int], now: float) -> None:
    counts = batch.counts
    for name, number in counts.errors.items():
        errors[name] = errors.get(name, 0) + number
    db.execute(
        "UPDATE shards SET cursor = ?, heartbeat_at = ?, completed = completed + ?,"
        " skipped = skipped + ?,"
        " failed = failed + ?, bytes_written = bytes_written + ?,"
        " processing_ms = processing_ms + ?, errors = ?"
        " WHERE job = ? AND attempt = ? AND idx = ?",
        (batch.cursor, now, counts.completed, counts.skipped, counts.failed, counts.bytes_written)
        + (counts.processing_ms, json.dumps(errors), batch.job, batch.attempt, batch.index),
    )


def _dump(job: Job) -> str:
    return json.dumps(job_to_document(job))


def _shard_row(shard: Shard) -> tuple[object, ...]:
    c = shard.counts
    return (
        (
            shard.job,
            shard.attempt,
            shard.index,
            shard.collection,
            shard.start,
            shard.stop,
            shard.cursor,
        )
        + (
            shard.state,
            shard.epoch,
            shard.holder,
            shard.heartbeat_at,
            c.completed,
            c.skipped,
            c.failed,
            c.bytes_written,
        )
        + (
            c.processing_ms,
            json.dumps(dict(c.errors)),
        )
    )


def _shard(row: Sequence[Any]) -> Shard:
    (
        job,
        attempt,
        index,
        collection,
        start,
        stop,
        cursor,
        state,
        epoch,
        holder,
        heartbeat_at,
        *numbers,
        errors,
    ) = row
    return Shard(
        job=job,
        attempt=attempt,
        index=index,
        collection=collection,
        start=start,
        stop=stop,
        cursor=cursor,
        state=ShardState(state),
        epoch=epoch,
        holder=holder,
        heartbeat_at=heartbeat_at,
        counts=_counts(numbers, json.loads(errors)),
    )


def _counts(numbers: Sequence[Any], errors: dict[str, int]) -> Counts:
    completed, skipped, failed, bytes_written, processing_ms = numbers
    return Counts(completed, skipped, failed, bytes_written, processing_ms, errors)


def _failure(row: Sequence[Any]) -> Failure:
    job, collection, ordinal, image, key, error_type, message, attempts, at = row
    return Failure(
        job, collection, ordinal, image, key, ErrorType(error_type), message, attempts, at
    )
