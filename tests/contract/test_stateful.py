"""Both stores against a simple model: whatever is called in whatever order,
each answers and keeps what the model does.

`test_interleavings` asks whether workers lose or double images. Here every part of the store
changes at once: locks, images, plans, claims, batches with failures under old and new fences,
deletions, and the counters beside them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from contract.records import COLLECTION, JOB, batch, derivative, failure, image, shard
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pymongo import MongoClient
from typing_extensions import override

from fpj_core.errors import FencedError, LeaseHeldError
from fpj_core.kube.names import lease_name
from fpj_core.model import (
    Counts,
    Derivative,
    ImageFacts,
    ImageRecord,
    Lease,
    Shard,
    ShardBatch,
    ShardState,
)
from fpj_core.store import Store, open_store
from fpj_core.store.counters import CounterCheck

IMAGES = 8
ORDINALS = st.sets(st.integers(0, IMAGES - 1), min_size=1, max_size=4)
NUMBERS = st.integers(0, 5)
LOCK = lease_name(COLLECTION)
T = TypeVar("T")


def drawn(found: list[T], number: int) -> T | None:
    """One of the last few, if there is one: also claims that were lost long ago."""
    return found[-1 - number % len(found)] if found else None


class StoreMachine(RuleBasedStateMachine):
    """What a store keeps, as plain dictionaries."""

    url: ClassVar[Callable[[], str]]
    dispose: ClassVar[Callable[[str], None]]

    def __init__(self) -> None:
        super().__init__()
        self.where = type(self).url()
        self.store: Store = open_store(self.where)
        self.now = 1_000.0
        self.images: dict[int, ImageRecord] = {}
        self.derivatives: dict[int, tuple[Derivative, int]] = {}
        self.failures: dict[int, str] = {}
        self.shards: dict[int, Shard] = {}
        self.lease: Lease | None = None
        self.leases: list[Lease] = []
        self.claims: list[Shard] = []
        self.epoch = 0
        self.deleted = False

    @override
    def teardown(self) -> None:
        self.store.close()
        type(self).dispose(self.where)

    @initialize()
    def known(self) -> None:
        self.upsert(set(range(IMAGES)), "v1", 0)
        self.plan({4})

    def expect(self, allowed: bool, call: Callable[[], Any]) -> None:
        """The call is fenced exactly where the model says so."""
        if allowed:
            call()
            return
        with pytest.raises(FencedError):
            call()

    @property
    def fence(self) -> int:
        return self.lease.fence if self.lease else 0

    # Locks and images -----------------------------------------------------------------------------

    @rule(holder=st.sampled_from("ab"))
    def lock(self, holder: str) -> None:
        held = self.lease is not None and self.lease.holder and self.lease.expires_at > self.now
        if held and self.lease and self.lease.holder != holder:
            with pytest.raises(LeaseHeldError):
                self.store.acquire_lease(LOCK, holder, 30, self.now)
            return
        fence = self.fence + (self.lease is None or self.lease.holder != holder)
        self.lease = Lease(LOCK, holder, fence, self.now + 30)
        assert self.store.acquire_lease(LOCK, holder, 30, self.now) == self.lease
        self.leases.append(self.lease)

    @rule(number=NUMBERS)
    def renew(self, number: int) -> None:
        lease = drawn(self.leases, number)
        if lease and self.lease:
            mine = (lease.holder, lease.fence) == (self.lease.holder, self.lease.fence)
            self.expect(mine, lambda: self.store.renew_lease(lease, 30, self.now))
            if mine:
                self.lease = replace(self.lease, expires_at=self.now + 30)

    @rule(number=NUMBERS)
    def unlock(self, number: int) -> None:
        lease = drawn(self.leases, number)
        if lease and self.lease:
            self.store.release_lease(lease)
            if (lease.holder, lease.fence) == (self.lease.holder, self.lease.fence):
                self.lease = replace(self.lease, holder="", expires_at=0)

    @rule()
    def wait(self) -> None:
        self.now += 20

    @rule(ordinals=ORDINALS, version=st.sampled_from(["v1", "v2"]), age=st.integers(0, 1))
    def upsert(self, ordinals: set[int], version: str, age: int) -> None:
        records = [image(ordinal, version=version) for ordinal in sorted(ordinals)]
        self.expect(age == 0, lambda: self.store.upsert_images(records, self.fence - age))
        if age == 0:
            self.images |= {record.ordinal: record for record in records}

    @rule(ordinals=ORDINALS, age=st.integers(0, 1))
    def vanish(self, ordinals: set[int], age: int) -> None:
        self.expect(
            age == 0,
            lambda: self.store.mark_deleted(COLLECTION, sorted(ordinals), self.fence - age),
        )
        if age == 0:
            for ordinal in ordinals:
                self.images[ordinal] = replace(self.images[ordinal], deleted=True)

    # Plans and claims -----------------------------------------------------------------------------

    @precondition(lambda self: not self.deleted)
    @rule(cuts=st.sets(st.integers(1, IMAGES - 1), max_size=3))
    def plan(self, cuts: set[int]) -> None:
        """In place of the one before; failures are to be tried again."""
        self.store.delete_failures(JOB)
        self.failures = {}
        bounds = [0, *sorted(cuts), IMAGES]
        planned = [shard(n, *pair) for n, pair in enumerate(pairwise(bounds))]
        assert self.store.put_shards(JOB, 1, planned) == len(planned)
        self.shards = {each.index: each for each in self.store.shards(JOB, 1)}
        assert [(s.start, s.stop, s.cursor) for s in self.shards.values()] == [
            (s.start, s.stop, s.start) for s in planned
        ]
        epochs = {each.epoch for each in self.shards.values()}
        assert len(epochs) == 1
        assert epochs.pop() > self.epoch, "above all that were used"
        self.note_epochs()

    def note_epochs(self) -> None:
        self.epoch = max(self.epoch, *(each.epoch for each in self.shards.values()), 0)

    @rule(holder=st.sampled_from("ab"))
    def claim(self, holder: str) -> None:
        free = [
            each
            for _, each in sorted(self.shards.items())
            if each.state is ShardState.PENDING
            or (each.state is ShardState.RUNNING and each.heartbeat_at <= self.now - 15)
        ]
        found = self.store.claim_shard(JOB, 1, holder, self.now)
        if not free:
            assert found is None
            return
        taken = replace(
            free[0],
            state=ShardState.RUNNING,
            holder=holder,
            heartbeat_at=self.now,
            epoch=free[0].epoch + 1,
        )
        assert found == taken
        self.shards[taken.index] = taken
        self.claims.append(taken)
        self.note_epochs()

    @precondition(lambda self: self.shards)
    @rule()
    def release(self) -> None:
        self.store.release_shards(JOB, 1)
        for index, each in self.shards.items():
            if each.state is not ShardState.SUCCEEDED:
                self.shards[index] = replace(
                    each,
                    state=ShardState.PENDING,
                    holder=None,
                    heartbeat_at=0,
                    epoch=each.epoch + 1,
                )
        self.note_epochs()

    def held(self, claim: Shard) -> Shard | None:
        """The shard, if it is still the claim's."""
        now = self.shards.get(claim.index)
        return now if now and now.epoch == claim.epoch else None

    @rule(number=NUMBERS)
    def beat(self, number: int) -> None:
        if claim := drawn(self.claims, number):
            now = self.held(claim)
            self.expect(now is not None, lambda: self.store.heartbeat(claim, self.now))
            if now:
                self.shards[claim.index] = replace(now, heartbeat_at=self.now)

    @rule(
        number=NUMBERS,
        state=st.sampled_from([ShardState.SUCCEEDED, ShardState.FAILED, ShardState.PENDING]),
    )
    def finish(self, number: int, state: ShardState) -> None:
        if claim := drawn(self.claims, number):
            now = self.held(claim)
            self.expect(now is not None, lambda: self.store.finish_shard(claim, state, self.now))
            if now:
                self.shards[claim.index] = replace(now, state=state, heartbeat_at=self.now)

    # Batches --------------------------------------------------------------------------------------

    @rule(
        number=NUMBERS,
        failing=st.sets(st.integers(0, IMAGES - 1)),
        most=st.integers(1, 5),
        age=st.integers(0, 1),
        answered=st.booleans(),
    )
    def flush(self, number: int, failing: set[int], most: int, age: int, answered: bool) -> None:
        """What a holder knows to come next, also one that was fenced.

        Once more where the answer was lost.
        """
        if not (claim := drawn(self.claims, number)):
            self.claim("a")
            return
        now = self.held(claim)
        start = now.cursor if now else claim.cursor
        stop = min(start + most, claim.stop)
        made = [ordinal for ordinal in range(start, stop) if ordinal not in failing]
        lost = tuple(failure(ordinal) for ordinal in range(start, stop) if ordinal in failing)
        errors = {"CorruptImage": len(lost)} if lost else {}
        sent = replace(
            batch(claim, start, stop, fence=max(self.fence - age, 0)),
            counts=Counts(
                completed=len(made), failed=len(lost), bytes_written=10 * len(made), errors=errors
            ),
            derivatives=tuple(derivative(n, version=self.images[n].version) for n in made),
            failures=lost,
            facts={n: ImageFacts(40 + n, 30, "jpeg", b"\1", "#aabbcc") for n in made},
        )
        self.send(sent)
        if not answered:
            self.now += 1
            self.send(sent)

    def send(self, sent: ShardBatch) -> None:
        now = self.held_at(sent)
        self.expect(now is not None, lambda: self.store.flush(sent, self.now))
        if now is None:
            return
        again = now.cursor != sent.expected_cursor
        self.shards[sent.index] = replace(now, cursor=sent.cursor, heartbeat_at=self.now)
        if again:
            return
        self.shards[sent.index] = replace(self.shards[sent.index], counts=now.counts + sent.counts)
        for each in sent.derivatives:
            if (
                each.ordinal not in self.derivatives
                or self.derivatives[each.ordinal][1] <= sent.fence
            ):
                self.derivatives[each.ordinal] = each, sent.fence
        self.failures |= {each.ordinal: each.error_type for each in sent.failures}
        for ordinal, facts in sent.facts.items():
            self.images[ordinal] = replace(self.images[ordinal], width=facts.width)

    def held_at(self, sent: ShardBatch) -> Shard | None:
        now = self.shards.get(sent.index)
        at = (sent.expected_cursor, sent.cursor)
        return now if now and now.epoch == sent.epoch and now.cursor in at else None

    # Deletions ------------------------------------------------------------------------------------

    @rule(ordinals=ORDINALS)
    def forget(self, ordinals: set[int]) -> None:
        self.store.delete_derivatives(COLLECTION, [(ordinal, "full") for ordinal in ordinals])
        for ordinal in ordinals:
            self.derivatives.pop(ordinal, None)

    @precondition(lambda self: self.shards)
    @rule()
    def delete_job(self) -> None:
        """Its id is never used again; who worked on it is fenced."""
        self.store.delete_job(JOB)
        self.shards, self.failures, self.deleted = {}, {}, True

    # What must hold -------------------------------------------------------------------------------

    @invariant()
    def same(self) -> None:
        assert self.store.shards(JOB, 1) == [each for _, each in sorted(self.shards.items())]
        counts, states = self.store.job_counts(JOB, 1)
        assert counts == sum((each.counts for each in self.shards.values()), Counts())
        assert sum(states.values()) == len(self.shards)
        assert {f.ordinal: f.error_type for f in self.store.failures(JOB)} == self.failures
        recorded = self.store.derivatives(COLLECTION, 0, IMAGES, ["full"])
        assert recorded == [each for _, (each, _) in sorted(self.derivatives.items())]
        live = [each for _, each in sorted(self.images.items()) if not each.deleted]
        seen = self.store.images(COLLECTION, 0, IMAGES)
        assert [(each.ordinal, each.version, each.width) for each in seen] == [
            (each.ordinal, each.version, each.width) for each in live
        ]
        stale = (
            each.ordinal
            for each in live
            if each.ordinal not in self.derivatives
            or self.derivatives[each.ordinal][0].source_version != each.version
        )
        assert list(self.store.pending_ordinals(COLLECTION, {"full": "d1"})) == [*stale]
        assert list(self.store.verify_counters(COLLECTION)) == [CounterCheck(COLLECTION)]
        assert self.store.folder_totals("cache")[:2] == (len(recorded), 10 * len(recorded))


def run(
    examples: int, url: Callable[[], str], dispose: Callable[[str], None] = lambda _url: None
) -> None:
    machine = type(
        "Machine", (StoreMachine,), {"url": staticmethod(url), "dispose": staticmethod(dispose)}
    )
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


def test_sqlite(tmp_path: Path) -> None:
    run(12, lambda: str(tmp_path / f"{uuid.uuid4().hex}.db"))


def test_mongodb(mongodb_server: str) -> None:
    with MongoClient[dict[str, Any]](mongodb_server) as client:
        run(
            6,
            lambda: f"{mongodb_server}/fpj-test-{uuid.uuid4().hex[:12]}",
            lambda url: client.drop_database(url.rpartition("/")[2]),
        )
