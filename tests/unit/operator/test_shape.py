"""Which edits need another attempt."""

from __future__ import annotations

from typing import Any

import pytest
from unit.v1alpha1.documents import full_job, put

from fpj_core.manifest import parse_resource
from fpj_core.v1alpha1 import FileProcessingJob, FileProcessingJobSpec
from fpj_operator.jobs.shape import ACT_AT_ONCE, SHARDING_LATER, begun_by, fits, spec_digest
from fpj_operator.jobs.state import Attempt

NEED_ANOTHER = {
    "jobType": "Cache", "collection.id": "other", "cache.tiers[0].maxWidth": 777,
    "cache.tiers[0].name": "other",
    "thumbnail.fit": "Cover", "cacheFolder": "other", "sharding.workersPerPod": 7,
    "limits.maxPixels": 7,
    "limits.maxAttemptsPerImage": 7, "skipCheck": "Record", "force": True, "queueName": "other",
    "workerTemplate.nodeSelector": {"a": "b"}, "collection.include": ["*.jpg"],
    "collection.exclude": ["old/"],
}  # fmt: skip
ACT = {
    "deletionPolicy": "Delete",
    "suspend": True, "priority": 77, "recovery.maxAttempts": 7, "activeDeadlineSeconds": 77,
    "preRunningDeadlineSeconds": 77, "ttlSecondsAfterFinished": 77, "maxFailedImages": 77,
}  # fmt: skip
LATER = {
    "sharding.parallelism": 7, "sharding.shardSize": 77, "sharding.batchSize": 7,
    "sharding.backoffLimitPerShard": 7,
    "sharding.maxFailedShards": 7,
}  # fmt: skip


def spec_of(document: dict[str, Any]) -> FileProcessingJobSpec:
    found = parse_resource(document)
    assert isinstance(found, FileProcessingJob)
    return found.spec


def edited(path: str, value: Any) -> FileProcessingJobSpec:
    document = put(full_job(), "spec.force", False)
    document = put(document, "spec.skipCheck", "RecordAndFile")
    if value == "Cache":
        document = put(document, "spec.thumbnail", ...)
    return spec_of(put(document, f"spec.{path}", value))


BEFORE = edited("suspend", False)


@pytest.mark.parametrize("path", NEED_ANOTHER)
def test_what_is_made_or_how_needs_another_attempt(path: str) -> None:
    attempt = begun_by(Attempt(cache_folder=BEFORE.cache_folder or "cache"), BEFORE)
    assert fits(attempt, BEFORE)
    assert not fits(attempt, edited(path, NEED_ANOTHER[path]))


@pytest.mark.parametrize(("path", "value"), [*ACT.items(), *LATER.items()])
def test_what_acts_without_new_pods_needs_none(path: str, value: Any) -> None:
    if path.partition(".")[0] not in {
        field.alias for field in FileProcessingJobSpec.model_fields.values()
    }:
        pytest.skip("not a field yet")
    attempt = begun_by(Attempt(cache_folder=BEFORE.cache_folder or "cache"), BEFORE)
    assert fits(attempt, edited(path, value))


def test_every_field_of_a_spec_is_one_or_the_other() -> None:
    """A new one needs another attempt unless `ACT_AT_ONCE` names it.

    Decide, and add it to a table above.
    """
    fields = {field.alias for field in FileProcessingJobSpec.model_fields.values()}
    top = {path.partition(".")[0] for path in (*NEED_ANOTHER, *ACT)}
    assert fields <= top
    names = {
        name
        for name, field in FileProcessingJobSpec.model_fields.items()
        if field.alias in ACT or name in ACT
    }
    assert names - {"recovery"} <= ACT_AT_ONCE
    assert len(SHARDING_LATER) == len(LATER)


def test_the_folder_that_was_chosen_may_be_written_down() -> None:
    free = edited("cacheFolder", ...)
    attempt = begun_by(Attempt(cache_folder="chosen"), free)
    assert fits(attempt, free) and fits(attempt, edited("cacheFolder", "chosen"))
    assert not fits(attempt, edited("cacheFolder", "other"))


def test_digests_are_short_and_the_same_every_time() -> None:
    assert len(spec_digest(BEFORE, "a")) == 32
    assert spec_digest(BEFORE, "a") != spec_digest(BEFORE, "b")
