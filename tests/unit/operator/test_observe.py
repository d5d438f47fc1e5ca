"""What is read of the cluster and the store."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest
from unit.operator.world import World
from unit.v1alpha1.documents import full_job, put

from fpj_core.formatting import moment
from fpj_core.kube.names import lease_name
from fpj_core.model import Job, Phase, Shard, ShardState
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_operator.jobs.children import collection_of
from fpj_operator.jobs.folders import Folders
from fpj_operator.jobs.observe import (
    _as_begun,
    _ask_store,
    _child,
    _folder,
    _parse,
    _stalled,
    others_left,
    pods_left,
)
from fpj_operator.jobs.state import Attempt

JOB = put(full_job(), "metadata.uid", "uid-1")


def test_fields_of_a_later_version_do_not_make_a_spec_invalid() -> None:
    job, problem = _parse(put(JOB, "spec.later", {"than": "this"}))
    assert job is not None and problem is None


def test_a_job_that_has_begun_is_read_as_it_was_last_understood(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.db"))
    later: dict[str, Any] = put(put(JOB, "spec.thumbnail.format", "jxl"), "spec.suspend", True)
    job, problem = _parse(later)
    assert job is None and problem is not None and "jxl" in problem
    assert _as_begun(store, later) is None, "nothing is known of it"
    store.create_job(Job("uid-1", "it", "team.it", JOB, ""))
    found = _as_begun(store, later)
    assert found is not None and found.spec.suspend, (
        "whether it is suspended is said by the spec of now"
    )
    assert found.spec.thumbnail == _understood().spec.thumbnail
    store.close()


def _understood() -> Any:
    return _parse(JOB)[0]


@pytest.fixture
def three_shards(tmp_path: Path) -> Any:
    store = open_store(str(tmp_path / "store.db"))
    store.put_shards(
        "uid-1", 1, [Shard("uid-1", 1, index, "c", index, index + 1, index) for index in range(3)]
    )
    store.create_job(
        Job("uid-1", "it", "c", {}, "d", total=3, planning_attempt=1, planned_attempt=1)
    )
    yield store
    store.close()


def claim(store: Store, index: int, silent_for: float) -> Shard:
    shard = store.claim_shard("uid-1", 1, f"pod-{index}", time.time() - silent_for, index=index)
    assert shard is not None
    return shard


def silent(store: Store) -> tuple[str, ...]:
    return _ask_store(store, "uid-1", 1).silent


def test_pods_are_silent_once_nobody_else_has_anything_left_to_do(three_shards: Store) -> None:
    first = claim(three_shards, 0, 600)
    second = claim(three_shards, 1, 600)
    assert silent(three_shards) == (), (
        "a shard waits for a pod, which takes over the others when it is done"
    )
    third = claim(three_shards, 2, 10)
    assert silent(three_shards) == (), "a pod works"
    three_shards.finish_shard(third, ShardState.SUCCEEDED, time.time())
    assert silent(three_shards) == ("pod-0", "pod-1")
    three_shards.finish_shard(first, ShardState.PENDING, time.time())
    assert silent(three_shards) == (), "it was handed back"
    three_shards.heartbeat(replace(second), time.time())
    claim(three_shards, 0, 600)
    assert silent(three_shards) == (), "one came back to life"


def test_shards_of_a_later_wave_take_over_none_of_this_one(
    three_shards: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpj_operator.jobs.observe.WAVE", 2)
    first = claim(three_shards, 0, 600)
    assert silent(three_shards) == (), "the wave's other shard waits for a pod"
    claim(three_shards, 1, 600)
    three_shards.finish_shard(first, ShardState.SUCCEEDED, time.time())
    assert silent(three_shards) == ("pod-1",)
    claim(three_shards, 2, 600)
    assert silent(three_shards) == ("pod-1", "pod-2")


class PodsThere:
    """An API server with these pods, which run."""

    def __init__(self, *pods: str) -> None:
        self.pods = {f"metadata.name={pod},status.phase=Running" for pod in pods}

    async def page(self, _kind: str, _namespace: str, *, limit: int, fields: str) -> Any:
        return {"items": [{}][:limit] if fields in self.pods else []}


@pytest.mark.parametrize(
    ("pods", "stalled"), [(("pod-0", "pod-1"), True), (("pod-0",), False), ((), False)]
)
def test_pods_stall_only_where_no_other_takes_their_place(
    pods: tuple[str, ...], stalled: bool
) -> None:
    server: Any = PodsThere(*pods)
    found = asyncio.run(_stalled(server, "team", ("pod-0", "pod-1")))
    assert found == (("pod-0", "pod-1") if stalled else ())


async def _chosen(
    source: dict[str, Any], cache_folder: str | None, **storages: dict[str, Any]
) -> tuple[Any, Any]:
    """The name of the folder that a job of this source gets, and why it gets none."""
    documents = [
        {
            "apiVersion": "fpj.dev/v1alpha1",
            "kind": "CacheFolder",
            "metadata": {"name": name, "namespace": "team", "uid": name},
            "spec": {"storage": storage},
        }
        for name, storage in storages.items()
    ]
    listed = SimpleNamespace(list=AsyncMock(return_value=documents))
    document = put(put(JOB, "spec.collection.source", source), "spec.cacheFolder", cache_folder)
    folder, problem = await _folder(
        Folders(cast("Any", listed)), "team", _parse(document)[0], Attempt(), Phase.PENDING
    )
    return folder and folder.metadata.name, problem


def test_a_cache_folder_that_overlaps_the_source_is_no_choice() -> None:
    source = {"persistentVolumeClaim": {"claimName": "photos", "path": "in"}}
    above, inside = (
        {"persistentVolumeClaim": {"claimName": "photos", "path": path}}
        for path in (".", "in/cache")
    )
    assert asyncio.run(_chosen(source, None, above=above, inside=inside)) == ("inside", None)
    assert asyncio.run(_chosen(source, "above", above=above, inside=inside)) == ("above", None), (
        "refused later"
    )
    said = "there is no cache folder but above, which lies above the source"
    assert asyncio.run(_chosen(source, None, above=above)) == (None, said)


def test_what_the_store_shows_says_which_store_it_is(three_shards: Store) -> None:
    assert _ask_store(three_shards, "uid-1", 1).identity == three_shards.identity()
    assert _ask_store(three_shards, "uid-2", 1).identity == three_shards.identity()


@pytest.mark.parametrize(
    ("said", "complete", "failed"),
    [
        ("Failed", False, True),
        ("FailureTarget", False, True),
        ("Complete", True, False),
        ("SuccessCriteriaMet", True, False),
        ("Suspended", False, False),
    ],
)
def test_a_child_job_has_ended_once_no_pod_of_it_will_start(
    said: str, complete: bool, failed: bool
) -> None:
    unused: Any = None
    document = {
        "metadata": {"name": "job", "labels": {}},
        "spec": {},
        "status": {
            "conditions": [{"type": said, "status": "True"}, {"type": "Failed", "status": "False"}]
        },
    }
    child = asyncio.run(_child(unused, document, None))
    assert (child.complete, child.failed) == (complete, failed)


@pytest.mark.parametrize(
    ("phase", "chosen"),
    [
        (Phase.PENDING, "big"),
        (Phase.INDEXING, "small"),
        (Phase.RUNNING, "small"),
        (Phase.RECOVERING, "big"),
    ],
)
def test_an_attempt_keeps_the_cache_folder_that_it_began_with(phase: Phase, chosen: str) -> None:
    class Both:
        async def of(self, _namespace: str) -> list[Any]:
            return [
                {
                    "apiVersion": "fpj.dev/v1alpha1",
                    "kind": "CacheFolder",
                    "metadata": {"name": name, "namespace": "team", "uid": name},
                    "spec": {
                        "priority": priority,
                        "storage": {"persistentVolumeClaim": {"claimName": name}},
                    },
                }
                for name, priority in (("big", 9), ("small", 1))
            ]

    folders: Any = Both()
    attempt = Attempt(1, cache_folder="small")
    job = _understood().model_copy(
        update={"spec": _understood().spec.model_copy(update={"cache_folder": None})}
    )
    folder, problem = asyncio.run(_folder(folders, "team", job, attempt, phase))
    assert problem is None and folder is not None and folder.metadata.name == chosen


@pytest.mark.parametrize(("ends_in", "left"), [(None, True), (20, True), (-5, True), (-60, False)])
def test_pods_that_end_are_waited_for_but_not_those_of_a_lost_node(
    ends_in: float | None, left: bool
) -> None:
    metadata = {} if ends_in is None else {"deletionTimestamp": moment(time.time() + ends_in)}

    class OnePod:
        async def page(self, *_: Any, **__: Any) -> Any:
            return {"items": [{"metadata": metadata}]}

    server: Any = OnePod()
    assert asyncio.run(pods_left(server, "team", "uid-1")) is left


@pytest.mark.parametrize(
    ("uid", "ends_in", "name"),
    [("uid-1", None, ""), ("uid-2", None, "before"), ("uid-2", 20, "before"), ("uid-2", -60, "")],
)
def test_pods_of_another_job_on_the_collection_are_named(
    uid: str, ends_in: float | None, name: str
) -> None:
    asked: dict[str, str] = {}
    metadata = {} if ends_in is None else {"deletionTimestamp": moment(time.time() + ends_in)}
    labels = {"fpj.dev/job-uid": uid, "fpj.dev/job": "before"}

    class OnePod:
        async def page(self, *_: Any, **given: Any) -> Any:
            asked.update(given)
            return {"items": [{"metadata": metadata | {"labels": labels}}]}

    server: Any = OnePod()
    world = World()
    world.add()
    observed = replace(world.observe("photos"), uid="uid-1")
    assert asyncio.run(others_left(server, observed)) == name
    assert asked["labels"] == f"fpj.dev/lock={lease_name(collection_of(observed))}"
    assert asked["fields"] == "status.phase=Running"
