"""What the chart's clean-up does with jobs that do not go: it takes our own finalizer off,
and no other.
"""

from __future__ import annotations

import asyncio
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

    async def list(self, kind: str, _namespace: str | None, *, labels: str = "") -> list[Document]:
        return [dict(each) for each in self.held.values()] if kind == "FileProcessingJob" else []

    async def delete(self, _kind: str, _namespace: str, name: str, _uid: str = "") -> None:
        if not self.held[name]["metadata"]["finalizers"]:
            del self.held[name]

    async def replace(self, job: Document) -> Document:
        name = job["metadata"]["name"]
        self.written.append(name)
        self.held[name]["metadata"]["finalizers"] = job["metadata"]["finalizers"]
        await self.delete("", "", name)
        return job


def test_our_own_finalizer_is_taken_off() -> None:
    jobs = Jobs(free=[], ours=[names.FINALIZER])
    cluster: Any = jobs
    assert asyncio.run(clean_up(cluster, ("team",), patience=0.1)) == 2
    assert jobs.held == {} and jobs.written == ["ours"]


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
