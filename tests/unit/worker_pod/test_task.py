"""What a pod reads from its environment."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from unit.worker_pod.conftest import COLLECTION, UID, folder_manifest, job_manifest

from fpj_core.errors import ManifestError
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.model import Folder, Layout
from fpj_core.objects import Bucket
from fpj_core.sources.local import LocalSourceConfig
from fpj_core.sources.s3 import S3SourceConfig
from fpj_worker.pod.task import Task, read_task

S3 = {"bucket": "photos", "prefix": "/a/b/", "endpoint": "https://s3.example", "region": "eu-1"}


def environment(task: dict[str, Any] | None = None, **changes: str) -> dict[str, str]:
    document = {
        "job": job_manifest(),
        "folder": folder_manifest(),
        "collection": COLLECTION,
        "attempt": 1,
        "fence": 3,
        "report": True,
    }
    return {"FPJ_TASK": json.dumps(document | (task or {}))} | changes


def test_what_the_operator_says() -> None:
    task = read_task(environment({"shards": "5-9"}, JOB_COMPLETION_INDEX="2", POD_NAME="pod-x"))
    assert (task.job_id, task.namespace, task.collection, task.attempt, task.fence) == (
        UID,
        "team",
        COLLECTION,
        1,
        3,
    )
    assert (task.shard_index, task.report, task.pod) == (7, True, "pod-x")
    assert (task.suspect_after, task.heartbeat_interval, task.grace) == (15.0, 3.0, 25.0)
    assert task.heartbeat_interval + 10 + 1 < task.suspect_after, (
        "10 s without a processor are forgiven"
    )


def test_claims_are_where_they_are_mounted() -> None:
    task = read_task(environment())
    assert task.source == LocalSourceConfig("/source/album")
    assert task.folder == LocalFolderConfig("/cache/derived")
    assert task.folder_record == Folder("team.main", "pvc://team/cache/derived")
    moved = read_task(environment(FPJ_SOURCE_ROOT="/tmp/s", FPJ_CACHE_ROOT="/tmp/c"))
    assert (moved.source, moved.folder) == (
        LocalSourceConfig("/tmp/s/album"),
        LocalFolderConfig("/tmp/c/derived"),
    )
    assert moved.folder_record == task.folder_record, "what is recorded does not depend on the pod"


def test_each_bucket_has_its_own_credentials() -> None:
    given = {
        "job": job_manifest(collection={"source": {"s3": S3}}),
        "folder": folder_manifest(s3=S3),
    }
    keys = {
        "FPJ_SOURCE_AWS_ACCESS_KEY_ID": "s",
        "FPJ_SOURCE_AWS_SECRET_ACCESS_KEY": "ss",
        "FPJ_FOLDER_AWS_ACCESS_KEY_ID": "f",
        "FPJ_FOLDER_AWS_SECRET_ACCESS_KEY": "fs",
    }
    task = read_task(environment(given, **keys))
    assert task.source == S3SourceConfig(
        Bucket("photos", "a/b", "https://s3.example", "eu-1", "s", "ss")
    )
    assert task.folder == S3FolderConfig(
        Bucket("photos", "a/b", "https://s3.example", "eu-1", "f", "fs")
    )
    assert task.folder_record.location == "s3://photos/a/b"
    assert "ss" not in repr(task.source)
    assert read_task(environment(given)).source == S3SourceConfig(
        Bucket("photos", "a/b", "https://s3.example", "eu-1")
    )


def test_the_folder_is_recorded_with_its_bounds() -> None:
    folder = folder_manifest(s3={"bucket": "out"})
    folder["spec"] |= {"priority": 7, "maxBytes": "2Ki"}
    assert read_task(environment({"folder": folder})).folder_record == Folder(
        "team.main", "s3://out", 7, 2048
    )
    folder["spec"]["layout"] = "Mirror"
    record = read_task(environment({"folder": folder})).folder_record
    assert (record.layout, record.mirrored) == (Layout.MIRROR, "team.photos")


def index_of(shards: str, completion: int) -> int:
    return read_task(
        environment({"shards": shards}, JOB_COMPLETION_INDEX=str(completion))
    ).shard_index


def test_completion_indexes_count_through_the_ranges() -> None:
    assert [index_of("0-2,5,110-112", n) for n in range(7)] == [0, 1, 2, 5, 110, 111, 112]
    assert index_of("1000-1999", 999) == 1999


@pytest.mark.parametrize(("shards", "completion"), [("0-2", 3), ("", 0), ("7", 1)])
def test_a_completion_index_without_a_shard(shards: str, completion: int) -> None:
    with pytest.raises(ManifestError, match="no shard for completion index"):
        index_of(shards, completion)


@pytest.mark.parametrize(
    ("task", "named"),
    [
        ({"attempt": 0}, "attempt"),
        ({"attempt": "1"}, "attempt"),
        ({"fence": -1}, "fence"),
        ({"shards": "1-"}, "shards"),
        ({"shards": "a"}, "shards"),
        ({"collection": ""}, "collection"),
        ({"colour": "red"}, "colour"),
        ({"job": folder_manifest()}, "not a FileProcessingJob"),
        ({"folder": job_manifest()}, "not a CacheFolder"),
        ({"job": {}}, "kind"),
        ({"folder": folder_manifest(local={"path": "/x"})}, "only for `fpj run`"),
    ],
)
def test_what_makes_no_sense_is_named(task: dict[str, Any], named: str) -> None:
    with pytest.raises(ManifestError, match=named):
        read_task(environment(task))


def test_a_job_without_a_uid() -> None:
    job = job_manifest()
    del job["metadata"]["uid"]
    with pytest.raises(ManifestError, match="uid"):
        read_task(environment({"job": job}))


def test_no_task_at_all() -> None:
    with pytest.raises(ManifestError, match="FPJ_TASK"):
        read_task({})


def test_the_grace_period_may_be_short() -> None:
    assert read_task(environment(FPJ_GRACE_SECONDS="3")).grace == 0.0


def test_the_log_says_which_job() -> None:
    task: Task = read_task(environment({"shards": "5-9"}, JOB_COMPLETION_INDEX="2"))
    said = {"namespace": "team", "job": "job", "uid": UID, "attempt": 1}
    assert (task.about, replace(task, shards=()).about) == (said | {"shard": 7}, said)
