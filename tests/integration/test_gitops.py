"""fpj under GitOps: health in every phase, live, and nothing in what was applied that a tool would
fight over.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from gitops.health import EXPECTED, ROOT, fits, judge, record
from operator_process import OperatorProcess
from unit.v1alpha1.documents import problems
from world import Document, World, job_manifest, resource, slowly, world_in

from fpj_cluster import Cluster, KubectlError

pytestmark = pytest.mark.timeout(300)

RECORD = bool(os.environ.get("FPJ_RECORD"))
SCHEDULES = "fileprocessingschedules"
FOLDERS = "cachefolders"
PURGES = "cachepurges"


@pytest.fixture(scope="module")
def world(
    cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path_factory.mktemp("world")) as world:
        world.photos("photos", 5)
        world.photos("damaged", 5, broken=2)
        yield world


@pytest.fixture(scope="module")
def operator(world: World) -> OperatorProcess:
    return world.operator(start=False)


def check(world: World, name: str, at: str, plural: str = "fileprocessingjobs") -> Document:
    """Hold what is there now against the table; record it where that is asked for."""
    found = world.runner.api.get(world.path(at, plural))
    assert found
    found["metadata"]["namespace"] = "gallery"
    judged = judge(found)
    assert fits(judged, EXPECTED[name]), (name, judged, found.get("status"))
    if RECORD:
        record(name, found)
    return found


def healthy(world: World, at: str) -> bool:
    """Whether both tools say that it is what it should be, as it is now."""
    judged = judge(world.get(at))
    return (judged.kstatus, judged.argocd) == ("Current", "Healthy")


def schedule(name: str, world: World, **spec: object) -> None:
    template = {"spec": job_manifest("unused", "photos", collection="scheduled")["spec"]}
    world.apply(
        resource(
            "FileProcessingSchedule", name, {"schedule": "@yearly", "jobTemplate": template} | spec
        )
    )


def names_of_collections(world: World) -> list[str]:
    """As the store has them."""
    found = world.runner.api.get(world.path("cache", FOLDERS)) or {}
    return [each["name"] for each in found["status"].get("collections", [])]


def purge(world: World, name: str, folder: str, collection: str = "photos") -> None:
    spec = {"cacheFolder": folder, "collection": collection, "images": ["none.jpg"]}
    world.apply(resource("CachePurge", name, spec))


def wait_purge(world: World, name: str, phase: str) -> None:
    def reached() -> bool:
        found = world.runner.api.get(world.path(name, PURGES)) or {}
        return str(found.get("status", {}).get("phase")) == phase

    world.until(reached, f"the purge is {phase}")


def state(world: World, name: str) -> str:
    found = world.runner.api.get(world.path(name, SCHEDULES)) or {}
    conditions = found.get("status", {}).get("conditions", [])
    return str(next((each["reason"] for each in conditions if each["type"] == "Ready"), ""))


def limit_jobs(world: World) -> None:
    """A quota that is full.

    Of one that Kubernetes met before the CRD it counts nothing until it is changed.
    """
    jobs, polls = "count/fileprocessingjobs.fpj.dev", itertools.count()
    path = f"/api/v1/namespaces/{world.namespace}/resourcequotas/few"

    def counted() -> bool:
        poll = next(polls)
        if poll % 20 == 0:
            spec = {"hard": {jobs: "1", "configmaps": str(1_000 + poll)}}
            world.kube.apply(
                {
                    "apiVersion": "v1",
                    "kind": "ResourceQuota",
                    "metadata": {"name": "few"},
                    "spec": spec,
                }
            )
        return jobs in ((world.runner.api.get(path) or {}).get("status", {}).get("used") or {})

    world.until(counted, "the quota is counted")


def test_before_the_operator_looks(world: World, operator: OperatorProcess) -> None:
    """Without an operator nothing is healthy that waits for one."""
    world.job("new", "photos")
    schedule("waiting", world, timeZone="Europe/Berlin")
    check(world, "job-new", "new")
    check(world, "schedule-new", "waiting", SCHEDULES)
    purge(world, "folderless", "none")
    check(world, "purge-new", "folderless", PURGES)
    operator.start()
    wait_purge(world, "folderless", "Failed")
    check(world, "purge-failed", "folderless", PURGES)
    world.wait_reason("new", "NoCacheFolder")
    check(world, "job-pending", "new")


def test_the_phases_of_jobs(world: World, operator: OperatorProcess) -> None:
    world.cache_folder()
    check(world, "folder-new", "cache", FOLDERS)
    world.wait_end("new")
    check(world, "job-completed", "new")
    world.until(
        lambda: (world.runner.api.get(world.path("cache", FOLDERS)) or {})["status"],
        "the folder's totals",
    )
    check(world, "folder-used", "cache", FOLDERS)
    collection = names_of_collections(world)[0]
    purge(world, "done", "cache", collection)
    wait_purge(world, "done", "Completed")
    check(world, "purge-completed", "done", PURGES)
    world.job("damaged", "damaged")
    world.job("failed", "damaged", maxFailedImages=1)
    world.job("suspended", "photos", suspend=True)
    world.job("queued", "photos", queueName="none")
    world.runner.hold("held")
    world.job("held", "photos")
    world.wait_phase("held", "Indexing")
    check(world, "job-indexing", "held")
    world.runner.accept()
    world.wait_reason("queued", "HeldByQueue", "Progressing")
    check(world, "job-held-up", "queued")
    world.wait_phase("suspended", "Suspended")
    check(world, "job-suspended", "suspended")
    world.wait_end("damaged", "CompletedWithErrors")
    check(world, "job-completed-with-errors", "damaged")
    world.wait_end("failed", "Failed")
    check(world, "job-failed", "failed")


def test_at_work_and_recovering(world: World, operator: OperatorProcess) -> None:
    world.photos("many", 40)
    with slowly(world, 1):
        world.job("busy", "many")
        world.wait_phase("busy", "Running")
        world.wait_pod("busy")
        check(world, "job-running", "busy")
        world.kube("delete", "cachefolder", "cache")
        world.resume("busy")
        world.wait_phase("busy", "Recovering")
        world.wait_reason("busy", "NoCacheFolder", "Progressing")
        check(world, "job-recovering", "busy")
    world.kube("delete", "fpj", "busy", "queued")
    world.cache_folder()


def test_a_finished_job_that_is_edited(world: World, operator: OperatorProcess) -> None:
    """Whoever waits for the change to be seen has an answer, and a person a hint."""
    operator.stop()
    world.patch("new", priority=3)
    check(world, "job-edited", "new")
    operator.start()
    world.until(lambda: world.status("new")["observedGeneration"] == 2, "the operator has seen it")
    seen = check(world, "job-edited-seen", "new")
    assert all(each["observedGeneration"] == 2 for each in seen["status"]["conditions"])
    world.until(lambda: world.events("new", "NotBegunAgain"), "an event says so")
    world.patch("new", priority=4)
    world.until(lambda: world.status("new")["observedGeneration"] == 3, "also while it runs")
    assert (
        world.status("new")["phase"] == "Completed"
        and world.status("new")["attempt"]["number"] == 1
    )


def test_an_edit_of_what_is_made(world: World, operator: OperatorProcess) -> None:
    """It is healthy again only once the outputs are those of the spec."""
    world.photos("edited", 20)
    with slowly(world, 1):
        world.job("edited", "edited", sharding={"shardSize": 10, "batchSize": 2})
        world.wait_phase("edited", "Running")
        world.patch("edited", thumbnail={"width": 64, "height": 64})
        world.until(
            lambda: world.status("edited")["observedGeneration"] == 2, "the operator has seen it"
        )
        check(world, "job-edited-active", "edited")
    world.until(lambda: world.status("edited")["attempt"]["number"] == 2, "another attempt starts")
    world.wait_end("edited")
    assert healthy(world, "edited")
    made = world.store.derivatives(f"{world.namespace}.edited", 0, 20, ["thumbnail"])
    assert [max(each.width, each.height) for each in made] == [64] * 20
    world.patch("edited", thumbnail={"width": 32, "height": 32})
    world.wait_reason("edited", "SpecChanged")
    seen = check(world, "job-edited-not-made", "edited")
    assert seen["status"]["phase"] == "Completed"
    world.patch("edited", thumbnail={"width": 64, "height": 64})
    world.wait_reason("edited", "AllImagesDone")
    assert healthy(world, "edited"), "the edit is undone"
    world.kube("delete", "fpj", "edited")


def test_the_states_of_schedules(world: World, operator: OperatorProcess) -> None:
    world.until(lambda: state(world, "waiting") == "Scheduled", "the schedule is seen")
    check(world, "schedule-waiting", "waiting", SCHEDULES)
    schedule("suspended", world, suspend=True)
    schedule("invalid", world, timeZone="Mars/Olympus")
    world.until(lambda: state(world, "suspended") == "Suspended", "it is suspended")
    check(world, "schedule-suspended", "suspended", SCHEDULES)
    world.until(lambda: state(world, "invalid") == "InvalidSpec", "it is refused")
    check(world, "schedule-invalid", "invalid", SCHEDULES)

    world.runner.hold("waiting")
    missed = json.dumps({"status": {"lastScheduleTime": "2020-05-05T00:00:00Z"}})
    world.kube(
        "patch", "fpjs", "waiting", "--subresource=status", "--type=merge", "--patch", missed
    )
    path = world.path("waiting", SCHEDULES)
    world.until(
        lambda: (world.runner.api.get(path) or {}).get("status", {}).get("active"), "a run begins"
    )
    check(world, "schedule-active", "waiting", SCHEDULES)
    world.runner.accept()

    limit_jobs(world)
    schedule("refused", world)
    world.until(lambda: state(world, "refused") == "Scheduled", "it is seen")
    world.kube(
        "patch", "fpjs", "refused", "--subresource=status", "--type=merge", "--patch", missed
    )
    world.until(lambda: state(world, "refused") == "JobRefused", "the quota refuses the run's job")
    check(world, "schedule-refused", "refused", SCHEDULES)
    world.kube("delete", "resourcequota", "few")


# Drift --------------------------------------------------------------------------------------------


def manifests() -> list[Document]:
    """A folder, a job and a schedule, with labels and annotations."""
    metadata = {
        "labels": {"team": "galleries"},
        "annotations": {"example.com/contact": "galleries"},
    }
    storage = {"persistentVolumeClaim": {"claimName": "cache", "path": "drift"}}
    tiers = [{"name": "full", "maxWidth": 120}, {"name": "small", "maxWidth": 60, "format": "webp"}]
    template = {
        "metadata": metadata,
        "spec": job_manifest("unused", "photos", collection="drift")["spec"],
    }
    found = [
        resource(
            "CacheFolder",
            "drift",
            {"storage": storage, "maxBytes": "1Gi", "policy": {"eviction": "LRU"}},
        ),
        job_manifest(
            "drift",
            "photos",
            jobType="Both",
            cache={"tiers": tiers},
            cacheFolder="drift",
            maxFailedImages=1,
        ),
        resource(
            "FileProcessingSchedule", "drift", {"schedule": "0 0 1 1 *", "jobTemplate": template}
        ),
    ]
    for each in found:
        each["metadata"] |= copy.deepcopy(metadata)
    return found


@pytest.mark.parametrize("server_side", [False, True])
def test_nothing_is_written_into_what_was_applied(
    world: World, operator: OperatorProcess, server_side: bool
) -> None:
    applied = manifests()
    world.kube("delete", "fpjs,fpj,cf", "drift", "--ignore-not-found")
    world.kube.apply(*applied, server_side=server_side)
    world.wait_phase("drift", "Indexing", "Running", "Completed")
    assert not difference(world, applied, server_side=server_side), "while it runs"
    world.wait_end("drift")
    world.until(lambda: state(world, "drift") == "Scheduled", "the schedule is seen")
    world.until(
        lambda: "finalizers" not in world.get("drift")["metadata"], "the job's finalizer is gone"
    )
    assert not difference(world, applied, server_side=server_side), "afterwards"
    for manifest, plural in zip(applied, (FOLDERS, "fileprocessingjobs", SCHEDULES), strict=True):
        live = world.runner.api.get(world.path("drift", plural))
        assert live
        assert live["spec"] == manifest["spec"]
        assert live["metadata"]["labels"] == manifest["metadata"]["labels"]
        kept = {"kubectl.kubernetes.io/last-applied-configuration"} | set(
            manifest["metadata"]["annotations"]
        )
        assert set(live["metadata"]["annotations"]) <= kept
        assert "finalizers" not in live["metadata"] and "ownerReferences" not in live["metadata"]
        managers = [
            each["manager"]
            for each in live["metadata"]["managedFields"]
            if not each.get("subresource")
        ]
        assert len(managers) == len({*managers} - {"fpj-operator", "fpj-worker"}), (
            "only who applied it wrote to it"
        )

    before = world.get("drift")["metadata"]["generation"]
    world.kube.apply(*applied, server_side=server_side)
    assert world.get("drift")["metadata"]["generation"] == before, "applied again, nothing changes"


def difference(world: World, applied: list[Document], *, server_side: bool) -> str:
    """What `kubectl diff` shows; nothing if live and applied are the same."""
    options = ["--server-side", "--force-conflicts"] if server_side else []
    try:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": applied})
        return world.kube("diff", *options, "--filename=-", stdin=text)
    except KubectlError as error:
        return str(error)


def test_a_job_whose_collection_was_edited_says_what_to_do(
    world: World, operator: OperatorProcess
) -> None:
    world.job("fixed", "photos", suspend=True)
    edited = json.dumps(job_manifest("fixed", "damaged", suspend=True))
    for options in ([], ["--server-side", "--force-conflicts"]):
        with pytest.raises(KubectlError) as refused:
            world.kube("apply", *options, "-f", "-", stdin=edited)
        assert (
            "collection is immutable: apply it under another name, or delete this job first"
            in str(refused.value)
        )


# The sample repository ----------------------------------------------------------------------------

GALLERIES = ROOT / "examples" / "gitops" / "galleries"
CLUSTERS = sorted((ROOT / "examples" / "gitops" / "clusters").glob("*/*.yaml"))
OVERLAYS = sorted(path.parent for path in GALLERIES.glob("overlays/*/kustomization.yaml"))


def names_in(document: object) -> set[tuple[str, str]]:
    """The names of other resources in a resource: (field, name)."""
    if isinstance(document, list):
        return {name for each in document for name in names_in(each)}
    if not isinstance(document, dict):
        return set()
    own = {(field, document[field]) for field in ("cacheFolder", "claimName") if field in document}
    return own | names_in(list(document.values()))


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_the_sample_repository_is_accepted_as_it_is(world: World, overlay: Path) -> None:
    built = world.kube("kustomize", overlay)
    documents = list(yaml.safe_load_all(built))
    assert [each["kind"] for each in documents].count("FileProcessingJob") == 1
    (namespace,) = {each["metadata"]["namespace"] for each in documents}
    for document in documents:
        if document["apiVersion"] == "fpj.dev/v1alpha1":
            assert problems(document) == []
    held = {(each["kind"], each["metadata"]["name"]) for each in documents}
    kinds = {"cacheFolder": "CacheFolder", "claimName": "PersistentVolumeClaim"}
    assert {field for field, _ in names_in(documents)} == set(kinds)
    for field, name in names_in(documents):
        assert name == "scans" or (kinds[field], name) in held, (
            f"{field} {name}: no prefix has reached it"
        )
    for document in documents:
        document["metadata"]["namespace"] = world.namespace
    for options in ([], ["--server-side"]):
        text = yaml.safe_dump_all(documents)
        world.kube(
            "apply", "--dry-run=server", "--validate=strict", *options, "-f", "-", stdin=text
        )
    clusters = {path.parent.name: yaml.safe_load(path.read_text("utf-8")) for path in CLUSTERS}
    paths = {
        clusters["argocd"]["spec"]["source"]["path"],
        clusters["flux"]["spec"]["path"].removeprefix("./"),
    }
    assert all((GALLERIES.parent / path / "kustomization.yaml").is_file() for path in paths)
    production = clusters["argocd"]["spec"]["destination"]["namespace"]
    assert overlay.name != "production" or namespace == production
