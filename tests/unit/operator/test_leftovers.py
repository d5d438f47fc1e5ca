"""What ended jobs have left is found without an event, and nothing else is reconciled for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from unit.operator.leases_world import Document, run

from fpj_core.kube import names
from fpj_core.kube.errors import ClusterError
from fpj_operator.jobs.leftovers import look_for_leftovers


class Objects:
    """An API server with some objects, in pages of two; it refuses the kinds in ``refused``."""

    def __init__(self, *objects: Document) -> None:
        self.objects, self.refused, self.asked = objects, set[str](), 0

    async def pages(
        self, kind: str, namespace: str | None, labels: str, **_: Any
    ) -> AsyncIterator[list[Document]]:
        self.asked += 1
        if kind in self.refused:
            raise ClusterError(403, f"may not list {kind}")
        found = [
            each
            for each in self.objects
            if each["kind"] == kind
            and namespace in (None, each["metadata"]["namespace"])
            and labels in each["metadata"]["labels"]
        ]
        for first in range(0, len(found), 2):
            yield found[first : first + 2]


def owned(
    kind: str, job: str, *conditions: str, namespace: str = "team", **metadata: Any
) -> Document:
    owner = {"kind": "FileProcessingJob", "name": job}
    about = {"namespace": namespace, "labels": {names.LABEL_UID: job}, "ownerReferences": [owner]}
    holds = [{"type": each, "status": "True"} for each in conditions]
    return {"kind": kind, "metadata": about | metadata, "status": {"conditions": holds}}


async def found_in(objects: Any, *namespaces: str, seconds: float = 1.0) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    task = asyncio.create_task(
        look_for_leftovers(
            objects, namespaces, lambda namespace, name: found.append((namespace, name))
        )
    )
    await asyncio.sleep(seconds)
    task.cancel()
    return found


def test_owners_of_accounts_and_of_child_jobs_that_have_not_ended_are_reconciled() -> None:
    objects = Objects(
        owned("ServiceAccount", "account"),
        owned("Job", "pods-left"),
        owned("Job", "suspended", "Suspended"),
        owned("Job", "elsewhere", namespace="other"),
    )
    assert run(found_in(objects)) == [
        ("team", "account"),
        ("team", "pods-left"),
        ("team", "suspended"),
        ("other", "elsewhere"),
    ]
    assert run(found_in(objects, "other")) == [("other", "elsewhere")]


@pytest.mark.parametrize("end", ["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"])
def test_child_jobs_that_have_ended_or_are_being_deleted_are_nobodys_work(end: str) -> None:
    objects = Objects(
        owned("Job", "ended", end), owned("Job", "going", deletionTimestamp="2026-01-01T00:00:00Z")
    )
    assert run(found_in(objects)) == []


def test_it_looks_again_every_hour_and_one_refused_kind_hides_no_other() -> None:
    objects = Objects(owned("Job", "pods-left"))
    objects.refused = {"ServiceAccount"}
    assert run(found_in(objects, seconds=3_700)) == [("team", "pods-left")] * 2
    assert objects.asked == 4
