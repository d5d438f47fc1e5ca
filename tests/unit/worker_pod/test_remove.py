"""What a pod removes of a collection whose job was deleted: what nobody else asks for, from its own
folder, and only under the lease's fence.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typing_extensions import override
from unit.worker_pod.conftest import COLLECTION, UID, Cluster

from fpj_core.errors import CacheFolderError, EnvironmentFaultError, FencedError
from fpj_core.kube.names import lease_name
from fpj_core.model import RemovalReason
from fpj_core.store.protocol import Store
from fpj_worker.pod.remove import run_removal
from fpj_worker.pod.task import read_task
from fpj_worker.stopping import InterruptedRunError, Stop

FOLDER = "team.main"


@pytest.fixture
def made(cluster: Cluster) -> Cluster:
    """Three photos, each in the tiers full and thumbnail."""
    cluster.prepare(3)
    cluster.run("shard")
    assert len(cluster.files()) == 6
    return cluster


def remove(cluster: Cluster, *keep: str, fence: int = 1, stop: Stop | None = None) -> None:
    with cluster.opened() as store:
        task = read_task(cluster.environment(FPJ_TASK=cluster.task(keep=keep, fence=fence)))
        run_removal(task, store, stop or Stop())


def recorded(store: Store) -> list[tuple[int, str]]:
    found = store.derivatives(COLLECTION, 0, 10, ("full", "thumbnail"))
    return sorted((each.ordinal, each.tier) for each in found)


def test_everything_goes_and_the_originals_stay(made: Cluster) -> None:
    remove(made)
    assert made.files() == {}
    assert len(list(made.album.iterdir())) == 3
    with made.opened() as store:
        assert recorded(store) == []
        assert list(store.removals(COLLECTION, FOLDER)) == []
        assert not any(store.requested_tiers(COLLECTION).values()), "nobody asks for them any more"
    remove(made)  # again, nothing is left


def test_nothing_is_asked_for_in_the_name_of_jobs_that_are_gone(made: Cluster) -> None:
    with made.opened() as store:
        store.record_requested_tiers(COLLECTION, "earlier/cache", ["full"], 1)
        remove(made, "full")
        asked = store.requested_tiers(COLLECTION)
        assert {who for who, tiers in asked.items() if tiers} == {"earlier/cache"}
        remove(made)
        assert not any(store.requested_tiers(COLLECTION).values())


def test_tiers_that_others_ask_for_stay(made: Cluster) -> None:
    remove(made, "thumbnail")
    assert len(made.files()) == 3 and all("thumbnail" in path for path in made.files())
    with made.opened() as store:
        assert recorded(store) == [(at, "thumbnail") for at in range(3)]


def test_what_was_made_of_vanished_images_goes_too(made: Cluster) -> None:
    with made.opened() as store:
        store.mark_deleted(COLLECTION, [0, 1, 2], 1)
    remove(made)
    assert made.files() == {}


def test_under_a_fence_that_is_over_nothing_is_removed(made: Cluster) -> None:
    with made.opened() as store:
        store.break_lease(lease_name(COLLECTION), UID)
        store.acquire_lease(lease_name(COLLECTION), "another", 60, store.now())
    with pytest.raises(FencedError):
        remove(made)
    assert len(made.files()) == 6
    with made.opened() as store:
        assert len(recorded(store)) == 6


def test_a_folder_that_is_not_there_loses_nothing(made: Cluster) -> None:
    elsewhere = made.derived.rename(made.root / "elsewhere")
    made.derived.mkdir()
    with pytest.raises(CacheFolderError):
        remove(made)
    made.derived.rmdir()
    elsewhere.rename(made.derived)
    assert len(made.files()) == 6
    with made.opened() as store:
        left = list(store.removals(COLLECTION, FOLDER))
        assert {each.reason for each in left} == {RemovalReason.DELETED} and len(left) == 6
    remove(made)
    assert made.files() == {}


def test_an_interrupted_removal_is_gone_on_with(made: Cluster) -> None:
    class Stops(Stop):
        asked = 0

        @override
        def check(self) -> None:
            self.asked += 1
            if self.asked > 2:
                raise InterruptedRunError("SIGTERM")

    with pytest.raises(InterruptedRunError):
        remove(made, stop=Stops())
    remove(made)
    assert made.files() == {}


def test_files_that_cannot_be_removed_are_told(made: Cluster) -> None:
    path = next(iter(made.files()))
    blocked = made.derived / path
    kept = blocked.read_bytes()
    blocked.unlink()
    blocked.mkdir()  # as unlink refuses it, also for root
    (blocked / "x").touch()
    with pytest.raises(EnvironmentFaultError, match="files cannot be removed"):
        remove(made)
    (blocked / "x").unlink()
    blocked.rmdir()
    blocked.write_bytes(kept)
    remove(made)
    assert made.files() == {}


def test_nothing_outside_the_folder_is_removed_through_a_link(made: Cluster) -> None:
    path = next(iter(made.files()))
    victim = made.root / "victim.jpg"
    victim.write_bytes(b"mine")
    (made.derived / path).unlink()
    os.symlink(victim, made.derived / path)
    remove(made)
    assert victim.read_bytes() == b"mine" and not Path(made.derived / path).is_symlink()


def test_the_command_runs_as_a_pod(made: Cluster) -> None:
    made.run("remove", FPJ_TASK=made.task(keep=[]))
    assert made.files() == {}
