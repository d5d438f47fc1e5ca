"""Which shard a pod may work on: the record is looked at before the claim,
and once more after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fpj_core.errors import FencedError
from fpj_core.jobs import change_job
from fpj_core.model import Job, Phase, Shard, ShardState
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_worker.pod.shard import _Claims, _Worker
from fpj_worker.shard import Pool, ShardProcessor

TASK: Any = SimpleNamespace(
    job_id="job", attempt=1, shard_index=0, pod="pod", suspect_after=15.0, heartbeat_interval=3.0
)
STOP: Any = SimpleNamespace(check=lambda: None)
ENDED = [
    {"planning_attempt": 2},
    {"phase": Phase.RECOVERING},
    {"phase": Phase.SUSPENDED},
    {"phase": Phase.FAILED},
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    opened.put_shards(
        "job", 1, [Shard("job", 1, index, "c", index, index + 1, index) for index in range(2)]
    )
    opened.create_job(
        Job("job", "it", "c", {}, "", planning_attempt=1, planned_attempt=1, phase=Phase.RUNNING)
    )
    yield opened
    opened.close()


def end(store: Store, change: dict[str, Any]) -> None:
    change_job(store, "job", lambda job: replace(job, **change))


@pytest.mark.parametrize("change", ENDED)
def test_a_pod_that_comes_when_its_attempt_has_ended_claims_nothing(
    store: Store, change: dict[str, Any]
) -> None:
    end(store, change)
    with pytest.raises(FencedError):
        _Claims(TASK, store, STOP).own()
    shard = store.shard("job", 1, 0)
    assert shard is not None and (shard.state, shard.holder) == (ShardState.PENDING, None)


@pytest.mark.parametrize("which", [_Claims.own, _Claims.abandoned])
@pytest.mark.parametrize("change", ENDED)
def test_a_shard_that_is_claimed_while_the_attempt_ends_is_handed_back(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    which: Callable[[_Claims], Shard | None],
) -> None:
    if which is _Claims.abandoned:
        left = store.claim_shard("job", 1, "dead", store.now(), index=1)
        assert left is not None
        store.finish_shard(left, ShardState.PENDING, store.now())
    claim = store.claim_shard

    def and_then_it_ends(*given: Any, **more: Any) -> Shard | None:
        claimed = claim(*given, **more)
        end(store, change)
        return claimed

    monkeypatch.setattr(store, "claim_shard", and_then_it_ends)
    with pytest.raises(FencedError):
        which(_Claims(TASK, store, STOP))
    assert [each.state for each in store.shards("job", 1)] == [ShardState.PENDING] * 2


def test_a_shard_that_another_has_finished_is_nobodys_to_wait_for(store: Store) -> None:
    claimed = store.claim_shard("job", 1, "another", store.now(), index=0)
    assert claimed is not None
    store.finish_shard(claimed, ShardState.SUCCEEDED, store.now())
    assert _Claims(TASK, store, STOP).own() is None


def test_shards_of_pods_that_live_are_not_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Claims, "_pause", lambda _: pytest.fail("it waits"))
    assert store.claim_shard("job", 1, "another", store.now() - 4, index=0) is not None
    assert _Claims(TASK, store, STOP).abandoned() is None


def test_decoders_of_a_shard_that_was_lost_are_stopped_before_the_pod_waits(store: Store) -> None:
    """Until the new holder has ended, which may take an hour, nobody else would stop them."""
    stopped: list[float] = []

    def lose(*_: object) -> None:
        assert stopped == []
        raise FencedError("another has it")

    claimed = store.claim_shard("job", 1, "pod", store.now(), index=0)
    assert claimed is not None
    with _Worker(TASK, store, STOP) as worker:
        worker._pool = cast("Pool", SimpleNamespace(stop=stopped.append))
        worker._processor = cast("ShardProcessor", SimpleNamespace(complete=lose))
        with pytest.raises(FencedError):
            worker.process(claimed)
        assert stopped == [0]
    assert stopped == [0]
