"""A namespace in which everything of fpj runs for real: the operator, worker processes, the store,
the API server.

Only the kubelet is played, by `podrunner`. Tests say what befalls it, and compare with what they
count themselves.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from e2e.conftest import photo, size_of
from operator_process import OperatorProcess
from planes import fresh_namespace, with_crds
from podrunner import Pod, PodRunner
from podrunner.api import MERGE
from pymongo import MongoClient
from switch import Switch
from waiting import T, wait_for

from fpj_cluster import Cluster, Kube, KubectlError
from fpj_core.kube.names import lease_name
from fpj_core.model import Job
from fpj_core.store import Store, open_store

Document = dict[str, Any]

FINISHED = frozenset({"Completed", "CompletedWithErrors", "Failed", "Cancelled"})
SLOW = Path(__file__).parent / "e2e" / "injected" / "decoder"
MOST_STATUS_BYTES = 8_192
UID_LABEL = "fpj.dev/job-uid"


class World:
    """One namespace with a node and a store of its own."""

    def __init__(self, cluster: Cluster, namespace: str, mongodb: str, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.folder = folder
        self.kube: Kube = with_crds(cluster.kube).within(namespace)
        self._mongodb = mongodb
        self._stack = ExitStack()
        self._operators: list[OperatorProcess] = []
        self._sources: dict[str, Path] = {}

    def __enter__(self) -> World:
        self.folder.mkdir(parents=True, exist_ok=True)
        host, _, port = self._mongodb.removeprefix("mongodb://").partition(":")
        assert host == "127.0.0.1", "the switch before the store passes on to this machine only"
        self.switch = self._stack.enter_context(Switch(int(port)))
        database = self.namespace.replace("-", "_")
        self._stack.callback(self._drop, database)
        # Directly: else the driver would go on to the address that the server gives for itself.
        self.store_url = f"mongodb://127.0.0.1:{self.switch.port}/{database}?directConnection=true"
        self.store: Store = open_store(f"{self._mongodb}/{database}")
        self._stack.callback(self.store.close)
        node = f"node-{self.namespace}"
        self.runner = self._stack.enter_context(
            PodRunner(self.cluster.kubeconfig, node, self.folder / "pods")
        )
        self.out = self.folder / "cache"
        self.out.mkdir()
        self.runner.claim(self.namespace, "cache", self.out)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.show()
        for operator in self._operators:
            operator.close()
        self._let_go()
        self._stack.close()

    def _let_go(self) -> None:
        """Nobody works on the jobs any more: their namespace may go."""
        for job in self.items("fileprocessingjobs", "apis/fpj.dev/v1alpha1"):
            self.runner.api.delete(self.path(job["metadata"]["name"]))
            self.runner.api.patch(
                self.path(job["metadata"]["name"]), {"metadata": {"finalizers": None}}, MERGE
            )

    def empty_store(self) -> None:
        """As whoever deletes the database does: nothing is left, its identity neither."""
        self._drop(self.namespace.replace("-", "_"))

    def _drop(self, database: str) -> None:
        client: MongoClient[Document] = MongoClient(self._mongodb)
        client.drop_database(database)
        client.close()

    def show(self) -> None:
        """For whoever looks why a test failed; pytest shows it then."""
        for operator in self._operators:
            print(f"--- {operator.name}\n{operator.log[-20_000:]}")
        print(self.runner.logs()[-20_000:])
        try:
            print(self.kube("get", "fpj,jobs,pods,leases,events", "-o", "wide"))
            print(
                json.dumps(
                    [self._without_fields(each) for each in self.kube.items("fpj")], indent=1
                )[-20_000:]
            )
        except KubectlError as error:
            print(error)

    def _shown(self, what: str) -> Callable[[], str]:
        """What is waited for; where it does not come, everything is shown."""

        def late() -> str:
            self.show()
            return what

        return late

    @staticmethod
    def _without_fields(resource: Document) -> Document:
        resource["metadata"].pop("managedFields", None)
        return resource

    # What there is --------------------------------------------------------------------------------

    def operator(self, *, start: bool = True, **settings: object) -> OperatorProcess:
        """Another replica; settings without their `FPJ_`."""
        environment = {f"FPJ_{name.upper()}": str(value) for name, value in settings.items()}
        made = OperatorProcess(
            self.cluster.kubeconfig, self.namespace, self.store_url, self.folder, environment
        )
        self._operators.append(made)
        if start:
            made.start()
        return made

    def cache_folder(self, name: str = "cache", *, claim: str = "cache", **spec: Any) -> None:
        """A CacheFolder on a claim."""
        storage = {"persistentVolumeClaim": {"claimName": claim}}
        self.kube.apply(resource("CacheFolder", name, {"storage": storage} | spec))

    def photos(
        self, name: str, number: int, *, size: tuple[int, int] = (160, 120), broken: int = 0
    ) -> Path:
        """A claim with so many photographs, the last of them ``broken``."""
        folder = self.folder / name
        folder.mkdir()
        for index in range(number):
            content = (
                b"\xff\xd8\xff not an image" if index >= number - broken else photo(index, *size)
            )
            (folder / f"{index:04}.jpg").write_bytes(content)
        self.runner.claim(self.namespace, name, folder)
        self._sources[name] = folder
        return folder

    # Jobs -----------------------------------------------------------------------------------------

    def job(
        self, name: str, source: str, *, collection: str | None = None, **spec: Any
    ) -> Document:
        """Apply a FileProcessingJob over a claim; small and of one worker process unless the test
        says otherwise.
        """
        return self.apply(job_manifest(name, source, collection=collection, **spec))

    def apply(self, manifest: Document) -> Document:
        self.kube.apply(manifest)
        return manifest

    def get(self, name: str) -> Document:
        found = self.runner.api.get(self.path(name))
        assert found, f"there is no {name}"
        return found

    def path(self, name: str, plural: str = "fileprocessingjobs") -> str:
        """Where the API server has it."""
        return f"/apis/fpj.dev/v1alpha1/namespaces/{self.namespace}/{plural}/{name}"

    def items(self, plural: str, group: str = "api/v1") -> list[Document]:
        """All objects of a kind in the namespace."""
        return self.runner.api.items(f"/{group}/namespaces/{self.namespace}/{plural}")

    def jobs_of(self, uid: str) -> list[str]:
        """Names of the child Jobs of a resource."""
        found = self.items("jobs", "apis/batch/v1")
        return [
            each["metadata"]["name"]
            for each in found
            if each["metadata"]["labels"].get(UID_LABEL) == uid
        ]

    def pods_left(self, uid: str) -> list[str]:
        """Names of the pods of a resource, as the API server has them, that have not ended."""
        return [
            each["metadata"]["name"]
            for each in self.items("pods")
            if each["metadata"]["labels"].get(UID_LABEL) == uid
            and each["status"].get("phase") not in ("Succeeded", "Failed")
        ]

    def uid(self, name: str) -> str:
        return str(self.get(name)["metadata"]["uid"])

    def status(self, name: str) -> Document:
        return dict(self.get(name).get("status", {}))

    def have_pods_ended(self, uid: str) -> bool:
        """Those of a resource."""
        return not self.pods_left(uid)

    def phase(self, name: str) -> str:
        return str(self.status(name).get("phase", ""))

    def condition(self, name: str, kind: str) -> tuple[str, str, str]:
        """(status, reason, message)."""
        found = [each for each in self.status(name).get("conditions", []) if each["type"] == kind]
        return (
            (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else ("", "", "")
        )

    def reason(self, name: str) -> str:
        return self.condition(name, "Ready")[1]

    def wait_phase(self, name: str, *phases: str, seconds: float = 90) -> Document:
        """Wait until the job is in one of the phases; its status then."""
        found: Document = {}

        def reached() -> bool:
            found.clear()
            found.update(self.status(name))
            self.runner.check()
            return found.get("phase") in phases

        wait_for(reached, self._shown(f"{name} should be {' or '.join(phases)}"), seconds)
        return found

    def until(self, condition: Callable[[], T | None], what: str, seconds: float = 60) -> T:
        """Wait for a condition; where it does not come, everything is shown."""

        def holds() -> T | None:
            self.runner.check()
            return condition()

        return wait_for(holds, self._shown(what), seconds)

    def wait_end(self, name: str, phase: str = "Completed", seconds: float = 90) -> Document:
        """Wait until the job has ended; it must have ended in that phase."""
        status = self.wait_phase(name, *FINISHED, seconds=seconds)
        if status["phase"] != phase:
            self.show()
        assert status["phase"] == phase, status
        return status

    def wait_reason(self, name: str, reason: str, kind: str = "Ready", seconds: float = 60) -> str:
        """Wait until a condition has the reason; its message then."""
        what = self._shown(f"{kind} of {name} should be for {reason}")
        wait_for(lambda: self.condition(name, kind)[1] == reason, what, seconds)
        return self.condition(name, kind)[2]

    def wait_pod(self, name: str, role: str = "w", seconds: float = 60) -> Pod:
        """A pod of the job's present attempt that runs: of the wave(s) of shards,
        or of role `index`.
        """
        found: list[Pod] = []

        def runs() -> bool:
            self.runner.check()
            found[:] = self.pods_of(name, role, running=True)
            return bool(found)

        wait_for(runs, self._shown(f"a pod {role} of {name} runs"), seconds)
        return found[-1]

    def pods_of(self, name: str, role: str = "", *, running: bool = False) -> list[Pod]:
        """The pods of a job; those of a role only from its present attempt."""
        found = self.get(name)
        number = found.get("status", {}).get("attempt", {}).get("number", 0)
        attempt = f"a{number}-{role}" if role else ""
        return self.runner.pods(f"{name}-{found['metadata']['uid'][:8]}-{attempt}", running=running)

    def patch(self, name: str, **spec: Any) -> None:
        self.kube("patch", "fpj", name, "--type=merge", "--patch", json.dumps({"spec": spec}))

    def resume(self, name: str) -> None:
        self.kube("annotate", "fpj", name, f"fpj.dev/resume={uuid.uuid4().hex}", "--overwrite")

    def record(self, uid: str) -> Job:
        """What the store knows of the job."""
        found = self.store.get_job(uid)
        assert found
        return found

    def lease(self, collection: str) -> Document:
        """The lease of a collection; an empty one where there is none."""
        name = lease_name(f"{self.namespace}.{collection}")
        return self.runner.api.get(self.lease_path(name)) or {}

    def lease_path(self, name: str) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{name}"

    def holder(self, collection: str) -> str:
        return str(self.lease(collection).get("spec", {}).get("holderIdentity") or "")

    def is_released(self, collection: str) -> bool:
        """Whether no job holds its lease."""
        return self.holder(collection) == ""

    def events(self, name: str, reason: str = "") -> list[str]:
        """Messages of the job's events."""
        uid = self.uid(name)
        found = [
            event for event in self.items("events") if event["involvedObject"].get("uid") == uid
        ]
        return [str(event["message"]) for event in found if not reason or event["reason"] == reason]

    # The truth ------------------------------------------------------------------------------------

    def check_exact(
        self,
        name: str,
        source: str,
        *,
        completed: int,
        skipped: int = 0,
        failed: int = 0,
        tiers: int = 1,
    ) -> Document:
        """The numbers are those of the test, in the status and in the store,
        and the files are there and open.
        """
        found = self.get(name)
        status, uid = found["status"], found["metadata"]["uid"]
        progress = status["progress"]
        files = sum(1 for path in self._sources[source].rglob("*") if path.is_file())
        assert (progress["completed"], progress["skipped"], progress["failed"]) == (
            completed,
            skipped,
            failed,
        ), status
        assert progress["total"] == files == completed + skipped + failed
        record = self.record(uid)
        counts, _ = self.store.job_counts(uid, record.planned_attempt)
        whole = record.base + counts
        assert (whole.completed, whole.skipped, whole.failed) == (completed, skipped, failed)
        assert len(self.store.failures(uid, limit=1_000)) == failed
        collection = f"{self.namespace}.{found['spec']['collection'].get('id', name)}"
        recorded = {
            (ordinal, tier): (self.out / path, size)
            for ordinal, tier, _, path, size in self.store.derivative_files(
                collection, ["thumbnail", "full"]
            )
        }
        assert len(recorded) == (completed + skipped) * tiers
        for path, size in recorded.values():
            assert path.stat().st_size == size
            assert max(size_of(path)) <= 300
        assert len(json.dumps(status)) <= MOST_STATUS_BYTES
        return dict(status)


def resource(kind: str, name: str, spec: Mapping[str, Any]) -> Document:
    return {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": dict(spec),
    }


def job_manifest(name: str, source: str, *, collection: str | None = None, **spec: Any) -> Document:
    sharding = {"workersPerPod": 1, "parallelism": 2} | spec.pop("sharding", {})
    where = {"source": {"persistentVolumeClaim": {"claimName": source}}} | (
        {"id": collection} if collection else {}
    )
    given = {"jobType": "Thumbnail", "collection": where, "sharding": sharding}
    return resource("FileProcessingJob", name, given | spec)


def schedule_manifest(
    name: str = "nightly", *, source: str = "photos", collection: str = "", **spec: Any
) -> Document:
    template = {"spec": job_manifest("unused", source, collection=collection or None)["spec"]}
    return resource(
        "FileProcessingSchedule", name, {"schedule": "0 * * * *", "jobTemplate": template} | spec
    )


@contextmanager
def slowly(world: World, seconds: float) -> Iterator[None]:
    """Every image of pods that start meanwhile takes so long at least."""
    world.runner.environment |= {"PYTHONPATH": str(SLOW), "PYTHON_TEST_SLOWNESS": str(seconds)}
    try:
        yield
    finally:
        for name in ("PYTHONPATH", "PYTHON_TEST_SLOWNESS"):
            del world.runner.environment[name]


@contextmanager
def world_in(cluster: Cluster, mongodb: str, folder: Path) -> Iterator[World]:
    """A world in a namespace of its own."""
    with (
        fresh_namespace(cluster.kube) as namespace,
        World(cluster, namespace, mongodb, folder) as world,
    ):
        yield world
