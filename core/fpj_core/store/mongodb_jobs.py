"""Leases, jobs, shards and failures in MongoDB.

No transactions are needed: whatever must be exact happens in one update of one document, and what
is written beside it can be written again. A shard's flush records derivatives first and moves the
cursor last, so a writer that dies in between repeats one batch. Derivatives carry the fence of the
lease they were made under; an older fence never overwrites a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from pymongo import ReplaceOne, ReturnDocument, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError
from typing_extensions import override

from fpj_core.errors import ConcurrencyError, ErrorType, FencedError, LeaseHeldError
from fpj_core.model import Counts, Derivative, Failure, Job, Lease, Shard, ShardBatch, ShardState
from fpj_core.store.codec import batched, clean, job_from_document, job_to_document
from fpj_core.store.counters import Amount, Place, add
from fpj_core.store.mongodb_connection import Document, translated
from fpj_core.store.mongodb_counters import upserted
from fpj_core.store.mongodb_room import MongoRoom
from fpj_core.store.protocol import Store, nothing

_STEP = 1_000
_SHARD_FIELDS = frozenset(field.name for field in fields(Shard)) - {"counts", "state"}
_FAILURE_FIELDS = frozenset(field.name for field in fields(Failure))
_COUNTED = ("completed", "skipped", "failed", "bytes_written", "processing_ms")


class MongoJobs(MongoRoom, Store):
    """See `fpj_core.store.protocol.Store`."""

    # Leases ---------------------------------------------------------------------------------------

    @override
    def acquire_lease(
        self, name: str, holder: str, ttl: float, now: float, above: int = 0
    ) -> Lease:
        leases = self._db.leases
        after = ReturnDocument.AFTER
        expiry = {"expires_at": now + ttl}
        own = {"_id": name, "holder": holder}
        free = {"_id": name, "expires_at": {"$lte": now}}
        with translated():
            mine = leases.find_one_and_update(
                own, {"$set": expiry, "$max": {"fence": above + 1}}, return_document=after
            )
            if mine is None:
                take = {"$set": {"holder": holder} | expiry, "$inc": {"fence": 1}}
                mine = leases.find_one_and_update(
                    free | {"fence": {"$gte": above}}, take, return_document=after
                )
            if mine is None:
                raised = {"$set": {"holder": holder, "fence": above + 1} | expiry}
                mine = leases.find_one_and_update(
                    free | {"fence": {"$lt": above}}, raised, return_document=after
                )
            if mine is None:
                mine = {"_id": name, "holder": holder, "fence": above + 1, "expires_at": now + ttl}
                try:
                    leases.insert_one(mine)
                except DuplicateKeyError:
                    held = leases.find_one({"_id": name}) or mine
                    raise LeaseHeldError(name, held["holder"], held["expires_at"]) from None
        return _lease(mine)

    @override
    def break_lease(self, name: str, holder: str) -> None:
        with translated():
            self._db.leases.update_one(
                {"_id": name, "holder": holder}, {"$set": {"expires_at": 0.0}}
            )

    @override
    def renew_lease(self, lease: Lease, ttl: float, now: float) -> Lease:
        with translated():
            result = self._db.leases.update_one(_held(lease), {"$set": {"expires_at": now + ttl}})
        if not result.matched_count:
            raise FencedError(f"lease {lease.name} was taken over")
        return replace(lease, expires_at=now + ttl)

    @override
    def release_lease(self, lease: Lease) -> None:
        """The document stays, so the fence goes on rising."""
        with translated():
            self._db.leases.update_one(_held(lease), {"$set": {"holder": "", "expires_at": 0.0}})

    @override
    def lease(self, name: str) -> Lease | None:
        with translated():
            document = self._db.leases.find_one({"_id": name})
        return _lease(document) if document else None

    # Jobs -----------------------------------------------------------------------------------------

    @override
    def create_job(self, job: Job) -> Job:
        with translated():
            document = self._db.jobs.find_one_and_update(
                {"_id": job.id},
                {"$setOnInsert": _job_document(job)},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return _job(document or {})

    @override
    def get_job(self, job_id: str) -> Job | None:
        with translated():
            document = self._db.jobs.find_one({"_id": job_id})
        return _job(document) if document else None

    @override
    def update_job(self, job: Job) -> Job:
        changed = replace(job, version=job.version + 1)
        with translated():
            query = {"_id": job.id, "version": job.version}
            result = self._db.jobs.replace_one(query, _job_document(changed))
        if not result.matched_count:
            raise ConcurrencyError(f"job {job.id} changed since version {job.version} was read")
        return changed

    @override
    def jobs(
        self, *, collection: str | None = None, limit: int = 100, before: float | None = None
    ) -> list[Job]:
        query: Document = {"created_at": {"$lt": 1e18 if before is None else before}}
        if collection is not None:
            query["collection"] = collection
        with translated():
            return [
                _job(document)
                for document in self._db.jobs.find(query).sort("created_at", -1).limit(limit)
            ]

    @override
    def delete_job(self, job_id: str, on_step: Callable[[], None] = nothing) -> None:
        self._delete_in_steps(self._db.job_shards, {"job": job_id}, on_step)
        self.delete_failures(job_id, on_step)
        with translated():
            self._db.job_states.delete_one({"_id": job_id})
            self._db.jobs.delete_one({"_id": job_id})

    # Shards ---------------------------------------------------------------------------------------

    @override
    def put_shards(self, job: str, attempt: int, shards: Iterable[Shard], planner: str = "") -> int:
        """Put the shards of the plan that is recorded in the end,
        whoever else plans the attempt meanwhile.

        Whether the plan still stands is read in one request, and its shards are written in another;
        anything may happen between them. A planner reads the record after it has its number:
        whoever replaces it there gets a higher one. So the plan that is recorded in the end has the
        highest number of all, and nothing replaces its shards. What a late plan inserts beside them
        does not belong to the plan (`_latest`).
        """
        with translated():
            self._check_planner(job, attempt, planner)
            epoch = self._next_epoch(job, attempt)
        try:
            return self._put_plan(job, attempt, epoch, shards, planner)
        except FencedError:
            with translated():
                self._db.job_shards.delete_many({"job": job, "attempt": attempt, "plan": epoch})
            raise

    def _put_plan(
        self, job: str, attempt: int, epoch: int, shards: Iterable[Shard], planner: str
    ) -> int:
        number = 0
        for batch in batched(shards, _STEP):
            with translated():
                self._check_plan(job, attempt, epoch, planner)
                older = {"epoch": {"$lte": epoch}}
                fields = [
                    _shard_document(replace(each, attempt=attempt, epoch=epoch)) for each in batch
                ]
                puts = [
                    ReplaceOne({"_id": each["_id"]} | older, each | {"plan": epoch}, upsert=True)
                    for each in fields
                ]
                _, kept = upserted(self._db.job_shards, puts)
            if kept:  # the others of this batch belong to no plan
                raise _planned_since(job, attempt)
            number += len(batch)
        with translated():
            self._check_plan(job, attempt, epoch, planner)
            earlier = {"plan": {"$not": {"$gte": epoch}}}  # versions before this one wrote no plan
            self._db.job_shards.delete_many(
                {"job": job, "attempt": attempt, "index": {"$gte": number}} | earlier
            )
        return number

    @override
    def delete_attempts(self, job: str, before: int, on_step: Callable[[], None] = nothing) -> None:
        self._delete_in_steps(
            self._db.job_shards, {"job": job, "attempt": {"$lt": before}}, on_step
        )

    @override
    def shards(self, job: str, attempt: int) -> list[Shard]:
        with translated():
            found = list(
                self._db.job_shards.find({"job": job, "attempt": attempt}).sort("index", 1)
            )
        return [_shard(document) for document in _latest(found)]

    @override
    def shard(self, job: str, attempt: int, index: int) -> Shard | None:
        with translated():
            document = self._db.job_shards.find_one({"_id": _shard_id(job, attempt, index)})
        return _shard(document) if document else None

    @override
    def silent_shards(self, job: str, attempt: int, since: float) -> list[int]:
        silent = {"state": ShardState.RUNNING.value, "heartbeat_at": {"$lte": since}}
        handed_back = {"state": ShardState.PENDING.value, "heartbeat_at": {"$gt": 0}}
        query = {"job": job, "attempt": attempt, "$or": [silent, handed_back]}
        with translated():
            return [
                d["index"]
                for d in self._db.job_shards.find(query, {"index": 1}).sort("index", 1).limit(100)
            ]

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
        wanted: Document = {"job": job, "attempt": attempt} | (
            {} if index is None else {"index": index}
        )
        silent = {"state": ShardState.RUNNING.value, "heartbeat_at": {"$lte": now - suspect_after}}
        taken = {"state": ShardState.RUNNING.value, "holder": holder, "heartbeat_at": now}
        with translated():
            document = self._db.job_shards.find_one_and_update(
                wanted | {"$or": [{"state": ShardState.PENDING.value}, silent]},
                {"$set": taken, "$inc": {"epoch": 1}},
                sort=[("index", 1)],
                return_document=ReturnDocument.AFTER,
            )
        return _shard(document) if document else None

    @override
    def release_shards(self, job: str, attempt: int, on_step: Callable[[], None] = nothing) -> None:
        """Each shard's update is atomic, which is all it needs."""
        change = {
            "$set": {"state": ShardState.PENDING.value, "holder": None, "heartbeat_at": 0.0},
            "$inc": {"epoch": 1},
        }
        mine = {
            "job": job,
            "attempt": {"$lte": attempt},
            "state": {"$ne": ShardState.SUCCEEDED.value},
        }
        last: Document = {}
        while True:
            with translated():
                found = self._db.job_shards.find(mine | last, {"attempt": 1, "index": 1})
                window = list(found.sort([("attempt", 1), ("index", 1)]).limit(_STEP))
                if not window:
                    return
                self._db.job_shards.update_many(
                    mine | {"_id": {"$in": [each["_id"] for each in window]}}, change
                )
            at, index = window[-1]["attempt"], window[-1]["index"]
            last = {"$or": [{"attempt": {"$gt": at}}, {"attempt": at, "index": {"$gt": index}}]}
            on_step()

    @override
    def heartbeat(self, shard: Shard, now: float) -> None:
        self._change_held(shard, {"heartbeat_at": now})

    @override
    def finish_shard(self, shard: Shard, state: ShardState, now: float) -> None:
        self._change_held(shard, {"state": state.value, "heartbeat_at": now})

    @override
    def flush(self, batch: ShardBatch, now: float) -> None:
        """Records first, then the cursor and the counts in one update."""
        shard_id = _shard_id(batch.job, batch.attempt, batch.index)
        self._change_held(batch, {"heartbeat_at": now})
        with translated():
            self._record(batch, now)
            moved = self._db.job_shards.update_one(
                {"_id": shard_id, "epoch": batch.epoch, "cursor": batch.expected_cursor},
                {
                    "$set": {
                        "cursor": batch.cursor,
                        "heartbeat_at": now,
                        f"moved.{batch.epoch}": batch.cursor,
                    },
                    "$inc": _increments(batch.counts),
                },
            )
            if moved.matched_count:
                return
            shard = self._db.job_shards.find_one({"_id": shard_id})
        if shard is None or shard["epoch"] != batch.epoch or shard["cursor"] != batch.cursor:
            raise FencedError(f"shard {batch.index} of job {batch.job} was taken over")

    @override
    def job_counts(self, job: str, attempt: int) -> tuple[Counts, Mapping[ShardState, int]]:
        sums = {name: {"$sum": f"$counts.{name}"} for name in _COUNTED}
        mine = {"$match": {"job": job, "attempt": attempt}}
        totals: list[Any] = [
            mine,
            {"$group": {"_id": {"state": "$state", "plan": "$plan"}, "shards": {"$sum": 1}} | sums},
        ]
        errors: list[Any] = [
            mine,
            {"$project": {"plan": 1, "errors": {"$objectToArray": "$errors"}}},
            {"$unwind": "$errors"},
            {
                "$group": {
                    "_id": {"type": "$errors.k", "plan": "$plan"},
                    "count": {"$sum": "$errors.v"},
                }
            },
        ]
        with translated():
            found = [{**each, **each["_id"]} for each in self._db.job_shards.aggregate(totals)]
            failed = [{**each, **each["_id"]} for each in self._db.job_shards.aggregate(errors)]
        groups = _latest(found)
        # One, or none: shards may be put between the two questions.
        plans = {_plan(each) for each in groups}
        by_type = {each["type"]: each["count"] for each in failed if _plan(each) in plans}
        counts = Counts(
            **{name: sum(group[name] for group in groups) for name in _COUNTED}, errors=by_type
        )
        return counts, {ShardState(group["state"]): group["shards"] for group in groups}

    @override
    def claim_reporter(self, job: str, holder: str, interval: float, now: float) -> bool:
        due = {
            "_id": job,
            "$or": [{"reported_at": {"$lte": now - interval}}, {"reported_at": {"$exists": False}}],
        }
        with translated():
            try:
                self._db.job_states.update_one(
                    due, {"$set": {"reported_at": now, "reporter": holder}}, upsert=True
                )
            except DuplicateKeyError:
                return False
        return True

    # Failures -------------------------------------------------------------------------------------

    @override
    def failures(
        self, job: str, *, error_type: str | None = None, after: int = -1, limit: int = 100
    ) -> list[Failure]:
        confirmed: list[Failure] = []
        while len(confirmed) < limit:
            query: Document = {"job": job, "ordinal": {"$gt": after}}
            if error_type is not None:
                query["error_type"] = error_type
            with translated():
                found = list(
                    self._db.failures.find(query, {"_id": 0}).sort("ordinal", 1).limit(limit)
                )
                counted = self._counted_spans(found)
            confirmed += [
                _failure(each)
                for each in found
                if _is_counted(each, counted.get(each.get("shard")))
            ]
            if len(found) < limit:
                break
            after = found[-1]["ordinal"]
        return confirmed[:limit]

    def _counted_spans(self, failures: Sequence[Document]) -> dict[str | None, Document]:
        """By shard, up to where each of its epochs has moved the cursor."""
        ids = sorted({each["shard"] for each in failures if "shard" in each})
        found = self._db.job_shards.find({"_id": {"$in": ids}}, {"moved": 1}) if ids else ()
        return {each["_id"]: each.get("moved", {}) for each in found}

    @override
    def delete_failures(self, job: str, on_step: Callable[[], None] = nothing) -> None:
        self._delete_in_steps(self._db.failures, {"job": job}, on_step)

    # Helpers --------------------------------------------------------------------------------------

    def _next_epoch(self, job: str, attempt: int) -> int:
        """An epoch above all that the job used, for a plan of ``attempt``."""
        states = self._db.job_states
        used = self._db.job_shards.find_one({"job": job}, {"epoch": 1}, sort=[("epoch", -1)])
        floor = {"$max": {"epoch": used["epoch"] if used else 0}}
        states.update_one({"_id": job}, floor, upsert=True)
        query = {"_id": job, "attempt": {"$not": {"$gt": attempt}}}
        change = {"$inc": {"epoch": 1}, "$set": {"attempt": attempt}}
        state = states.find_one_and_update(query, change, return_document=ReturnDocument.AFTER)
        if state is None:
            raise _planned_since(job, attempt)
        return int(state["epoch"])

    def _check_plan(self, job: str, attempt: int, epoch: int, planner: str) -> None:
        self._check_planner(job, attempt, planner)
        state = self._db.job_states.find_one({"_id": job})
        if state is None or (state["epoch"], state["attempt"]) != (epoch, attempt):
            raise _planned_since(job, attempt)

    def _check_planner(self, job: str, attempt: int, planner: str) -> None:
        """Raise `FencedError` if the job's record, where there is one,
        says that others plan the attempt, or have.
        """
        record = self._db.jobs.find_one({"_id": job}, {"planned_attempt": 1, "planner": 1})
        if record and (
            record.get("planned_attempt", 0) >= attempt or record.get("planner", "") != planner
        ):
            raise _planned_since(job, attempt)

    def _delete_in_steps(
        self, collection: Collection[Document], query: Document, on_step: Callable[[], None]
    ) -> None:
        while True:
            with translated():
                found = [each["_id"] for each in collection.find(query, {"_id": 1}).limit(_STEP)]
                if not found:
                    return
                collection.delete_many({"_id": {"$in": found}})
            on_step()

    def _change_held(self, held: Shard | ShardBatch, change: Document) -> None:
        query = {"_id": _shard_id(held.job, held.attempt, held.index), "epoch": held.epoch}
        with translated():
            result = self._db.job_shards.update_one(query, {"$set": change})
        if not result.matched_count:
            raise FencedError(f"shard {held.index} of job {held.job} was taken over")

    def _derivatives_by_id(self, derivatives: Sequence[Derivative]) -> dict[str, Document]:
        ids = [_derivative_id(each) for each in derivatives]
        found = self._db.derivatives.find(
            {"_id": {"$in": ids}},
            {"ordinal": 1, "folder": 1, "tier": 1, "path": 1, "bytes": 1},
        )
        return {each["_id"]: each for each in found}

    def _record(self, batch: ShardBatch, now: float) -> None:
        """Derivatives, failures and facts of a batch; writing them again changes nothing."""
        if batch.derivatives:
            upserts = [
                UpdateOne(
                    {"_id": _derivative_id(d), "fence": {"$lte": batch.fence}},
                    {"$set": asdict(d) | {"fence": batch.fence}},
                    upsert=True,
                )
                for d in batch.derivatives
            ]
            before = self._derivatives_by_id(batch.derivatives)
            by_id = {_derivative_id(each): each for each in batch.derivatives}
            self._supersede(batch.collection, by_id, before, now)
            inserted, kept = upserted(self._db.derivatives, upserts)
            self._count(batch.collection, _changes(batch.derivatives, before, inserted, kept))
        if batch.failures:
            older = {"epoch": {"$not": {"$gt": batch.epoch}}}
            by = {"epoch": batch.epoch, "shard": _shard_id(batch.job, batch.attempt, batch.index)}
            documents = [_failure_document(each) | by for each in batch.failures]
            puts = [
                ReplaceOne({"_id": each["_id"]} | older, each, upsert=True) for each in documents
            ]
            upserted(self._db.failures, puts)
        if batch.facts:
            self._db.images.bulk_write(
                [
                    UpdateOne(
                        {"collection": batch.collection, "ordinal": ordinal},
                        {
                            "$set": asdict(facts)
                            | {"warning": facts.warning and clean(facts.warning)}
                        },
                    )
                    for ordinal, facts in batch.facts.items()
                ],
                ordered=False,
            )


def _derivative_id(derivative: Derivative) -> str:
    return f"{derivative.image}:{derivative.tier}"


def _changes(
    derivatives: Sequence[Derivative],
    before: Mapping[str, Document],
    inserted: set[int],
    kept: set[int],
) -> dict[Place, Amount]:
    """By how much a batch of derivatives changed the counters."""
    change: dict[Place, Amount] = {}
    for number, new in enumerate(derivatives):
        if number in kept:
            continue
        old = before.get(_derivative_id(new))
        if number in inserted:
            add(change, {(new.folder, new.tier): (1, new.bytes)})
        elif old is not None:
            add(change, {(old["folder"], old["tier"]): (-1, -old["bytes"])})
            add(change, {(new.folder, new.tier): (1, new.bytes)})
    return change


def _plan(document: Document) -> int:
    """The number of the plan that a shard belongs to; versions before this one wrote none."""
    return int(document.get("plan") or 0)


def _latest(documents: Sequence[Document]) -> list[Document]:
    """Those of the latest plan among them."""
    latest = max(map(_plan, documents), default=0)
    return [each for each in documents if _plan(each) == latest]


def _planned_since(job: str, attempt: int) -> FencedError:
    return FencedError(f"attempt {attempt} of job {job} is planned by others, or has been planned")


def _held(lease: Lease) -> Document:
    return {"_id": lease.name, "holder": lease.holder, "fence": lease.fence}


def _lease(document: Mapping[str, Any]) -> Lease:
    return Lease(document["_id"], document["holder"], document["fence"], document["expires_at"])


def _job_document(job: Job) -> Document:
    document = job_to_document(job)
    return {"_id": document.pop("id")} | document


def _job(document: Mapping[str, Any]) -> Job:
    return job_from_document(dict(document) | {"id": document["_id"]})


def _shard_id(job: str, attempt: int, index: int) -> str:
    return f"{job}:{attempt}:{index}"


def _shard_document(shard: Shard) -> Document:
    document = asdict(shard) | {
        "_id": _shard_id(shard.job, shard.attempt, shard.index),
        "state": shard.state.value,
    }
    document["errors"] = document["counts"].pop("errors")
    return document


def _shard(document: Mapping[str, Any]) -> Shard:
    known = {name: value for name, value in document.items() if name in _SHARD_FIELDS}
    counts = Counts(**document["counts"], errors=document["errors"])
    return Shard(**known, state=ShardState(document["state"]), counts=counts)


def _increments(counts: Counts) -> Document:
    increments: Document = {f"counts.{name}": getattr(counts, name) for name in _COUNTED}
    return increments | {f"errors.{name}": count for name, count in counts.errors.items()}


def _failure(document: Document) -> Failure:
    known = {name: value for name, value in document.items() if name in _FAILURE_FIELDS}
    return Failure(**known | {"error_type": ErrorType(known["error_type"])})


def _failure_document(failure: Failure) -> Document:
    document = asdict(failure) | {
        "error_type": failure.error_type.value,
        "message": clean(failure.message),
    }
    return document | {"_id": f"{failure.job}:{failure.ordinal}"}


def _is_counted(failure: Document, moved: Document | None) -> bool:
    """Whether the flush that recorded the failure moved the shard's cursor over it, too.

    If not, its writer was killed or fenced in between, and another has processed the image since,
    or will.
    """
    if "shard" not in failure:  # of an earlier version
        return True
    epoch, ordinal = failure["epoch"], failure["ordinal"]
    ends = {int(each): end for each, end in (moved or {}).items()}
    earlier = max((end for each, end in ends.items() if each < epoch), default=-1)
    return bool(earlier <= ordinal < ends.get(epoch, -1))
