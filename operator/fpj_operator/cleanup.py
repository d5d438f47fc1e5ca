"""``python -m fpj_operator.cleanup``: delete schedules and jobs,
before the resources and the operator are removed.

Jobs with ``deletionPolicy: Delete``, and active ones of an operator of an earlier version, have a
finalizer that only an operator removes. If the operator were removed first, the deletion of such
jobs, of their namespaces and of the CustomResourceDefinition would never finish.

Their files stay: whoever uninstalls fpj has not asked for the end of what it made.
"""

from __future__ import annotations

import asyncio
import sys
import time

from fpj_core.kube import names
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import API_VERSION
from fpj_core.process.logs import log_as_json
from fpj_operator.settings import namespaces_from

_PATIENCE_SECONDS = 60.0
"""How long the operator has to stop the work; after that nothing is waited for."""
_LOOK_SECONDS = 0.5
_TRIES = 5
_JOB = "FileProcessingJob"
_SCHEDULE = "FileProcessingSchedule"


async def clean_up(
    cluster: Cluster, namespaces: tuple[str, ...], patience: float = _PATIENCE_SECONDS
) -> int:
    """Delete every schedule, job and lease of a collection in these namespaces, or in all.

    The number of jobs.

    Raises:
        ClusterError: the API server refused, or jobs are still there.
    """
    places: tuple[str | None, ...] = namespaces or (None,)
    for schedule in await _list(cluster, _SCHEDULE, places):  # or they would begin new ones
        metadata = schedule["metadata"]
        await cluster.delete(_SCHEDULE, metadata["namespace"], metadata["name"], metadata["uid"])
    jobs = await _list(cluster, _JOB, places)
    for job in jobs:
        await _keep_files(cluster, job)
        await cluster.delete(
            _JOB, job["metadata"]["namespace"], job["metadata"]["name"], job["metadata"]["uid"]
        )
    if not await _gone(cluster, places, patience):
        for job in await _list(cluster, _JOB, places):
            before = job["metadata"].get("finalizers", [])
            left = [each for each in before if each not in names.FINALIZERS]
            if left != before:
                job["metadata"]["finalizers"] = left
                await cluster.replace(job)
        if not await _gone(cluster, places, patience):
            raise ClusterError(
                0, "some jobs still exist: finalizers of other controllers keep them"
            )
    for lease in await _list(
        cluster, "Lease", places, labels="app.kubernetes.io/managed-by=" + names.MANAGER
    ):
        if lease["metadata"]["name"] != names.MANAGER:  # the leader's own, who would make it again
            await cluster.delete("Lease", lease["metadata"]["namespace"], lease["metadata"]["name"])
    return len(jobs)


async def _keep_files(cluster: Cluster, job: Document) -> None:
    """Say so in an annotation, which the operator heeds; also in a job that changes meanwhile."""
    metadata = job["metadata"]
    for _ in range(_TRIES):
        if names.FILES_FINALIZER not in metadata.get("finalizers", ()) or names.keeps_files(
            metadata
        ):
            return
        metadata["annotations"] = (metadata.get("annotations") or {}) | {
            names.KEEP_FILES_ANNOTATION: "uninstalled"
        }
        if await cluster.replace(job) is not None:
            return
        (job,) = [
            each
            for each in await _list(cluster, _JOB, (metadata["namespace"],))
            if each["metadata"]["uid"] == metadata["uid"]
        ] or [job]
        metadata = job["metadata"]
    raise ClusterError(409, f"{metadata['name']} keeps being changed by others")


async def _list(
    cluster: Cluster, kind: str, places: tuple[str | None, ...], labels: str = ""
) -> list[Document]:
    """Objects of the places; none where the kind is unknown."""
    found = []
    for place in places:
        try:
            found += await cluster.list(kind, place, labels=labels)
        except ClusterError as error:
            if error.status != 404:
                raise
    return [
        document | {"apiVersion": API_VERSION, "kind": kind} if kind == _JOB else document
        for document in found
    ]


async def _gone(cluster: Cluster, places: tuple[str | None, ...], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not await _list(cluster, _JOB, places):
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False


async def _main() -> int:
    cluster = await Cluster.connect()
    try:
        deleted = await clean_up(cluster, namespaces_from())
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        await cluster.close()
    sys.stdout.write(f"{deleted} jobs deleted\n")
    return 0


if __name__ == "__main__":
    log_as_json()
    sys.exit(asyncio.run(_main()))
