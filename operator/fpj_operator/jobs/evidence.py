"""What the store must show before a job is complete. The only place where that is decided; pure.

The status says what was planned: so many shards with so many images, in the store of one identity.
Only the store of that identity, with the plan of that attempt, with exactly that many shards, all
succeeded, and with every planned image accounted for, completes the job. Everything else is work
that goes on, or records that are lost. Where nothing is recorded, nothing is done: an empty store
shows no shard that is left, which is not a success.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from fpj_core.formatting import count
from fpj_core.model import Job, ShardState
from fpj_operator.jobs.state import Attempt, StoreView


class Finding(Enum):
    """What the store shows of an attempt."""

    UNPLANNED = auto()
    """The index Job has not recorded a plan yet."""
    UNDONE = auto()
    """The plan is there, and so are all of its shards; some have not succeeded."""
    DONE = auto()
    """All that was planned is done."""
    LOST = auto()
    """Not what this attempt recorded: its records were emptied, restored, replaced or overtaken."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """``attempt`` is what the status should say of it; ``lost`` is why records are LOST,
    empty otherwise.
    """

    finding: Finding
    attempt: Attempt
    lost: str = ""


def evidence(attempt: Attempt, store: StoreView, *, planned: bool) -> Evidence:
    """Hold a current look at the store against what the status says of ``attempt``.

    ``planned`` says whether the job has been seen with a plan: then it must have one. Attempts that
    an earlier version of the operator began say nothing of store and plan: what is found first is
    what is held to from then on.
    """
    if attempt.store_id and store.identity != attempt.store_id:
        return _lost(
            attempt,
            f"the store is another one: {store.identity}, the attempt began with"
            f" {attempt.store_id}",
        )
    attempt = replace(attempt, store_id=store.identity)
    record = store.record
    if record is None:
        return _lost(attempt, "the store has no record of the job")
    if store.latest_attempt > attempt.number:
        return _lost(
            attempt,
            f"the store is at attempt {store.latest_attempt}, the status at {attempt.number}",
        )
    if record.planned_attempt != attempt.number:
        if planned or attempt.planned_shards is not None:
            return _lost(attempt, f"the store has no plan of attempt {attempt.number}")
        return Evidence(Finding.UNPLANNED, attempt)
    if attempt.planned_shards is None:
        # Older versions record no number of shards. Then those that are there are what was planned;
        # with none of them, every image must have been up to date.
        attempt = replace(
            attempt,
            planned_shards=record.planned_shards or store.total_shards,
            planned_images=record.total,
        )
    return _of_plan(attempt, record, store)


def _of_plan(attempt: Attempt, record: Job, store: StoreView) -> Evidence:
    shards, images = attempt.planned_shards or 0, attempt.planned_images
    if record.planned_shards not in (shards, 0) or record.total != images:
        return _lost(attempt, "the store has another plan of the same attempt")
    if store.total_shards != shards:
        return _lost(
            attempt,
            f"{count(shards)} shards were planned, the store has {count(store.total_shards)}",
        )
    if store.shards.get(ShardState.SUCCEEDED, 0) != shards:
        return Evidence(Finding.UNDONE, attempt)
    if store.counts.done != images:
        done = count(store.counts.done)
        return _lost(
            attempt, f"all shards are done, but {done} of {count(images or 0)} images accounted for"
        )
    return Evidence(Finding.DONE, attempt)


def _lost(attempt: Attempt, why: str) -> Evidence:
    return Evidence(Finding.LOST, attempt, why)
