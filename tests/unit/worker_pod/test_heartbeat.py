"""Signs of life from a thread, and the metrics of the store that they pass through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from unit.worker_pod.conftest import BOUND

from fpj_core.errors import ConcurrencyError, FencedError, StoreError, StoreUnavailableError
from fpj_core.model import Counts, Job, Shard, ShardState
from fpj_core.process.metrics import timed
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_worker.pod.heartbeat import Heartbeat
from fpj_worker.pod.metrics import PrometheusMeter
from fpj_worker.stopping import InterruptedRunError, Stop

JOB = "job-1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    opened.put_shards(JOB, 1, [Shard(JOB, 1, 0, "c", 0, 10, 0)])
    yield opened
    opened.close()


@pytest.fixture
def shard(store: Store) -> Shard:
    claimed = store.claim_shard(JOB, 1, "w", time.time())
    assert claimed
    return claimed


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def beats(store: Store) -> float:
    found = store.shard(JOB, 1, 0)
    assert found
    return found.heartbeat_at


def test_it_beats_while_the_supervisor_is_busy_with_something_else(
    store: Store, shard: Shard
) -> None:
    with Heartbeat(store, shard, 0.05):
        for _ in range(3):
            before = beats(store)
            wait_for(lambda before=before: beats(store) > before)  # type: ignore[misc]
    before = beats(store)
    time.sleep(0.2)
    assert beats(store) == before, "and no longer"


def test_a_lost_shard_is_told_when_it_is_asked_for(store: Store, shard: Shard) -> None:
    with Heartbeat(store, shard, 0.02) as heartbeat:
        heartbeat.check()
        store.release_shards(JOB, 1)
        wait_for(lambda: not heartbeat._thread.is_alive())
        with pytest.raises(FencedError):
            heartbeat.check()
    assert store.shards(JOB, 1)[0].state is ShardState.PENDING


def test_a_store_that_is_away_for_a_moment_ends_no_heartbeat(
    store: Store, shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def away(*_arguments: object) -> None:
        nonlocal calls
        calls += 1
        raise StoreUnavailableError("away")

    with Heartbeat(store, shard, 0.02) as heartbeat:
        with monkeypatch.context() as patch:
            patch.setattr(store, "heartbeat", away)
            wait_for(lambda: calls >= 3)
        before = beats(store)
        wait_for(lambda: beats(store) > before)
        heartbeat.check()


def test_a_store_that_hangs_holds_nobody_up(
    store: Store, shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "heartbeat", lambda *_: time.sleep(4))
    with Heartbeat(store, shard, 0.01):
        time.sleep(0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 2.5


# Being asked to stop ------------------------------------------------------------------------------


def test_the_grace_period_runs_from_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("fpj_worker.stopping.time.monotonic", lambda: now)
    stop = Stop()
    stop.check()
    assert stop.left_of(25.0) == 25.0
    stop._request(15, None)
    now = 110.0
    stop._request(15, None)
    assert stop.left_of(25.0) == 15.0
    now = 200.0
    assert stop.left_of(25.0) == 0.0
    with pytest.raises(InterruptedRunError):
        stop.check()


# Metrics ------------------------------------------------------------------------------------------


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_operations_of_the_store_are_measured_by_name(store: Store) -> None:
    before = value("fpj_store_seconds_count", operation="shard")
    measured = timed(store)
    assert measured.shard(JOB, 1, 0) == store.shard(JOB, 1, 0)
    assert measured.location == store.location
    assert list(measured.live_ordinals("c")) == []
    with pytest.raises(TypeError):
        measured.shard()  # type: ignore[call-arg]
    assert value("fpj_store_seconds_count", operation="shard") == before + 2, "failures count"
    assert value("fpj_store_seconds_count", operation="live_ordinals") == 0


def test_failures_of_the_store_are_counted_and_lost_races_are_not(store: Store) -> None:
    def errors(operation: str) -> float:
        return value("fpj_store_errors_total", operation=operation)

    measured = timed(store)
    assert (
        REGISTRY.get_sample_value("fpj_store_errors_total", {"operation": "refresh_folder"})
        is not None
    )
    refused, fenced = errors("update_job"), errors("heartbeat")
    with pytest.raises(ConcurrencyError):
        measured.update_job(Job(JOB, "it", "c", {}, "d", version=99))
    shard = store.claim_shard(JOB, 1, "w", time.time())
    assert shard
    with pytest.raises(FencedError):
        measured.heartbeat(replace(shard, epoch=99), time.time())
    assert (errors("update_job"), errors("heartbeat")) == (refused, fenced)
    before = errors("get_job")
    store.close()
    with pytest.raises(StoreError):
        measured.get_job(JOB)
    assert errors("get_job") == before + 1


def test_every_operation_that_is_measured_exists(store: Store) -> None:
    from fpj_core.process.metrics import _TIMED

    assert all(callable(getattr(store, name)) for name in _TIMED)


def test_the_meter_counts_what_was_recorded() -> None:
    names: dict[str, dict[str, Any]] = {
        "completed": {"result": "completed", "error_type": ""},
        "skipped": {"result": "skipped", "error_type": ""},
        "too large": {"result": "failed", "error_type": "TooLarge"},
    }
    before = {name: value("fpj_worker_images_total", **labels) for name, labels in names.items()}
    hits = value("fpj_worker_skip_checks_total", result="hit")
    misses = value("fpj_worker_skip_checks_total", result="miss")
    meter = PrometheusMeter()
    meter.settled(1_000, 0.3)
    meter.counted(
        Counts(completed=3, skipped=2, failed=1, bytes_written=50, errors={"TooLarge": 1})
    )
    meter.counted(Counts(completed=1))
    after = {name: value("fpj_worker_images_total", **labels) for name, labels in names.items()}
    assert {name: after[name] - before[name] for name in names} == {
        "completed": 4,
        "skipped": 2,
        "too large": 1,
    }
    assert value("fpj_worker_skip_checks_total", result="hit") - hits == 2
    assert value("fpj_worker_skip_checks_total", result="miss") - misses == 5
    assert meter.take() == Counts(
        completed=4, skipped=2, failed=1, bytes_written=50, errors={"TooLarge": 1}
    )
    assert meter.take() == Counts()
