"""Whatever order workers, kills, replays and take-overs come in: every image is counted once,
none is lost.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from contract.records import COLLECTION, JOB, batch, image, shard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpj_core.errors import FencedError
from fpj_core.model import Counts, Shard, ShardState
from fpj_core.store import open_store
from fpj_core.store.protocol import Store

IMAGES = 24
SHARDS = ((0, 7), (7, 15), (15, 24))

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "claim",
                "flush",
                "record ahead",
                "replay",
                "finish",
                "kill",
                "stall",
                "replan",
                "release",
            ]
        ),
        st.integers(0, 2),  # which worker
        st.integers(1, 4),  # how many images
    ),
    max_size=40,
)


@dataclass
class Worker:
    """What a worker process believes. A killed one forgets; a stalled one goes on believing."""

    shard: Shard | None = None
    cursor: int = 0
    last: object = None


class World:
    """A job on a real store, and workers that may fail at any step."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = 1_000.0
        self.workers = [Worker(), Worker(), Worker()]
        store.upsert_images([image(n) for n in range(IMAGES)], 0)
        store.put_shards(JOB, 1, [shard(n, *bounds) for n, bounds in enumerate(SHARDS)])

    def step(self, action: str, number: int, count: int) -> None:
        worker = self.workers[number]
        try:
            getattr(self, action.replace(" ", "_"))(worker, count)
        except FencedError:
            worker.shard = None

    def claim(self, worker: Worker, _count: int) -> None:
        if worker.shard is None and (claimed := self.store.claim_shard(JOB, 1, "w", self.now)):
            worker.shard, worker.cursor, worker.last = claimed, claimed.cursor, None

    def flush(self, worker: Worker, count: int) -> None:
        if worker.shard:
            stop = min(worker.cursor + count, worker.shard.stop)
            worker.last = batch(worker.shard, worker.cursor, stop)
            self.store.flush(worker.last, self.now)
            worker.cursor = stop

    def record_ahead(self, worker: Worker, count: int) -> None:
        if worker.shard:
            stop = min(worker.cursor + count, worker.shard.stop)
            ahead = batch(worker.shard, worker.cursor, stop, counts=Counts())
            self.store.flush(replace(ahead, cursor=worker.cursor), self.now)

    def replay(self, worker: Worker, _count: int) -> None:
        if worker.last:
            self.store.flush(worker.last, self.now)  # type: ignore[arg-type]

    def finish(self, worker: Worker, _count: int) -> None:
        if worker.shard and worker.cursor == worker.shard.stop:
            self.store.finish_shard(worker.shard, ShardState.SUCCEEDED, self.now)
            worker.shard = None

    def kill(self, worker: Worker, _count: int) -> None:
        worker.shard, worker.last = None, None

    def stall(self, _worker: Worker, _count: int) -> None:
        self.now += 20  # everyone looks silent; nobody knows

    def replan(self, _worker: Worker, _count: int) -> None:
        """What a resumed job does: what is done stays done, the rest gets new shards."""
        pending = list(self.store.pending_ordinals(COLLECTION, {"full": "d1"}))
        shards = [shard(n, first, first + 1) for n, first in enumerate(pending)]
        self.store.put_shards(JOB, 1, shards)

    def release(self, _worker: Worker, _count: int) -> None:
        """What a suspended or recovered job does: whoever works on it is fenced."""
        self.store.release_shards(JOB, 1)

    def run_to_the_end(self) -> None:
        for _ in range(500):
            self.now += 20
            claimed = self.store.claim_shard(JOB, 1, "last", self.now)
            if claimed is None:
                return
            if claimed.cursor < claimed.stop:
                self.store.flush(batch(claimed, claimed.cursor, claimed.stop), self.now)
            self.store.finish_shard(claimed, ShardState.SUCCEEDED, self.now)
        raise AssertionError("the job does not end")


def check(store: Store, actions: list[tuple[str, int, int]]) -> None:
    world = World(store)
    for action in actions:
        world.step(*action)
        shards = store.shards(JOB, 1)
        assert all(s.start <= s.cursor <= s.stop for s in shards)
        assert all(s.counts.completed == s.cursor - s.start for s in shards), (
            "each image counted once"
        )
        recorded = {d.ordinal for d in store.derivatives(COLLECTION, 0, IMAGES, ["full"])}
        assert all(n in recorded for s in shards for n in range(s.start, s.cursor)), (
            "none counted but not recorded"
        )
    world.run_to_the_end()
    counts, states = store.job_counts(JOB, 1)
    in_shards = sum(s.stop - s.start for s in store.shards(JOB, 1))
    assert counts.completed == in_shards
    assert set(states) <= {ShardState.SUCCEEDED}
    assert list(store.pending_ordinals(COLLECTION, {"full": "d1"})) == []
    assert len(store.derivatives(COLLECTION, 0, IMAGES, ["full"])) == IMAGES


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=ACTIONS)
def test_sqlite(tmp_path: Path, actions: list[tuple[str, int, int]]) -> None:
    store = open_store(str(tmp_path / f"{uuid.uuid4().hex}.db"))
    try:
        check(store, actions)
    finally:
        store.close()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=ACTIONS)
def test_mongodb(mongodb_server: str, actions: list[tuple[str, int, int]]) -> None:
    store = open_store(f"{mongodb_server}/fpj-test-{uuid.uuid4().hex[:12]}")
    try:
        check(store, actions)
    finally:
        store._client.drop_database(store._db.name)  # type: ignore[attr-defined]
        store.close()


@pytest.mark.parametrize("zombies", [200])
def test_zombies_write_nothing(store: Store, zombies: int) -> None:
    """Every holder but the last is fenced: of all their writes none is accepted."""
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    claims = [store.claim_shard(JOB, 1, f"h{n}", 1_000.0 + 20 * n) for n in range(zombies)]
    accepted = 0
    for zombie in claims[:-1]:
        assert zombie
        try:
            store.flush(batch(zombie, 0, 10), 9_999.0)
            accepted += 1
        except FencedError:
            pass
    assert accepted == 0
    assert store.job_counts(JOB, 1)[0] == Counts()
    assert store.derivatives(COLLECTION, 0, 10, ["full"]) == []
