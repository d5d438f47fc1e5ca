"""What is done to one cache folder: its resource is read, and a change is written that the operator
then acts upon.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fpj_api import audit
from fpj_api.actions import changed_by
from fpj_api.foldermodels import ASKED, NewPolicy
from fpj_api.identities import User
from fpj_api.lists import FOLDER
from fpj_api.problems import ProblemError, not_found
from fpj_core.errors import ManifestError
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.manifest import read_resource
from fpj_core.v1alpha1 import CacheFolder
from fpj_core.v1alpha1.cachefolder import Policy


class Folders:
    """Changes of cache folders, each noted with whose it is.

    What they raise becomes a problem; see `problem_of`.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def read(self, namespace: str, name: str) -> Document:
        """The resource as it is now. Raises a problem (404) if there is none."""
        found = await self._cluster.get(FOLDER, namespace, name)
        if found is None:
            raise not_found("cache folder", namespace, name)
        return found

    async def ask(self, user: User, operation: str, namespace: str, name: str) -> Document:
        """Ask the operator for an operation of `ASKED`: it starts when no other run is active."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        annotation, _ = ASKED[operation]
        change = {"metadata": {"annotations": {annotation: moment}}}
        return await self._change(user, operation.lower(), namespace, name, change)

    async def set_policy(
        self, user: User, namespace: str, name: str, wanted: NewPolicy
    ) -> Document:
        """Have it hold so much, by this policy; nothing of the former policy is left."""
        spec = {"maxBytes": wanted.max_bytes, "policy": replacing(wanted.policy)}
        return await self._change(user, "policy", namespace, name, {"spec": spec})

    async def _change(
        self, user: User, action: str, namespace: str, name: str, change: dict[str, Any]
    ) -> Document:
        try:
            found = await self.read(namespace, name)
            if "deletionTimestamp" in found["metadata"]:
                raise ProblemError(409, f"{name} is being deleted")
            metadata = change.setdefault("metadata", {})
            metadata["uid"] = found["metadata"]["uid"]  # a namesake that has come since stays
            metadata.setdefault("annotations", {}).update(changed_by(user))
            made = await self._cluster.merge(FOLDER, namespace, name, change)
        except Exception as error:
            audit.note(user, action, namespace, name, str(error), kind="folder")
            raise
        audit.note(user, action, namespace, name, "done", kind="folder")
        return made


def replacing(policy: Policy | None) -> dict[str, Any] | None:
    """A policy as a merge patch that leaves nothing of the one before; None for no policy."""
    if policy is None:
        return None
    given = policy.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {str(each.alias): given.get(str(each.alias)) for each in Policy.model_fields.values()}


def parsed(document: Mapping[str, Any]) -> CacheFolder:
    """The resource, understood. Raises a problem (409) for one that breaks the rules."""
    metadata = {key: document["metadata"][key] for key in ("name", "namespace", "uid")}
    said = {key: document.get(key) for key in ("apiVersion", "kind", "spec")}
    try:
        found = read_resource(said | {"metadata": metadata})
    except ManifestError as error:
        raise ProblemError(409, f"the folder's spec is invalid: {error}") from error
    if not isinstance(found, CacheFolder):
        raise AssertionError("unreachable")
    return found
