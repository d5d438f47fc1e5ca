"""The pod that checks a cache folder and evicts waits for an eviction that was killed."""

from __future__ import annotations

from typing import Any

import pytest
from unit.worker.test_eviction import SIZE, check_files, limited, put
from unit.worker.test_local import Bench, bench

from fpj_core.kube.folderreport import FolderReport, parse_folder_report
from fpj_core.kube.names import eviction_lease_name, lease_name
from fpj_core.model import RemovalReason
from fpj_worker.pod.evict import FolderTask, run_evict
from fpj_worker.stopping import InterruptedRunError, Stop

__all__ = ["bench"]  # a fixture

LEASE = eviction_lease_name("cache")


@pytest.fixture(autouse=True)
def waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only while somebody waits."""
    monkeypatch.setattr("fpj_worker.pod.evict.time", bench.clock)


def evict(bench: Bench, stop: Stop | None = None, max_bytes: int = 10 * SIZE) -> FolderReport:
    folder: Any = bench.folder
    record = limited(max_bytes)
    bench.store.upsert_folder(record)
    task = FolderTask(folder, record, "team", "cache", "pod")
    report = parse_folder_report(run_evict(task, bench.store, stop or Stop()))
    assert report is not None
    return report


def test_what_an_eviction_that_was_killed_has_begun_is_finished_once_its_lease_has_lapsed(
    bench: Bench,
) -> None:
    """The folder is below its watermark by then: nothing else would come back to it."""
    made = put(bench.store, bench.folder, 10)
    fence = bench.store.acquire_lease(lease_name("attic"), "killed", 60, bench.store.now()).fence
    bench.store.acquire_lease(LEASE, "killed", 60, bench.store.now())
    victims = [(each.ordinal, each.tier) for each in made[:2]]
    bench.store.start_removals("attic", victims, RemovalReason.OVER_QUOTA, fence)
    report = evict(bench)
    assert (report.evicted, report.over, report.removed.files) == (True, False, 2)
    assert bench.clock.now < 1_100
    check_files(bench)


def test_one_that_goes_on_for_long_is_not_waited_for(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    bench.store.acquire_lease(LEASE, "another", 1e6, bench.store.now())
    report = evict(bench)
    assert (report.evicted, report.over) == (False, True)
    assert "another" in report.shortfalls[0]
    assert 1_085 < bench.clock.now < 1_100
    assert len(bench.folder.files) == 10


def test_who_waits_can_be_stopped(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    bench.store.acquire_lease(LEASE, "another", 1e6, bench.store.now())
    stop = Stop()
    stop._request(15, None)
    with pytest.raises(InterruptedRunError):
        evict(bench, stop)
