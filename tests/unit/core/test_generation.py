"""One new job for each of many collections: what it is copied from, and how all are counted."""

from __future__ import annotations

from typing import Any

import pytest

from fpj_core.kube.generation import (
    Generation,
    NoTemplateError,
    Origin,
    Part,
    Templates,
    bulk_id,
    job_name,
    origin_of_schedule,
    request_digest,
    state_size,
    summed,
    templates_of,
)
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import requester_of
from fpj_core.manifest import parse_resource
from fpj_core.v1alpha1 import FileProcessingJob, JobType

BULK = "bulk-0123456789ab"
SOURCE = {"persistentVolumeClaim": {"claimName": "photos", "path": "2026"}}
TIERS = {"tiers": [{"name": "medium", "maxWidth": 1280}]}
SMALL = {"width": 200}


def origin(name: str, job_type: str, **labels: str) -> Origin:
    return Origin("FileProcessingJob", "team", name, "album", job_type, labels)


def document(name: str, job_type: str, **spec: Any) -> dict[str, Any]:
    collection = {"source": SOURCE} | spec.pop("collection", {})
    return {
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"jobType": job_type, "collection": collection} | spec,
    }


def generated(
    job_type: JobType, *found: tuple[Origin, dict[str, Any]], force: bool = False
) -> dict[str, Any]:
    documents = dict(found)
    (templates,) = templates_of(documents).values()
    generation = Generation(job_type, force, BULK, "digest")
    made = generation.manifest(("team", "album"), templates, documents)
    assert isinstance(parse_resource(made), FileProcessingJob)
    return made


def test_a_job_is_copied_but_not_what_was_meant_for_one_job() -> None:
    spec = document(
        "first",
        "Both",
        cache=TIERS,
        thumbnail=SMALL,
        cacheFolder="cache",
        priority=5,
        workerTemplate={"nodeSelector": {"disk": "fast"}},
        suspend=True,
        force=True,
        collection={"include": ["*.jpg"], "acceptVanished": True, "acceptSource": True},
    )
    labels = {"team": "web", "app.kubernetes.io/instance": "argo", "fpj.dev/schedule": "nightly"}
    made = generated(JobType.BOTH, (origin("first", "Both", **labels), spec))
    assert made["spec"] == {
        "jobType": "Both",
        "collection": {"id": "album", "source": SOURCE, "include": ["*.jpg"]},
        "cache": TIERS,
        "thumbnail": SMALL,
        "cacheFolder": "cache",
        "priority": 5,
        "workerTemplate": {"nodeSelector": {"disk": "fast"}},
    }
    assert made["metadata"] == {
        "name": f"album-{BULK}",
        "namespace": "team",
        "labels": {"team": "web", "fpj.dev/bulk": BULK},
        "annotations": {"fpj.dev/bulk-request": "digest", "fpj.dev/requester": "first"},
    }
    again = generated(JobType.BOTH, (origin("first", "Both"), spec), force=True)
    assert again["spec"]["force"] is True


def test_each_section_comes_from_the_newest_job_that_has_it() -> None:
    newest = origin("thumbs", "Thumbnail"), document("thumbs", "Thumbnail", thumbnail=SMALL)
    middle = origin("cache", "Cache"), document("cache", "Cache", cache=TIERS)
    oldest = origin("both", "Both"), document("both", "Both", cache={"tiers": [{"name": "old"}]})
    for job_type, sections in (
        (JobType.BOTH, {"cache": TIERS, "thumbnail": SMALL}),
        (JobType.CACHE, {"cache": TIERS}),
        (JobType.THUMBNAIL, {"thumbnail": SMALL}),
    ):
        spec = generated(job_type, newest, middle, oldest)["spec"]
        assert {name: spec[name] for name in ("cache", "thumbnail") if name in spec} == sections
        assert spec["jobType"] == job_type


def test_usual_settings_are_asked_for_in_no_other_name() -> None:
    """They would take back the tiers that were asked for in that name, and remove their files."""
    thumbs = origin("thumbs", "Thumbnail"), document("thumbs", "Thumbnail", thumbnail=SMALL)
    made = generated(JobType.CACHE, thumbs)
    assert "cache" not in made["spec"] and "thumbnail" not in made["spec"]
    assert requester_of(made["metadata"]) == f"album-{BULK}"
    assert requester_of(generated(JobType.THUMBNAIL, thumbs)["metadata"]) == "thumbs"


def test_a_copy_of_a_copy_asks_in_the_first_name() -> None:
    first = generated(JobType.BOTH, (origin("first", "Both"), document("first", "Both")))
    second = generated(JobType.CACHE, (origin(first["metadata"]["name"], "Both"), first))
    assert requester_of(second["metadata"]) == "first"
    scheduled = document("nightly-1", "Both")
    scheduled["metadata"]["labels"] = {"fpj.dev/schedule": "nightly"}
    made = generated(JobType.BOTH, (origin("nightly-1", "Both"), scheduled))
    assert requester_of(made["metadata"]) == "nightly"
    assert "fpj.dev/schedule" not in made["metadata"]["labels"], "it is not a run of the schedule"


def test_a_schedule_stands_for_a_job() -> None:
    template = {
        "metadata": {"labels": {"team": "web"}},
        "spec": {"jobType": "Both", "collection": {"source": SOURCE}, "cache": TIERS},
    }
    schedule = {
        "metadata": {"name": "album", "namespace": "team"},
        "spec": {"schedule": "@daily", "jobTemplate": template},
    }
    found = origin_of_schedule(schedule)
    assert found.key == ("team", "album") and found.labels == {"team": "web"}
    made = generated(JobType.CACHE, (found, schedule))
    assert made["spec"]["cache"] == TIERS and made["spec"]["collection"]["id"] == "album"
    assert requester_of(made["metadata"]) == "album"
    job = origin("newer", "Both")
    assert templates_of([job, found])["team", "album"] == Templates(job, job, job)


def test_images_on_one_machine_are_no_clusters() -> None:
    local = document("here", "Both", collection={"source": {"local": {"path": "/photos"}}})
    with pytest.raises(NoTemplateError, match="on one machine"):
        generated(JobType.BOTH, (origin("here", "Both"), local))


@pytest.mark.parametrize(
    ("collection", "name"),
    [
        ("album", f"album-{BULK}"),
        ("2026.summer", f"2026.summer-{BULK}"),
        ("a..b", f"a-b-{{}}-{BULK}"),
        ("a.-b", f"a-b-{{}}-{BULK}"),
        ("x" * 253, f"{'x' * 200}-{{}}-{BULK}"),
    ],
)
def test_names_are_valid_and_apart(collection: str, name: str) -> None:
    made = job_name(collection, BULK)
    before, _, after = name.partition("{}")
    assert made.startswith(before) and made.endswith(after) and len(made) <= 253
    assert job_name(collection, BULK) == made != job_name(collection, "bulk-ba9876543210")


def test_names_of_ids_that_look_alike_are_apart() -> None:
    names = {job_name(each, BULK) for each in ("a-b", "a..b", "a.-b", "a.b", "a-.b")}
    assert len(names) == 5


def test_ids_come_from_whose_key_it_is() -> None:
    assert bulk_id("anna", "1") == bulk_id("anna", "1")
    assert len({bulk_id("anna", "1"), bulk_id("ben", "1"), bulk_id("anna", "2")}) == 3
    assert bulk_id("an", "na1") != bulk_id("anna", "1")
    assert request_digest({"a": 1, "b": 2}) == request_digest({"b": 2, "a": 1})


def test_each_job_says_how_many_there_are() -> None:
    made = generated(JobType.BOTH, (origin("first", "Both"), document("first", "Both")))
    state_size([made, generated(JobType.BOTH, (origin("b", "Both"), document("b", "Both")))])
    assert (JobResource(made).bulk, JobResource(made).bulk_size) == (BULK, 2)
    for odd in ("", "-1", "two", "9" * 30):
        made["metadata"]["annotations"]["fpj.dev/bulk-size"] = odd
        assert JobResource(made).bulk_size == 0


def test_progress_of_the_whole() -> None:
    def part(phase: str, **progress: int) -> Part:
        job = JobResource({"metadata": {"name": "a"}, "status": {"progress": progress}})
        return Part(phase, phase in ("Completed", "Failed"), job.progress)

    assert summed([])["progress"]["percent"] == 0
    found = summed(
        [
            part("Completed", total=10, completed=8, skipped=2, percent=100, bytesWritten=100),
            part("Running", total=100, completed=20, failed=5, percent=25, bytesWritten=11),
            part("Running", total=10, completed=10, percent=100),
            part("Pending"),
        ]
    )
    assert (found["jobs"], found["finished"]) == (4, 1)
    assert found["phases"] == {"Completed": 1, "Pending": 1, "Running": 2}
    assert found["progress"] == {
        "total": 120,
        "completed": 38,
        "skipped": 2,
        "failed": 5,
        "imagesPerSecond": 0.0,
        "bytesWritten": 111,
        "percent": 56,
    }, "one that runs is never 100 %, and one that has not started is 0"
