"""What is done to one job: its resource is read, the rules are asked, and a change is written."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from fpj_api import audit
from fpj_api.identities import User
from fpj_api.informer import KIND
from fpj_api.models import Job, job_of
from fpj_api.problems import not_found
from fpj_api.requests import NewJob
from fpj_core.errors import FpjError
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import CHANGED_BY_ANNOTATION
from fpj_core.kube.steering import Action, may, resumption, suspension
from fpj_core.manifest import parse_resource
from fpj_core.v1alpha1 import API_VERSION

_MOST_NAME = 256


class Actions:
    """Changes of jobs, each noted with whose it is.

    What they raise becomes a problem; see `problem_of`.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def read(self, namespace: str, name: str) -> JobResource:
        """The resource as it is now. Raises a problem (404) if there is none."""
        found = await self._cluster.get(KIND, namespace, name)
        if found is None:
            raise not_found("job", namespace, name)
        return JobResource(found)

    async def create(self, user: User, namespace: str, new: NewJob) -> Job:
        """Make a job.

        Raises `ManifestError` for a spec that breaks the rules, `ClusterError` (409) for a
        namesake.
        """
        metadata = {"name": new.name, "namespace": namespace}
        manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": new.spec}
        return job_of(JobResource(await self.make(user, manifest)))

    async def make(self, user: User, manifest: Document) -> Document:
        """Make the job of a manifest. Raises as `create` does."""
        given = manifest["metadata"]
        namespace, name = given["namespace"], given["name"]
        annotations = {**given.get("annotations", {}), **changed_by(user)}
        manifest = {**manifest, "metadata": {**given, "annotations": annotations}}
        try:
            # Which takes long for what is large and wrong.
            await asyncio.to_thread(parse_resource, manifest)
            made = await self._cluster.create_once(manifest)
        except FpjError as error:
            audit.note(user, "create", namespace, name, str(error))
            raise
        audit.note(user, "create", namespace, name, "done")
        return made

    async def act(self, user: User, action: Action, namespace: str, name: str) -> Job:
        """Suspend, resume, recover or cancel."""
        try:
            job = await self.read(namespace, name)
            made = await self._change(user, action, job) if may(action, job) else None
        except Exception as error:
            audit.note(user, action, namespace, name, str(error))
            raise
        audit.note(user, action, namespace, name, "nothing to do" if made is None else "done")
        return job_of(JobResource(made or job.document))

    async def _change(self, user: User, action: Action, job: JobResource) -> Document:
        """The resource as changed."""
        if action is Action.CANCEL:
            return await self._cancel(user, job)
        change = suspension() if action is Action.SUSPEND else resumption(job, datetime.now(UTC))
        return await self._merge(user, job, change)

    async def _merge(self, user: User, job: JobResource, change: Document) -> Document:
        metadata = change.setdefault("metadata", {})
        metadata["uid"] = job.uid  # a namesake that has come since is left alone
        metadata.setdefault("annotations", {}).update(changed_by(user))
        return await self._cluster.merge(KIND, job.namespace or "", job.name, change)

    async def _cancel(self, user: User, job: JobResource) -> Document:
        """The resource as it is while it goes."""
        await self._merge(user, job, {})  # a deletion itself has no room for a name
        await self._cluster.delete(KIND, job.namespace or "", job.name, job.uid)
        left = await self._cluster.get(KIND, job.namespace or "", job.name)
        if left is not None and JobResource(left).uid == job.uid:
            return left
        gone = dict(job.document)
        gone["metadata"] = dict(gone["metadata"]) | {
            "deletionTimestamp": datetime.now(UTC).isoformat()
        }
        return gone


def changed_by(user: User) -> dict[str, str]:
    """The annotation that names who asked: printable, of `_MOST_NAME` characters at most."""
    text = "".join(
        character if character.isprintable() else " " for character in user.name[: 4 * _MOST_NAME]
    )
    return {CHANGED_BY_ANNOTATION: " ".join(text.split())[:_MOST_NAME]}
