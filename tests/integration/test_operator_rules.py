"""What the API server refuses by itself, naming the field: types,
bounds and every CEL rule of all resources.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from podrunner import Api, ApiError
from world import job_manifest, resource

from fpj_cluster import Cluster, Kube
from fpj_core.v1alpha1 import RESOURCES
from fpj_core.v1alpha1.common import ApiModel, model_in

LONG = "a" * 254
PVC = {"persistentVolumeClaim": {"claimName": "photos"}}
S3 = {"s3": {"bucket": "photos"}}

JOBS: list[tuple[str, Any, str]] = [
    ("spec.jobType", "Sideways", "Unsupported value"),
    ("spec.jobType", None, "Required value"),
    ("spec.collection.id", "Upper", "should match"),
    ("spec.collection.id", LONG, "Too long"),
    ("spec.collection.source", {}, "exactly one of persistentVolumeClaim, s3 and local"),
    ("spec.collection.source", PVC | S3, "exactly one of persistentVolumeClaim, s3 and local"),
    ("spec.collection.source.persistentVolumeClaim.claimName", "", "should be at least 1"),
    (
        "spec.collection.source.persistentVolumeClaim",
        {"claimName": "a", "path": "a/../b"},
        "path may not contain '..'",
    ),
    ("spec.collection.source", {"s3": {"bucket": "ab"}}, "bucket.*at least 3"),
    (
        "spec.collection.source",
        {"s3": {"bucket": "abc", "endpoint": "ftp://x"}},
        "endpoint.*should match",
    ),
    ("spec.collection.source", {"local": {}}, r"local\.path.*Required"),
    ("spec.cache", {"tiers": []}, r"tiers.*should have at least 1"),
    ("spec.cache", {"tiers": [{"name": f"t{n}"} for n in range(5)]}, r"tiers.*at most 4"),
    ("spec.cache", {"tiers": [{"name": "a"}, {"name": "a"}]}, r"tiers\[1\].*Duplicate value"),
    ("spec.cache", {"tiers": [{"name": "thumbnail"}]}, r"the name 'thumbnail' is reserved"),
    (
        "spec.cache",
        {"tiers": [{"name": "a", "maxWidth": 15}]},
        r"tiers\[0\]\.maxWidth.*greater than or equal to 16",
    ),
    (
        "spec.cache",
        {"tiers": [{"name": "a", "quality": 101}]},
        r"tiers\[0\]\.quality.*less than or equal to 100",
    ),
    ("spec.cache", {"tiers": [{"name": "a", "format": "gif"}]}, r"tiers\[0\]\.format.*Unsupported"),
    (
        "spec.cache",
        {"tiers": [{"name": "a", "background": "red"}]},
        r"tiers\[0\]\.background.*should match",
    ),
    ("spec.thumbnail", {"width": 4097}, "thumbnail.width.*less than or equal to 4096"),
    ("spec.thumbnail", {"fit": "Stretch"}, "thumbnail.fit.*Unsupported"),
    ("spec.cacheFolder", "-a", "should match"),
    ("spec.sharding.parallelism", 0, "greater than or equal to 1"),
    ("spec.sharding.parallelism", 1001, "less than or equal to 1000"),
    ("spec.sharding.shardSize", 0, "greater than or equal to 1"),
    ("spec.sharding.batchSize", 10001, "less than or equal to 10000"),
    ("spec.sharding.workersPerPod", 65, "less than or equal to 64"),
    ("spec.sharding.backoffLimitPerShard", -1, "greater than or equal to 0"),
    ("spec.sharding.maxFailedShards", -1, "greater than or equal to 0"),
    ("spec.limits", {"maxFileSize": "0Mi"}, "maxFileSize.*should match"),
    ("spec.limits", {"maxFileSize": 0}, "maxFileSize.*greater than or equal to 1"),
    ("spec.limits", {"maxPixels": 0}, "maxPixels.*greater than or equal to 1"),
    (
        "spec.limits",
        {"imageTimeoutSeconds": 3601},
        "imageTimeoutSeconds.*less than or equal to 3600",
    ),
    ("spec.limits", {"maxAttemptsPerImage": 11}, "maxAttemptsPerImage.*less than or equal to 10"),
    ("spec.recovery", {"staleAfterSeconds": 29}, "staleAfterSeconds.*greater than or equal to 30"),
    ("spec.recovery", {"maxAttempts": 101}, "maxAttempts.*less than or equal to 100"),
    ("spec.activeDeadlineSeconds", 0, "greater than or equal to 1"),
    ("spec.preRunningDeadlineSeconds", -1, "greater than or equal to 0"),
    ("spec.ttlSecondsAfterFinished", -1, "greater than or equal to 0"),
    ("spec.maxFailedImages", "101%", "should match"),
    ("spec.maxFailedImages", True, "maxFailedImages"),
    ("spec.suspend", "yes", "boolean"),
    ("spec.priority", 1_000_001, "less than or equal to 1000000"),
    ("spec.skipCheck", "Never", "Unsupported value"),
    ("spec.queueName", "A", "should match"),
    ("spec.workerTemplate", {"env": [{"name": "A"}, {"name": "A"}]}, r"env\[1\].*Duplicate"),
    ("spec.workerTemplate", {"serviceAccountName": "A"}, "serviceAccountName.*should match"),
    ("spec.collection.exclude", ["*.png", "!"], r"exclude\[1\].*should match"),
    ("spec.collection.include", ["# all"], r"include\[0\].*should match"),
    ("spec.colour", "red", "unknown field"),
    # rules of the spec itself, which name the field in their words
    ("spec", {"maxFailedImages": -1}, "maxFailedImages may not be negative"),
    (
        "spec",
        {"jobType": "Thumbnail", "cache": {"tiers": [{"name": "a"}]}},
        "cache has no effect with jobType Thumbnail",
    ),
    ("spec", {"jobType": "Cache", "thumbnail": {}}, "thumbnail has no effect with jobType Cache"),
]
FOLDERS: list[tuple[str, Any, str]] = [
    ("spec.storage", {}, "exactly one of persistentVolumeClaim, s3 and local"),
    ("spec.storage", PVC | S3, "exactly one of persistentVolumeClaim, s3 and local"),
    (
        "spec.storage.persistentVolumeClaim",
        {"claimName": "a", "path": ".."},
        "path may not contain '..'",
    ),
    ("spec.priority", -1_000_001, "greater than or equal to -1000000"),
    ("spec.maxBytes", "1Zi", "should match"),
    ("spec.layout", "Nested", "layout.*Unsupported"),
    ("spec", {"cacheControl": "no-store"}, "cacheControl is only for storage.s3"),
    ("spec.policy", {"ttl": 59}, "ttl.*greater than or equal to 60"),
    ("spec.policy", {"eviction": "FIFO"}, "eviction.*Unsupported"),
    ("spec.policy", {"highWatermark": 101}, "highWatermark.*less than or equal to 100"),
    ("spec.policy", {"highWatermark": 80}, "lowWatermark must be below highWatermark"),
    ("spec.policy", {"lowWatermark": 95}, "lowWatermark must be below highWatermark"),
]
FIELDS = "schedule must have five fields"
ZONE = "timeZone must be a name of the IANA database"
SCHEDULES: list[tuple[str, Any, str]] = [
    ("spec.jobTemplate", None, "Required value"),
    ("spec.concurrencyPolicy", "Perhaps", "Unsupported value"),
    ("spec.startingDeadlineSeconds", 9, "greater than or equal to 10"),
    ("spec.successfulJobsHistoryLimit", -1, "greater than or equal to 0"),
    ("spec.failedJobsHistoryLimit", 101, "less than or equal to 100"),
    ("spec.suspend", "no", "boolean"),
    ("spec.jobTemplate.spec.jobType", None, "Required value"),
    (
        "spec.jobTemplate.spec",
        {"jobType": "Both", "collection": {"source": {"local": {"path": "/a"}}}},
        "fpj run",
    ),
    ("spec.jobTemplate.metadata", {"labels": {"a": "not a label"}}, "should match"),
    ("metadata.name", "a" * 243, "name may have 242 characters at most"),
    *[
        ("spec", {"schedule": schedule}, FIELDS)
        for schedule in (
            *(
                "",
                " ",
                "* * * *",
                "* * * * * *",
                "60 * * * *",
                "* 24 * * *",
                "* * 0 * *",
                "* * 32 * *",
                "* * * 13 *",
            ),
            *(
                "* * * * 8",
                "*/0 * * * *",
                "*/100 * * * *",
                "5/15 * * * *",
                "a * * * *",
                "* * * foo *",
                "@every 5m",
            ),
            *(
                "@reboot",
                "TZ=UTC 0 0 * * *",
                "0 2 * * *\n",
                " 0 2 * * *",
                "0 2 * * * ",
                "0,, 2 * * *",
                "? 2 * * *",
            ),
        )
        if schedule
    ],
    *[
        ("spec", {"timeZone": zone}, ZONE)
        for zone in ("", "Local", "Europe/", "/Berlin", "../etc/passwd", "UTC+1:00")
    ],
]
PURGES: list[tuple[str, Any, str]] = [
    ("spec", {"all": True}, "exactly one of images and all: true must be given"),
    ("spec.images", [], "should have at least 1"),
    ("spec.images", ["a"] * 1_001, "must have at most 1000|Too many"),
    ("spec.cacheFolder", "Upper", "should match"),
    ("spec.collection", None, "Required value"),
    ("spec.ttlSecondsAfterFinished", -1, "greater than or equal to 0"),
]
PURGE = {"cacheFolder": "folder", "collection": "photos", "images": ["a.jpg"]}
CHANGES: list[tuple[str, str, Any, str]] = [
    ("fileprocessingjobs", "spec.jobType", "Both", "jobType is immutable"),
    ("fileprocessingjobs", "spec.collection.id", "other", "collection is immutable"),
    ("fileprocessingjobs", "spec.collection.source", S3, "collection is immutable"),
    ("cachefolders", "spec.storage", S3, "storage is immutable"),
    ("cachefolders", "spec.layout", "Mirror", "layout is immutable"),
    ("cachepurges", "spec.images", ["b.jpg"], "a purge is immutable"),
    ("cachepurges", "spec.cacheFolder", "other", "a purge is immutable"),
    ("cachepurges", "spec.ttlSecondsAfterFinished", 5, "a purge is immutable"),
]


@pytest.fixture(scope="module")
def api(cluster: Cluster, crds: Kube) -> Api:
    return Api(cluster.kubeconfig)


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """With another value at a path; None takes it away, a mapping at `spec` is merged."""
    document = copy.deepcopy(document)
    *steps, last = path.split(".")
    here = document
    for step in steps:
        here = here.setdefault(step, {})
    if path == "spec":
        here[last] |= value
    elif value is None:
        del here[last]
    else:
        here[last] = value
    return document


def refusal(api: Api, method: str, path: str, document: dict[str, Any]) -> str:
    query = "?dryRun=All&fieldValidation=Strict"
    with pytest.raises(ApiError) as refused:
        api.call(method, path + query, document)
    assert refused.value.status in (400, 422), refused.value
    return str(refused.value).replace('\\"', '"')


def test_everything_that_breaks_a_bound_is_refused_with_its_field(api: Api, namespace: str) -> None:
    at = f"/apis/fpj.dev/v1alpha1/namespaces/{namespace}"
    job = job_manifest("job", "photos") | {
        "spec": job_manifest("job", "photos")["spec"] | {"jobType": "Both"}
    }
    folder = resource("CacheFolder", "folder", {"storage": PVC})
    template = {"metadata": {}, "spec": job_manifest("job", "photos")["spec"]}
    schedule = resource(
        "FileProcessingSchedule", "nightly", {"schedule": "0 2 * * *", "jobTemplate": template}
    )
    purge = resource("CachePurge", "purge", PURGE)
    for plural, base, table in (
        ("fileprocessingjobs", job, JOBS),
        ("cachefolders", folder, FOLDERS),
        ("fileprocessingschedules", schedule, SCHEDULES),
        ("cachepurges", purge, PURGES),
    ):
        # So that nothing else is wrong.
        api.call("POST", f"{at}/{plural}?dryRun=All&fieldValidation=Strict", base)
        for path, value, message in table:
            said = refusal(api, "POST", f"{at}/{plural}", changed(base, path, value))
            assert re.search(message, said, re.DOTALL), f"{path}={value!r}: {said}"
            assert path in said or path == "metadata.name", f"{path} is not named: {said}"
    neither = changed(purge, "spec.images", None)
    assert "exactly one of images and all" in refusal(api, "POST", f"{at}/cachepurges", neither)


def test_what_is_immutable_cannot_be_changed(api: Api, namespace: str) -> None:
    at = f"/apis/fpj.dev/v1alpha1/namespaces/{namespace}"
    bases = {
        "fileprocessingjobs": job_manifest("job", "photos", suspend=True),
        "cachefolders": resource("CacheFolder", "folder", {"storage": PVC}),
        "cachepurges": resource("CachePurge", "purge", PURGE),
    }
    made = {plural: api.call("POST", f"{at}/{plural}", base) for plural, base in bases.items()}
    for plural, path, value, message in CHANGES:
        document = made[plural]
        said = refusal(
            api,
            "PUT",
            f"{at}/{plural}/{document['metadata']['name']}",
            changed(document, path, value),
        )
        assert message in said, said
    free = changed(made["fileprocessingjobs"], "spec.priority", 7)
    free = changed(free, "spec.collection.exclude", ["drafts/", "!a b/*.[jt]pg", "/x/**/y"])
    assert api.call("PUT", f"{at}/fileprocessingjobs/job", free)["spec"]["priority"] == 7
    same = changed(made["cachefolders"], "spec.layout", "Hashed")
    assert api.call("PUT", f"{at}/cachefolders/folder", same)["spec"]["layout"] == "Hashed", (
        "what it was, written down"
    )


def test_every_rule_of_the_types_is_in_the_tables() -> None:
    tried = [message for _, _, message in (*JOBS, *FOLDERS, *SCHEDULES, *PURGES)] + [
        message for *_, message in CHANGES
    ]
    for rule in {message for model in RESOURCES for message in rules_of(model)}:
        assert any(re.search(message, rule) for message in tried), f"no case for the rule {rule!r}"


def rules_of(model: type[ApiModel]) -> list[str]:
    found = [rule.message for rule in model.rules]
    for field in model.model_fields.values():
        if inner := model_in(field.annotation):
            found += rules_of(inner)
    return found
