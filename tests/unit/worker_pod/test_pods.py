"""A job from its record to its end through pods, and every way in which one of them can end."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from unit.mounts import read_only
from unit.worker_pod.conftest import (
    BOUND,
    COLLECTION,
    UID,
    Cluster,
    Pod,
    folder_manifest,
    job_manifest,
    photo,
    slow,
)

from fpj_core.jobs import change_job
from fpj_core.manifest import parse_resource
from fpj_core.model import Counts, Layout, Phase, ShardState
from fpj_core.store import open_store
from fpj_core.v1alpha1 import FileProcessingJob
from fpj_worker.local import LocalRun
from fpj_worker.localjob import local_job
from fpj_worker.places import place_for_path
from fpj_worker.pod.index import run_index
from fpj_worker.pod.task import read_task
from fpj_worker.stopping import Stop

SUSPECT = {"FPJ_SUSPECT_SECONDS": "3"}


def code_of(pod: Pod) -> int:
    return pod.wait()


def reason_of(pod: Pod, code: int) -> str:
    assert pod.wait() == code, pod.stderr
    message = pod.message
    assert set(message) == {"reason", "message"}
    assert message["message"]
    return message["reason"]


# The usual way ------------------------------------------------------------------------------------


class _NoObserver:
    def stage(self, name: str) -> None: ...
    def listed(self, images: int) -> None: ...
    def progress(self, *_arguments: object) -> None: ...
    def waiting(self, why: str, left: float) -> None: ...


def test_pods_come_to_the_same_as_a_run_on_one_machine(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_photos(25)
    (cluster.album / "broken.jpg").write_bytes(photo(1)[:900])
    cluster.record()
    index = cluster.run("index")
    planned = cluster.job
    assert (planned.total, planned.base, planned.planned_attempt, planned.planning_attempt) == (
        26,
        Counts(),
        1,
        1,
    )
    assert planned.phase is Phase.PENDING, "the phase is the operator's"
    assert planned.running_since == planned.last_progress_at is not None
    assert list(planned.stages) == ["Index", "Check", "Plan"]
    assert sorted(planned.stages.values()) == list(planned.stages.values())
    assert [(shard.start, shard.stop, shard.state) for shard in cluster.shards] == [
        (0, 10, ShardState.PENDING),
        (10, 20, ShardState.PENDING),
        (20, 26, ShardState.PENDING),
    ]
    shards = [cluster.start("shard", number) for number in range(3)]
    assert [pod.wait() for pod in shards] == [0, 0, 0], [pod.stderr for pod in shards]
    assert set(cluster.states) == {ShardState.SUCCEEDED}
    through_pods, counts = cluster.files(), cluster.counts

    manifest = job_manifest()
    manifest["spec"]["collection"] = {
        "id": COLLECTION,
        "source": {"local": {"path": str(cluster.album)}},
    }
    resource = parse_resource(manifest)
    assert isinstance(resource, FileProcessingJob)
    out = tmp_path / "local"
    local = Cluster(tmp_path / "alone")
    local.root.mkdir()
    with local.opened() as store:
        run = LocalRun(store, local_job(resource, place_for_path(out), workers=2), _NoObserver())
        run.run()
        alone = run.progress()[1]
    files = {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.jpg"))}
    assert len(files) == 50
    assert through_pods == files
    assert replace(counts, processing_ms=0) == replace(alone, processing_ms=0)
    assert (counts.completed, counts.failed, counts.errors) == (25, 1, {"CorruptImage": 1})
    assert [event["message"] for event in index.events] == [
        "indexed",
        "stage started",
        "stage started",
        "planned",
    ]
    (done,) = [event for event in shards[0].events if event["message"] == "shard done"]
    assert (done["uid"], done["shard"], done["completed"]) == (UID, 0, 10)
    for pod in (index, *shards):
        for event in pod.events:
            assert (event["namespace"], event["job"], event["uid"], event["attempt"]) == (
                "team",
                "job",
                UID,
                1,
            ), event
    assert [{event.get("shard") for event in pod.events} for pod in shards] == [{0}, {1}, {2}]
    (failed,) = [
        event for pod in shards for event in pod.events if event["message"] == "image failed"
    ]
    assert (failed["key"], failed["error_type"], failed["level"]) == (
        ("broken.jpg", "CorruptImage", "warning")
    )
    assert failed["image"] and failed["said"]


def test_pods_of_a_mirrored_folder_name_files_alike_whichever_runs_first(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Confined to the tiers that they write."""
    for number, name in enumerate(("a.jpg", "A.jpg", "b/x.jpg", "a.jpeg", "B/X.jpg", "c.jpg")):
        (cluster.album / name).parent.mkdir(parents=True, exist_ok=True)
        (cluster.album / name).write_bytes(photo(number))
    folder = folder_manifest()
    folder["spec"]["layout"] = "Mirror"
    cluster.spec = {"sharding": {"shardSize": 2, "batchSize": 3, "workersPerPod": 2}}
    cluster.record()
    task = {"FPJ_TASK": cluster.task(folder=folder)}
    cluster.run("index", **task)
    for number in (2, 0, 1):
        cluster.run("shard", number, **task)
    out = tmp_path / "local"
    manifest = job_manifest(**cluster.spec)
    manifest["spec"]["collection"] = {
        "id": COLLECTION,
        "source": {"local": {"path": str(cluster.album)}},
    }
    resource = parse_resource(manifest)
    assert isinstance(resource, FileProcessingJob)
    with closing(open_store(str(tmp_path / "alone.db"))) as store:
        place = place_for_path(out, layout=Layout.MIRROR)
        LocalRun(store, local_job(resource, place, workers=2), _NoObserver()).run()
    files = {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.jpg"))}
    assert len(files) == 12
    assert cluster.files() == files


def test_a_second_attempt_does_only_what_is_left(cluster: Cluster) -> None:
    """And an attempt that is planned is not planned again, whoever starts its pod once more."""
    cluster.add_photos(12)
    (cluster.album / "010.jpg").write_bytes(photo(10)[:900])
    cluster.prepare()
    for number in range(2):
        cluster.run("shard", number)
    assert (cluster.counts.completed, cluster.counts.failed) == (11, 1)
    before = cluster.shards
    again = cluster.run("index")
    assert again.events[-1]["message"] == "planned before"
    assert cluster.shards == before
    (cluster.album / "010.jpg").write_bytes(photo(10))
    cluster.attempt = 2
    cluster.plan()
    job = cluster.job
    assert (job.planned_attempt, job.base.completed, job.base.skipped, job.total) == (2, 11, 0, 12)
    assert [(shard.start, shard.stop) for shard in cluster.shards] == [(10, 11)]
    cluster.run("shard")
    assert (cluster.counts.completed, cluster.counts.skipped, cluster.counts.failed) == (12, 0, 0)


def test_force_makes_all_again_but_once(cluster: Cluster) -> None:
    cluster.prepare(12)
    for number in range(2):
        cluster.run("shard", number)
    made = cluster.files()
    forced = job_manifest(force=True)
    forced["metadata"]["uid"] = "another"
    first, second = (
        cluster.environment(FPJ_TASK=cluster.task(job=forced, attempt=n)) for n in (1, 2)
    )
    with cluster.opened() as store:
        store.create_job(
            replace(cluster.job, id="another", version=0, planned_attempt=0, planning_attempt=0)
        )
        run_index(read_task(first), store, Stop())
        assert [(s.start, s.stop) for s in store.shards("another", 1)] == [
            (0, 10),
            (10, 12),
        ], "all of it again"
        assert cluster.start("shard", 0, FPJ_TASK=first["FPJ_TASK"]).wait() == 0
        run_index(read_task(second), store, Stop())
        assert [(s.start, s.stop) for s in store.shards("another", 2)] == [(10, 12)], (
            "but what it made itself stays"
        )
        job = store.get_job("another")
    assert job
    assert job.base.completed == 10
    assert cluster.files() == made


def test_a_lost_file_is_made_again(cluster: Cluster) -> None:
    cluster.prepare(3)
    cluster.run("shard")
    made = cluster.files()
    (cluster.derived / next(iter(made))).unlink()
    cluster.attempt = 2
    cluster.plan()
    assert len(cluster.shards) == 1
    cluster.run("shard")
    assert cluster.files() == made


def test_an_empty_collection_needs_no_shard(cluster: Cluster) -> None:
    cluster.album.mkdir()
    cluster.prepare()
    assert (cluster.job.total, cluster.shards, cluster.job.planned_attempt) == (0, [], 1)


def test_the_completion_index_says_which_shard(cluster: Cluster) -> None:
    cluster.prepare(25)
    cluster.run("shard", 1, FPJ_TASK=cluster.task(shards="0,2"))
    assert cluster.states == [ShardState.PENDING, ShardState.PENDING, ShardState.SUCCEEDED]


def test_a_shard_that_is_done_is_left_alone(cluster: Cluster) -> None:
    cluster.prepare(3)
    cluster.run("shard")
    done = cluster.shards
    again = cluster.run("shard")
    assert again.events[-1]["message"] == "shard done before"
    assert cluster.shards == done


# What cannot heal ---------------------------------------------------------------------------------


def test_a_source_that_does_not_exist(cluster: Cluster) -> None:
    cluster.record()
    assert reason_of(cluster.start("index"), 40) == "SourceNotFound"


def test_a_source_that_is_a_cache_folder(cluster: Cluster) -> None:
    cluster.add_photos(1)
    (cluster.album / "CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55")
    cluster.record()
    assert reason_of(cluster.start("index"), 40) == "SourceUnreadable"


def test_another_source_of_the_same_collection(cluster: Cluster) -> None:
    cluster.prepare(2)
    files, cluster.attempt = cluster.files(), 2
    other = {"persistentVolumeClaim": {"claimName": "others", "path": "album"}}
    cluster.spec["collection"] = {"id": "photos", "source": other}
    pod = cluster.start("index")
    assert reason_of(pod, 40) == "SourceChanged"
    assert (
        "claim team/originals, folder /album, not of claim team/others, folder /album"
        in pod.message["message"]
    )
    assert cluster.files() == files
    cluster.spec["collection"]["acceptSource"] = True
    cluster.plan()
    assert cluster.job.planned_attempt == 2


def test_a_cache_folder_that_cannot_be_written(cluster: Cluster) -> None:
    cluster.add_photos(1)
    cluster.record()
    (cluster.root / "cache" / "derived").write_text("a file in its place")
    assert reason_of(cluster.start("index"), 40) == "CacheFolderUnusable"


@pytest.mark.parametrize(
    "task",
    [
        "",
        "{",
        "[]",
        json.dumps({"job": {}}),
        json.dumps({"job": job_manifest(jobType="Nothing"), "folder": folder_manifest()}),
    ],
)
def test_a_task_that_makes_no_sense(cluster: Cluster, task: str) -> None:
    cluster.record()
    assert reason_of(cluster.start("index", FPJ_TASK=task), 40) == "InvalidManifest"


def test_a_source_on_the_machine_itself_is_refused(cluster: Cluster) -> None:
    manifest = job_manifest(collection={"source": {"local": {"path": "/etc"}}})
    pod = cluster.start("index", FPJ_TASK=cluster.task(job=manifest))
    assert reason_of(pod, 40) == "InvalidManifest"
    assert "persistentVolumeClaim" in pod.message["message"]


def test_a_bucket_that_refuses(cluster: Cluster, denying_bucket: str) -> None:
    source = {"s3": {"bucket": "photos", "endpoint": denying_bucket}}
    cluster.spec = {"collection": {"id": "photos", "source": source}}
    cluster.record()
    keys = {"FPJ_SOURCE_AWS_ACCESS_KEY_ID": "who", "FPJ_SOURCE_AWS_SECRET_ACCESS_KEY": "secret"}
    pod = cluster.start("index", **keys)
    assert reason_of(pod, 40) == "SourceUnreadable"
    assert "credentials" in pod.message["message"]
    assert "secret" not in pod.stderr


# What may heal ------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_reached(cluster: Cluster) -> None:
    Path(cluster.root, "file").write_text("")
    pod = cluster.start("index", FPJ_STORE=str(cluster.root / "file" / "store.db"))
    assert reason_of(pod, 1) == "StoreUnavailable"


@pytest.mark.parametrize("command", ["index", "shard"])
def test_a_job_that_is_not_recorded_yet(cluster: Cluster, command: str) -> None:
    assert reason_of(cluster.start(command), 1) == "StoreRefused"


def test_a_shard_of_an_attempt_that_is_not_planned_yet(cluster: Cluster) -> None:
    cluster.prepare(1)
    cluster.attempt = 2
    assert reason_of(cluster.start("shard"), 1) == "StoreRefused"
    assert cluster.states == [ShardState.PENDING]


def test_workers_that_cannot_start(cluster: Cluster, tmp_path: Path) -> None:
    cluster.prepare(2)
    broken = tmp_path / "broken" / "fpj_worker_broken"
    broken.mkdir(parents=True)
    text = (
        "import sys\nif any('forkserver' in a for a in sys.orig_argv):\n    import fpj_worker.tasks"
        " as t\n"
    )
    text += (
        "    def fail(self):\n        raise RuntimeError('no decoder')\n    t.ImageHandler.__call__"
        " = fail\n"
    )
    (broken.parent / "sitecustomize.py").write_text(text)
    pod = cluster.start("shard", PYTHONPATH=str(broken.parent))
    assert reason_of(pod, 1) == "WorkersFailed"
    assert cluster.states == [ShardState.PENDING], "it is handed back"


def test_what_nobody_foresaw(cluster: Cluster, tmp_path: Path) -> None:
    cluster.prepare(1)
    (tmp_path / "sitecustomize.py").write_text(
        "import fpj_core.store.sqlite as s\ndef fail(self, job, attempt, index):\n    raise"
        " KeyError('a bug')\ns.SQLiteStore.shard = fail\ndef none(*a, **k):\n    return"
        " None\ns.SQLiteStore.claim_shard = none\n"
    )
    pod = cluster.start("shard", PYTHONPATH=str(tmp_path))
    assert reason_of(pod, 1) == "Internal"
    assert "KeyError" in pod.events[-1]["error"], "the log has the traceback"


def test_a_termination_log_that_cannot_be_written_changes_no_exit_code(cluster: Cluster) -> None:
    cluster.record()
    pod = cluster.start("index", FPJ_TERMINATION_LOG="/nowhere/log")
    assert pod.wait() == 40
    assert len(pod.events) == 2


def test_a_command_that_does_not_exist(cluster: Cluster) -> None:
    assert cluster.start("dance").wait() == 2


# The environment ----------------------------------------------------------------------------------


def test_a_recovery_takes_an_empty_source_for_one_that_is_not_mounted(cluster: Cluster) -> None:
    """It may be mounted again. Whoever restarts the job gets the error at once instead."""
    cluster.prepare(3)
    away = cluster.album.with_name("away")
    cluster.album.rename(away)
    cluster.attempt = 2
    assert reason_of(cluster.start("index"), 42) == "EnvironmentFault"
    cluster.album.mkdir()
    pod = cluster.start("index")
    assert reason_of(pod, 42) == "EnvironmentFault"
    assert "acceptVanished" in pod.message["message"], "for whoever did delete them"
    assert cluster.job.planned_attempt == 1
    with cluster.opened() as store:
        assert store.count_images(COLLECTION) == 3, "nothing is marked deleted"
        change_job(store, UID, lambda job: replace(job, begun_attempt=2))
    assert reason_of(cluster.start("index"), 40) == "SourceShrank"
    cluster.album.rmdir()
    away.rename(cluster.album)
    cluster.run("index")
    assert cluster.job.planned_attempt == 2


def test_a_recovery_waits_for_a_cache_folder_without_its_marker(cluster: Cluster) -> None:
    cluster.prepare(3)
    cluster.run("shard")
    away = cluster.derived.with_name("away")
    cluster.derived.rename(away)
    cluster.derived.mkdir()
    cluster.attempt = 2
    assert reason_of(cluster.start("index"), 42) == "EnvironmentFault"
    assert not list(cluster.derived.iterdir())


def test_a_pod_that_tries_again_shows_no_progress(cluster: Cluster) -> None:
    """Else an index that fails again and again would never be taken for stuck."""
    cluster.prepare(1)
    cluster.attempt = 2
    away = cluster.album.with_name("away")
    cluster.album.rename(away)
    cluster.start("index").wait()
    first = cluster.job.last_progress_at
    cluster.start("index").wait()
    assert cluster.job.last_progress_at == first


def test_a_source_that_does_not_answer_costs_a_first_index_no_try(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.add_photos(2)
    cluster.record()
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, os\ndef stale(*a, **k):\n    raise OSError(errno.ESTALE, 'Stale file"
        " handle')\nimport fpj_core.sources.local as s\ns.os.scandir = stale\n"
    )
    pod = cluster.start("index", PYTHONPATH=str(tmp_path))
    assert reason_of(pod, 42) == "EnvironmentFault"


@pytest.mark.parametrize("exists", [True, False])
def test_a_first_index_waits_for_a_cache_folder_that_is_read_only(
    cluster: Cluster, exists: bool
) -> None:
    """A server may be failing over, and nobody is there who could be informed."""
    cluster.add_photos(2)
    cluster.record()
    (cluster.derived if exists else cluster.derived.parent).mkdir(parents=True, exist_ok=True)
    with read_only(cluster.derived.parent) as mounted:
        pod = cluster.start("index", FPJ_CACHE_ROOT=str(mounted))
        assert reason_of(pod, 42) == "EnvironmentFault"
        assert "cannot be written: Read-only file system" in pod.message["message"]
    cluster.run("index")
    assert cluster.job.planned_attempt == 1


@pytest.mark.parametrize("mountpoint", [True, False])
def test_a_shard_never_writes_into_a_cache_folder_that_is_not_mounted(
    cluster: Cluster, mountpoint: bool
) -> None:
    cluster.prepare(3)
    before = cluster.shards
    cluster.derived.rename(cluster.derived.with_name("away"))
    if mountpoint:
        cluster.derived.mkdir()
    pod = cluster.start("shard")
    assert reason_of(pod, 42) == "EnvironmentFault"
    assert not cluster.derived.exists() or not list(cluster.derived.iterdir())
    assert cluster.shards == before, "it was not even claimed"


# Fencing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["index", "shard"])
def test_pods_of_a_replaced_attempt_are_fenced(cluster: Cluster, command: str) -> None:
    cluster.prepare(3)
    cluster.attempt = 2
    cluster.plan()
    before = cluster.shards
    cluster.attempt = 1
    assert reason_of(cluster.start(command), 41) == "Fenced"
    assert cluster.shards == before


def test_an_attempt_is_fenced_as_soon_as_the_next_begins_to_plan(cluster: Cluster) -> None:
    cluster.prepare(3)
    with cluster.opened() as store:
        store.update_job(replace(cluster.job, planning_attempt=2))
    assert reason_of(cluster.start("shard"), 41) == "Fenced"
    assert cluster.states == [ShardState.PENDING]


def test_a_shard_that_is_no_more(cluster: Cluster) -> None:
    cluster.prepare(3)
    assert reason_of(cluster.start("shard", 7), 41) == "Fenced"


@pytest.mark.parametrize(
    "phase", [Phase.SUSPENDED, Phase.RECOVERING, Phase.FAILED, Phase.CANCELLED]
)
def test_a_worker_at_work_stops_when_the_attempt_ends(cluster: Cluster, phase: Phase) -> None:
    """As the operator ends it: first the record, then the shards."""
    cluster.prepare(40, sharding={"shardSize": 100, "batchSize": 3, "workersPerPod": 2})
    pod = cluster.start("shard", **slow(0.2))
    cluster.wait_until(lambda c: c.shards[0].cursor >= 3, "the first results")
    with cluster.opened() as store:
        change_job(store, UID, lambda job: replace(job, phase=phase))
        store.release_shards(UID, 1)
        stopped = store.shards(UID, 1)
    assert reason_of(pod, 41) == "Fenced"
    known = [(each.cursor, each.counts, each.state) for each in cluster.shards]
    assert known == [(each.cursor, each.counts, each.state) for each in stopped]


def test_a_worker_at_work_stops_when_the_next_attempt_is_planned(cluster: Cluster) -> None:
    cluster.prepare(40, sharding={"shardSize": 100, "batchSize": 3, "workersPerPod": 2})
    pod = cluster.start("shard", **slow(0.2))
    cluster.wait_until(lambda c: c.shards[0].cursor >= 3, "the first results")
    cluster.attempt = 2
    cluster.plan()
    planned = cluster.shards
    assert reason_of(pod, 41) == "Fenced"
    assert cluster.shards == planned


# The environment ----------------------------------------------------------------------------------


def test_a_source_that_moves_away_costs_no_image(cluster: Cluster) -> None:
    cluster.prepare(40, sharding={"shardSize": 100, "batchSize": 3, "workersPerPod": 2})
    pod = cluster.start("shard", **slow(0.05))
    cluster.wait_until(lambda c: c.shards[0].cursor >= 3, "the first results")
    cluster.album.rename(cluster.root / "away")
    assert reason_of(pod, 42) == "EnvironmentFault"
    assert cluster.states == [ShardState.PENDING]
    assert 3 <= cluster.counts.completed < 40 and cluster.counts.failed == 0
    cluster.attempt = 2
    assert reason_of(cluster.start("index"), 42) == "EnvironmentFault", (
        "it was there once, and may come back"
    )
    (cluster.root / "away").rename(cluster.album)
    cluster.run("index")
    cluster.run("shard")
    assert (cluster.counts.failed, cluster.counts.done) == (0, 40)
    assert len(cluster.files()) == 80


# SIGTERM ------------------------------------------------------------------------------------------


def test_sigterm_hands_the_shard_back(cluster: Cluster) -> None:
    cluster.prepare(40, sharding={"shardSize": 100, "batchSize": 3, "workersPerPod": 2})
    pod = cluster.start("shard", **slow(0.2))
    cluster.wait_until(lambda c: c.shards[0].cursor >= 3, "the first results")
    pod.signal(signal.SIGTERM)
    assert pod.wait() == 143, pod.stderr
    assert not pod.termination_log.exists(), "nothing went wrong"
    (shard,) = cluster.shards
    assert shard.state is ShardState.PENDING
    assert 3 <= shard.counts.completed < 40
    with cluster.opened() as store:
        recorded = {d.path for d in store.derivatives(COLLECTION, 0, 99, ["full", "thumbnail"])}
    assert recorded <= set(cluster.files()), "what is recorded is there"
    assert len(recorded) >= 2 * shard.counts.completed
    cluster.run("shard")
    assert cluster.counts.completed == 40
    assert len(cluster.files()) == 80


def test_sigterm_waits_for_no_image_longer_than_the_grace_period(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.add_photos(3)
    (cluster.album / "hangs.jpg").write_bytes(photo(9))
    cluster.prepare()
    marks = tmp_path / "marks"
    marks.mkdir()
    pod = cluster.start("shard", **slow(0), PYTHON_TEST_MARKS=str(marks), FPJ_GRACE_SECONDS="7")
    cluster.wait_until(lambda _: (marks / "hangs").exists(), "the image that hangs")
    began = time.monotonic()
    pod.signal(signal.SIGTERM)
    assert pod.wait() == 143
    assert time.monotonic() - began < 7
    assert cluster.states == [ShardState.PENDING]


def test_sigterm_ends_the_wait_for_a_holder(cluster: Cluster) -> None:
    cluster.prepare(3)
    with cluster.opened() as store:
        assert store.claim_shard(UID, 1, "someone", time.time() + 600, index=0)
    pod = cluster.start("shard")
    time.sleep(2)
    pod.signal(signal.SIGTERM)
    assert pod.wait() == 143
    assert cluster.shards[0].holder == "someone"


def test_sigterm_while_listing(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_photos(2)
    cluster.record()
    (tmp_path / "sitecustomize.py").write_text(
        "import time\nimport fpj_core.sources.local as l\nlist_all = l.LocalSource.list\ndef"
        " slowly(self, *a):\n    time.sleep(2)\n    yield from list_all(self,"
        " *a)\nl.LocalSource.list = slowly\n"
    )
    pod = cluster.start("index", PYTHONPATH=str(tmp_path))
    cluster.wait_until(lambda c: c.job.planning_attempt == 1, "the index pod")
    pod.signal(signal.SIGTERM)
    assert pod.wait() == 143
    assert cluster.job.planned_attempt == 0
    cluster.run("index")
    assert (cluster.job.planned_attempt, cluster.job.total) == (1, 2)


def test_sigterm_is_heeded_from_the_first_moment(cluster: Cluster) -> None:
    """Also before the libraries are loaded: process 1 of a container would otherwise never hear of
    it.
    """
    cluster.prepare(3)
    for delay in (0.1, 0.3):
        pod = cluster.start("shard", **slow(1))
        time.sleep(delay)
        pod.signal(signal.SIGTERM)
        assert pod.wait() in (143, -signal.SIGTERM), pod.stderr
    assert cluster.states == [ShardState.PENDING]


# Death and rescue ---------------------------------------------------------------------------------


def kill_hard(pod: Pod) -> None:
    """SIGKILL, as when memory runs out or the node goes; its children end by themselves."""
    children = psutil.Process(pod.process.pid).children(recursive=True)
    pod.signal(signal.SIGKILL)
    pod.wait()
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive


def stall(cluster: Cluster, pod: Pod) -> None:
    """SIGSTOP, but not in the middle of a write: the embedded
    store would be locked for everybody.
    """
    for _ in range(100):
        pod.signal(signal.SIGSTOP)
        with closing(sqlite3.connect(cluster.store_path, timeout=1, isolation_level=None)) as store:
            try:
                store.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                pod.signal(signal.SIGCONT)
                time.sleep(0.05)
            else:
                return
    raise AssertionError("it writes without a pause")


def test_a_new_pod_goes_on_where_a_killed_one_stopped(cluster: Cluster) -> None:
    cluster.prepare(40, sharding={"shardSize": 100, "batchSize": 3, "workersPerPod": 2})
    pod = cluster.start("shard", **slow(0.2), **SUSPECT)
    cluster.wait_until(lambda c: c.shards[0].cursor >= 3, "the first results")
    kill_hard(pod)
    reached = cluster.shards[0]
    assert reached.state is ShardState.RUNNING
    # Longer than it takes to start, also on a busy machine.
    new = cluster.run("shard", FPJ_SUSPECT_SECONDS="8")
    assert "waiting for the holder" in {event["message"] for event in new.events}
    assert cluster.counts.completed == 40
    (shard,) = cluster.shards
    assert (shard.state, shard.holder) == (ShardState.SUCCEEDED, new.name)
    assert len(cluster.files()) == 80


def test_a_live_pod_rescues_the_shard_of_a_dead_one(cluster: Cluster) -> None:
    cluster.prepare(20)
    dying = cluster.start("shard", 0, **slow(0.5), **SUSPECT)
    cluster.wait_until(lambda c: c.shards[0].state is ShardState.RUNNING, "the first pod")
    living = cluster.start("shard", 1, **slow(0.3), **SUSPECT)
    cluster.wait_until(lambda c: c.shards[1].state is ShardState.RUNNING, "the second pod")
    kill_hard(dying)
    cluster.wait_until(lambda c: c.shards[0].holder == living.name, "the rescue")
    assert living.wait() == 0, living.stderr
    assert cluster.states == [ShardState.SUCCEEDED] * 2
    assert cluster.counts.completed == 20
    assert len(cluster.files()) == 40
    late = cluster.run("shard", 0, **SUSPECT)
    assert late.events[-1]["message"] == "shard done before"


def test_shards_of_pods_that_are_still_to_start_are_left_to_them(cluster: Cluster) -> None:
    cluster.prepare(20)
    cluster.run("shard", 0, **SUSPECT)
    assert cluster.states == [ShardState.SUCCEEDED, ShardState.PENDING]


def test_a_live_holder_is_waited_for(cluster: Cluster) -> None:
    cluster.prepare(10)
    first = cluster.start("shard", **slow(0.7), **SUSPECT)
    cluster.wait_until(lambda c: c.shards[0].state is ShardState.RUNNING, "the first pod")
    epoch = cluster.shards[0].epoch
    second = cluster.start("shard", **SUSPECT)
    assert first.wait() == 0, first.stderr
    assert second.wait() == 0, second.stderr
    assert cluster.shards[0].epoch == epoch, "nobody took it away"
    assert "waiting for the holder" in {event["message"] for event in second.events}
    assert cluster.counts.completed == 10


def test_trouble_in_a_rescue_fails_no_one_elses_index(cluster: Cluster) -> None:
    """The rescuing pod's own shard is done: it ends well, whatever happens after that."""
    cluster.prepare(20)
    with cluster.opened() as store:
        assert store.claim_shard(UID, 1, "dead", time.time() - 60, index=0)
    pod = cluster.start("shard", 1, **slow(0.3), **SUSPECT)
    cluster.wait_until(lambda c: c.shards[0].holder == pod.name, "the rescue")
    pod.signal(signal.SIGTERM)
    assert pod.wait() == 0, pod.stderr
    assert cluster.states == [ShardState.PENDING, ShardState.SUCCEEDED]


def test_a_pod_whose_shard_was_taken_waits_and_takes_it_again_when_its_rescuer_dies(
    cluster: Cluster,
) -> None:
    """A stalled pod, its rescuer killed: that costs time, never the job."""
    cluster.prepare(20, sharding={"shardSize": 10, "batchSize": 3, "workersPerPod": 2})
    stalled = cluster.start("shard", 0, **slow(0.5), **SUSPECT)
    cluster.wait_until(lambda c: c.shards[0].cursor > 0, "the first pod's first results")
    stall(cluster, stalled)
    rescuer = cluster.start("shard", 1, **slow(0.5), **SUSPECT)
    cluster.wait_until(lambda c: c.shards[0].holder == rescuer.name, "the rescue")
    stalled.signal(signal.SIGCONT)
    kill_hard(rescuer)
    assert stalled.wait() == 0, stalled.stderr
    assert cluster.shards[0].holder == stalled.name
    assert cluster.states == [ShardState.SUCCEEDED] * 2
    assert (cluster.counts.completed, cluster.counts.skipped) == (20, 0)
    # A killed child leaves the file that it was writing; the next attempt sweeps it away.
    assert len([path for path in cluster.files() if "/.tmp/" not in path]) == 40


def test_a_pod_whose_shard_was_taken_ends_well_when_its_rescuer_has_finished_it(
    cluster: Cluster,
) -> None:
    cluster.prepare(20, sharding={"shardSize": 100, "batchSize": 3, "workersPerPod": 2})
    pod = cluster.start("shard", **slow(0.3), **SUSPECT)
    cluster.wait_until(lambda c: c.shards[0].cursor >= 3, "the first results")
    with cluster.opened() as store:
        taken = store.claim_shard(UID, 1, "rescuer", time.time() + 60, index=0)
        assert taken
        store.heartbeat(taken, time.time() + 600)
        time.sleep(4)
        assert pod.process.poll() is None, "it waits"
        store.finish_shard(taken, ShardState.SUCCEEDED, time.time())
    assert pod.wait() == 0, pod.stderr
    assert cluster.shards[0].holder == "rescuer"


@pytest.mark.slow
def test_a_pod_that_gets_no_processor_for_a_while_is_not_taken_for_dead(cluster: Cluster) -> None:
    """Stopped for two thirds of the time after which it would be suspect, as 10 s are of 15."""
    suspect = {"FPJ_SUSPECT_SECONDS": "12"}
    cluster.prepare(12, sharding={"shardSize": 100, "batchSize": 3, "workersPerPod": 2})
    pod = cluster.start("shard", **slow(1), **suspect)
    cluster.wait_until(lambda c: c.shards[0].cursor > 0, "the first results")
    epoch = cluster.shards[0].epoch
    waiting = cluster.start("shard", **suspect)
    pod.signal(signal.SIGSTOP)
    time.sleep(8)
    pod.signal(signal.SIGCONT)
    assert pod.wait() == 0, pod.stderr
    assert waiting.wait() == 0, waiting.stderr
    assert cluster.shards[0].epoch == epoch
    assert cluster.counts.completed == 12


# Signs of progress --------------------------------------------------------------------------------


def test_listing_moves_the_record(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_photos(30)
    cluster.record()
    (tmp_path / "sitecustomize.py").write_text(
        "import time\nimport fpj_worker.indexer as i\nimport fpj_worker.pod.index as p\ni._BATCH ="
        " 1\np._NOTE_SECONDS = 0.2\nimport fpj_core.sources.local as l\nlist_all ="
        " l.LocalSource.list\ndef slowly(self, *a):\n    for e in list_all(self, *a):\n       "
        " time.sleep(0.05)\n        yield e\nl.LocalSource.list = slowly\n"
    )
    pod = cluster.start("index", PYTHONPATH=str(tmp_path))
    seen: set[tuple[str, float | None]] = set()
    deadline = time.monotonic() + BOUND
    while pod.process.poll() is None and time.monotonic() < deadline:
        job = cluster.job
        seen.add((job.stage, job.last_progress_at))
        time.sleep(0.02)
    assert pod.wait() == 0
    assert 4 <= len([stage for stage, _ in seen if stage == "Index"]) <= 14
    assert cluster.job.stage == "Plan"


def test_metrics_are_served_while_the_pod_lives(cluster: Cluster) -> None:
    from urllib.request import urlopen

    from mongodb_server import free_port

    cluster.prepare(30, sharding={"shardSize": 100, "batchSize": 3, "workersPerPod": 2})
    port = free_port()
    pod = cluster.start("shard", **slow(0.2), FPJ_METRICS_PORT=str(port))
    cluster.wait_until(lambda c: c.shards[0].cursor >= 9, "some results")
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert pod.wait() == 0
    values: dict[str, Any] = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")
    )
    assert float(values['fpj_worker_images_total{error_type="",result="completed"}']) >= 9
    assert float(values["fpj_worker_processes"]) == 2
    assert float(values["fpj_worker_pending_images"]) <= 21
    assert float(values['fpj_store_seconds_count{operation="flush"}']) >= 3
    assert float(values['fpj_worker_bytes_total{direction="in"}']) > 0
    assert pod.name not in text and UID not in text, "labels from closed sets"


def test_a_port_that_is_taken_stops_no_image(cluster: Cluster) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        cluster.prepare(1)
        pod = cluster.run("shard", FPJ_METRICS_PORT=str(taken.getsockname()[1]))
    assert "cannot be served" in pod.events[0]["message"]
    assert os.path.exists(cluster.derived)
