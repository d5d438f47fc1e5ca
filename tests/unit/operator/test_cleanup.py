"""What the chart's clean-up does with jobs that do not go: it takes our own finalizer off,
and no other.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from typing_extensions import override

from fpj_core.kube import names
from fpj_core.kube.errors import ClusterError
from fpj_operator.cleanup import clean_up

Document = dict[str, Any]


class Jobs:
    """An API server with jobs, each with finalizers; a deleted one goes with its last."""

    def __init__(self, **finalizers: list[str]) -> None:
        self.held = {
            name: {
                "metadata": {
                    "name": name,
                    "namespace": "team",
                    "uid": name,
                    "resourceVersion": "1",
                    "finalizers": f,
                }
            }
            for name, f in finalizers.items()
        }
        self.written: list[str] = []
        self.deleting: set[str] = set()
        self.conflicts = 0

    async def list(self, kind: str, _namespace: str | None, *, labels: str = "") -> list[Document]:
        return copy.deepcopy(list(self.held.values())) if kind == "FileProcessingJob" else []

    async def delete(self, _kind: str, _namespace: str, name: str, _uid: str = "") -> None:
        self.deleting.add(name)
        if not self.held[name]["metadata"]["finalizers"]:
            del self.held[name]

    async def replace(self, job: Document) -> Document | None:
        name = job["metadata"]["name"]
        if self.conflicts:
            self.conflicts -= 1
            return None
        self.written.append(name)
        self.held[name]["metadata"] |= copy.deepcopy(job["metadata"])
        if self.deleting:
            await self.delete("", "", name)
        return job


def test_our_own_finalizer_is_taken_off() -> None:
    jobs = Jobs(free=[], ours=[names.FINALIZER])
    cluster: Any = jobs
    assert asyncio.run(clean_up(cluster, ("team",), patience=0.1)) == 2
    assert jobs.held == {} and jobs.written == ["ours"]


@pytest.mark.parametrize("conflicts", [0, 2])
def test_files_stay_also_where_the_operator_sees_the_deletion_first(conflicts: int) -> None:
    jobs = Jobs(files=[names.FILES_FINALIZER], free=[])
    jobs.conflicts = conflicts
    said: list[Any] = []
    delete = jobs.delete

    async def noting(kind: str, namespace: str, name: str, uid: str = "") -> None:
        said.append(jobs.held[name]["metadata"].get("annotations", {}))
        await delete(kind, namespace, name, uid)

    cluster: Any = jobs
    cluster.delete = noting
    assert asyncio.run(clean_up(cluster, ("team",), patience=0.1)) == 2
    assert said[:2] == [{names.KEEP_FILES_ANNOTATION: "uninstalled"}, {}]
    assert jobs.held == {}


def test_a_job_that_never_stands_still_is_not_deleted_with_its_files() -> None:
    jobs = Jobs(files=[names.FILES_FINALIZER])
    jobs.conflicts = 99
    cluster: Any = jobs
    with pytest.raises(ClusterError, match="keeps being changed"):
        asyncio.run(clean_up(cluster, ("team",), patience=0.1))
    assert not jobs.deleting


def test_others_finalizers_stay_and_are_told() -> None:
    jobs = Jobs(theirs=["example.org/theirs"], both=["example.org/theirs", names.FINALIZER])
    cluster: Any = jobs
    with pytest.raises(ClusterError, match="finalizers of other controllers"):
        asyncio.run(clean_up(cluster, (), patience=0.1))
    assert [each["metadata"]["finalizers"] for each in jobs.held.values()] == [
        ["example.org/theirs"]
    ] * 2
    assert jobs.written == ["both"]


def test_leases_of_collections_go_and_the_leaders_own_stays() -> None:
    class WithLeases(Jobs):
        def __init__(self) -> None:
            super().__init__()
            self.gone: list[str] = []

        @override
        async def list(
            self, kind: str, namespace: str | None, *, labels: str = ""
        ) -> list[Document]:
            names_ = (names.MANAGER, "cache-gen-1") if kind == "Lease" else ()
            return [{"metadata": {"name": name, "namespace": "team"}} for name in names_]

        @override
        async def delete(self, kind: str, namespace: str, name: str, _uid: str = "") -> None:
            self.gone.append(name)

    jobs = WithLeases()
    cluster: Any = jobs
    asyncio.run(clean_up(cluster, ("team",), patience=0.1))
    assert jobs.gone == ["cache-gen-1"]
