"""A deletion waits for its files: what the operator does at each step, what it says meanwhile, and
that there is always a way out.

The store is real; the API server keeps objects, and a played pod removes the files' records.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import time
from typing import Any

import pytest
from typing_extensions import override
from unit.operator.leases_world import Document, Line, Server, health_of, run
from unit.operator.test_deletion import ALBUM, job, make, schedule

from fpj_core.errors import StoreUnavailableError
from fpj_core.formatting import moment
from fpj_core.kube import names
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import lease_name
from fpj_core.model import Folder, RemovalReason
from fpj_core.store import Store, open_store
from fpj_operator.jobs.deletions import Deletions
from fpj_operator.jobs.folders import Folders
from fpj_operator.jobs.leases import Leases
from fpj_operator.jobs.pods import Pods
from fpj_operator.keys import Key
from fpj_operator.namespaces import Namespaces
from fpj_operator.settings import OperatorSettings

KEY = Key("team", "photos")
JOB = ("FileProcessingJob", "team", "photos")
LEASE = ("Lease", "team", lease_name(ALBUM))
SETTINGS = OperatorSettings(
    store_url="mongodb://store", worker_image="fpj:test", max_concurrent_jobs=2
)


class Api(Line):
    """Objects of all kinds."""

    rejects: ClusterError | None = None
    """What the API server says to a Job."""

    @override
    async def merge(self, kind: str, namespace: str, name: str, change: Document) -> Document:
        made = await super().merge(kind, namespace, name, copy.deepcopy(change))
        metadata = made["metadata"]
        if "deletionTimestamp" in metadata and not metadata["finalizers"]:
            del self.server.held[kind, namespace, name]
        return made

    async def list(
        self, kind: str, namespace: str | None, *, labels: str = "", **_: Any
    ) -> list[Document]:
        found = [each async for page in self.pages(kind, namespace) for each in page]
        return [each for each in found if _selected(each, labels)]

    async def page(
        self, kind: str, namespace: str | None, *, limit: int, labels: str = "", **_: Any
    ) -> Document:
        return {"items": (await self.list(kind, namespace, labels=labels))[:limit]}

    async def apply(self, manifest: Document) -> Document:
        await self._pass()
        if self.rejects:
            raise self.rejects
        made = copy.deepcopy(manifest)
        made["metadata"] |= {"uid": made["metadata"]["name"], "creationTimestamp": moment(time())}
        return self.server.put(self.who, made)

    async def apply_status(
        self, kind: str, namespace: str, name: str, status: Document, *_: Any
    ) -> Document:
        await self._pass()
        found = copy.deepcopy(self.server.held[kind, namespace, name])
        return self.server.put(self.who, found | {"status": copy.deepcopy(dict(status))})

    async def delete(self, kind: str, namespace: str, name: str, *_: Any) -> None:
        await self._pass()
        self.server.held.pop((kind, namespace, name), None)


def _selected(document: Document, labels: str) -> bool:
    held = document["metadata"].get("labels") or {}
    for each in filter(None, labels.split(",")):
        name, unlike, value = each.partition("!=")
        if not unlike:
            name, _, value = each.partition("=")
        if (held.get(name) == value) is bool(unlike):
            return False
    return True


class Away:
    """A store that can go away."""

    def __init__(self, store: Store) -> None:
        self.store, self.away = store, False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise StoreUnavailableError("no primary")
        return getattr(self.store, name)


class Place:
    """A finished job that is deleted with its files: two tiers of one image."""

    def __init__(self, store: Store) -> None:
        self.server, self.store = Server(), Away(store)
        self.api = Api(self.server, "operator")
        any_api: Any = self.api
        any_store: Any = self.store
        health = health_of(any_store)
        self.deletions = Deletions(
            any_api,
            any_store,
            health,
            Leases(any_api, any_store, health, 300.0),
            Folders(any_api),
            Pods(any_api),
            Namespaces(any_api, 0.0),
            SETTINGS,
        )

    def begin(self) -> None:
        self.put_job()
        self.put(
            "CacheFolder", "cache", spec={"storage": {"persistentVolumeClaim": {"claimName": "c"}}}
        )
        self.put("Namespace", "team")
        self.server.held["Namespace", "team", "team"]["metadata"].pop("namespace")
        self.server.held[("Namespace", None, "team")] = self.server.held.pop(  # type: ignore[index]
            ("Namespace", "team", "team")
        )
        make(self.store.store, "full", "medium")

    def put_job(self, phase: str = "Completed", **spec: Any) -> None:
        made = job(deleting=True, deletionPolicy="Delete", **spec)
        made["metadata"]["finalizers"] = [names.FILES_FINALIZER]
        attempt = {"number": 1, "fence": 1, "cacheFolder": "cache"}
        status = {"phase": phase, "attempt": attempt, "conditions": []}
        self.server.put("user", {"kind": JOB[0]} | made | {"status": status})

    def put(self, kind: str, name: str, **more: Any) -> Document:
        metadata = {"name": name, "namespace": "team", "uid": f"uid-of-{name}"}
        said = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata}
        return self.server.put("user", said | more)

    async def look(self) -> float | None:
        return await self.deletions._handle(KEY)

    @property
    def gone(self) -> bool:
        return JOB not in self.server.held

    @property
    def said(self) -> str:
        """The reason of the condition."""
        conditions = self.server.held[JOB]["status"]["conditions"]
        return str(next(each["reason"] for each in conditions if each["type"] == "FilesRemoved"))

    @property
    def removal(self) -> Document:
        """The Job that removes files; the latest."""
        return self.removals[-1]

    @property
    def removals(self) -> list[Document]:
        held = self.server.held
        return [each for (kind, _, _), each in held.items() if kind == "Job"]

    @property
    def events(self) -> list[str]:
        return [
            each["reason"] for (kind, _, _), each in self.server.held.items() if kind == "Event"
        ]

    def pod_removes(self, *tiers: str, files: bool = True) -> None:
        """What the removal's pod does; with ``files`` False it gets no further than the records."""
        store = self.store.store
        lease = store.lease(lease_name(ALBUM))
        assert lease
        refs = [(0, tier) for tier in tiers]
        store.start_removals(ALBUM, refs, RemovalReason.DELETED, lease.fence)
        if files:
            store.end_removals(list(store.removals(ALBUM, "team.cache")))

    def end_removal(self, kind: str = "Complete", at: str = "2026-01-01T00:00:00Z") -> None:
        condition = {"type": kind, "status": "True", "lastTransitionTime": at}
        found = self.removal | {"status": {"conditions": [condition]}}
        self.server.put("kubernetes", found)


def play(folder: Path, scene: Callable[[Place], Coroutine[Any, Any, None]]) -> None:
    store = open_store(f"sqlite:///{folder}/store.db")
    for name in ("team.cache", "team.spare"):
        store.upsert_folder(Folder(name, f"/{name}"))

    async def within() -> None:
        place = Place(store)
        place.begin()
        await scene(place)

    try:
        run(within())
    finally:
        store.close()


def test_a_pod_removes_the_files_then_the_job_goes(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        assert await place.look()
        (removal,) = place.removals
        assert removal["metadata"]["labels"][names.LABEL_ROLE] == "removal"
        container = removal["spec"]["template"]["spec"]["containers"][0]
        assert container["command"] == ["fpj-worker", "remove"]
        assert [each["mountPath"] for each in container["volumeMounts"]] == ["/tmp", "/cache"]
        assert place.said == "Removing" and not place.gone
        await place.look()
        assert len(place.removals) == 1, "a look more makes no other pod"
        place.pod_removes("full", "medium")
        place.end_removal()
        assert await place.look() is None
        assert [place.gone, place.events] == [True, ["FilesRemoved"]]

    play(tmp_path, scene)


def test_a_job_goes_only_once_the_store_has_nothing_left(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        await place.look()
        place.pod_removes("full", "medium", files=False)
        place.end_removal()
        first = place.removal["metadata"]["name"]
        await place.look()
        assert not place.gone and place.said == "FilesLeft"
        await place.look()
        assert place.removal["metadata"]["name"] != first, "another pod, under another fence"
        place.pod_removes(files=True)
        assert await place.look() is None and place.gone

    play(tmp_path, scene)


def test_tiers_that_another_job_asks_for_stay(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.server.put("user", {"kind": JOB[0]} | job("other", "medium"))
        await place.look()
        variables = place.removal["spec"]["template"]["spec"]["containers"][0]["env"]
        task = next(each["value"] for each in variables if each["name"] == "FPJ_TASK")
        assert '"keep":["medium"]' in task
        place.pod_removes("full")
        assert await place.look() is None and place.gone

    play(tmp_path, scene)


def test_without_anything_to_remove_no_pod_starts(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.server.put("user", {"kind": JOB[0]} | job("other", "full", "medium"))
        assert await place.look() is None
        assert place.gone and not place.removals

    play(tmp_path, scene)


def test_what_a_schedules_job_made_stays_while_the_schedule_exists(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.server.held[JOB]["metadata"]["labels"] = names.schedule_labels(
            "nightly", "uid-of-nightly"
        )
        nightly = {"kind": "FileProcessingSchedule"} | schedule("nightly", collection="elsewhere")
        place.server.put("user", nightly)
        assert await place.look() is None
        assert place.gone and not place.removals and place.events == ["FilesKept"]

    play(tmp_path, scene)


@pytest.mark.parametrize("way", ["policy", "annotation", "namespace"])
def test_there_is_always_a_way_out(tmp_path: Path, way: str) -> None:
    async def scene(place: Place) -> None:
        await place.look()
        found = place.server.held[JOB]
        if way == "policy":
            found["spec"]["deletionPolicy"] = "Retain"
        elif way == "annotation":
            found["metadata"]["annotations"] = {names.KEEP_FILES_ANNOTATION: "true"}
        else:
            namespace = place.server.held[("Namespace", None, "team")]  # type: ignore[index]
            namespace["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        place.store.away = way != "namespace"
        assert await place.look() is None
        assert place.gone and place.events == ["FilesKept"]
        assert place.store.store.statistics(ALBUM)[0].by_tier["full"][0] == 1

    play(tmp_path, scene)


def test_a_namespace_that_ends_meanwhile_is_not_held(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        message = "unable to create new content in namespace team because it is being terminated"
        place.api.rejects = ClusterError(403, message, reason="Forbidden")
        assert await place.look() is None and place.gone

    play(tmp_path, scene)


def test_it_says_what_it_waits_for(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.store.away = True
        assert await place.look()
        assert place.said == "StoreUnavailable"
        place.store.away = False
        folder = place.server.held.pop(("CacheFolder", "team", "cache"))
        assert await place.look()
        assert place.said == "NoCacheFolder"
        place.server.held["CacheFolder", "team", "cache"] = folder
        place.deletions._folders.changed("team")
        odd = job("odd")
        odd["spec"]["jobType"] = "Hologram"
        place.server.put("user", {"kind": JOB[0]} | odd)
        assert await place.look()
        assert place.said == "OtherNotUnderstood"
        del place.server.held["FileProcessingJob", "team", "odd"]
        place.api.rejects = ClusterError(403, "exceeded quota", reason="Forbidden")
        assert await place.look()
        assert place.said == "ChildRejected"
        place.api.rejects = None
        await place.look()
        assert place.said == "Removing"
        warned = ["StoreUnavailable", "NoCacheFolder", "OtherNotUnderstood", "ChildRejected"]
        assert place.events == warned, "each is said once"

    play(tmp_path, scene)


def test_another_that_works_on_the_collection_is_waited_for(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        store = place.store.store
        lease = store.acquire_lease(lease_name(ALBUM), "another", 300, store.now())
        assert await place.look()
        assert place.said == "CollectionLocked" and not place.removals
        store.release_lease(lease)
        pod = place.put("Pod", "theirs")
        pod["metadata"]["labels"] = {
            names.LABEL_LOCK: lease_name(ALBUM),
            names.LABEL_UID: "uid-2",
            names.LABEL_JOB: "theirs",
        }
        place.server.put("user", pod)
        await place.look()
        assert place.said == "PodsEnding" and not place.removals
        del place.server.held["Pod", "team", "theirs"]
        await place.look()
        assert place.removals

    play(tmp_path, scene)


def test_its_own_work_is_ended_first(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.put_job("Running")
        assert await place.look()
        assert not place.removals, "the job's own reconciliation ends it first"
        place.put_job("Cancelled")
        child = place.put("Job", "shards")
        child["metadata"]["labels"] = {names.LABEL_UID: "uid-of-photos", names.LABEL_ROLE: "shards"}
        place.server.put("user", child)
        pod = place.put("Pod", "photos-0")
        pod["metadata"]["labels"] = child["metadata"]["labels"]
        place.server.put("user", pod)
        await place.look()
        assert place.said == "PodsEnding" and not place.removals, "the Job is gone, its pod is not"
        del place.server.held["Pod", "team", "photos-0"]
        await place.look()
        assert place.removals

    play(tmp_path, scene)


def test_a_removal_that_failed_is_tried_again_later(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        await place.look()
        place.end_removal("Failed", at="2100-01-01T00:00:00Z")
        pause = await place.look()
        assert pause and pause > 30 and len(place.removals) == 1 and place.said == "JobFailed"
        place.end_removal("Failed")
        await place.look()
        await place.look()
        assert len(place.removals) == 2

    play(tmp_path, scene)


def test_no_more_pods_remove_at_a_time_than_jobs_may_run(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        for name in ("one", "two"):
            child = place.put("Job", name)
            child["metadata"]["labels"] = {names.LABEL_ROLE: "removal"}
            place.server.put("user", child)
        await place.look()
        assert place.said == "Queued" and len(place.removals) == 2

    play(tmp_path, scene)


def test_files_in_another_folder_are_removed_there(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.put("CacheFolder", "spare", spec={"storage": {"s3": {"bucket": "spare"}}})
        make(place.store.store, "tiny", folder="team.spare")
        await place.look()
        place.pod_removes("full", "medium", "tiny")
        place.end_removal()
        await place.look()
        assert len(place.removals) == 2 and not place.gone
        container = place.removal["spec"]["template"]["spec"]["containers"][0]
        assert '"name":"spare"' in str(container["env"])
        assert [each["mountPath"] for each in container["volumeMounts"]] == ["/tmp"]
        place.store.store.end_removals(list(place.store.store.removals(ALBUM, "team.spare")))
        assert await place.look() is None and place.gone

    play(tmp_path, scene)
