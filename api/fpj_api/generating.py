"""Making one new job for each of many collections, planned as a whole first.

`fpj_core.kube.generation` decides; here its questions are answered and its manifests applied.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fpj_api.actions import Actions
from fpj_api.bulk import Many
from fpj_api.bulkmodels import Generate, Generated, Operation, State
from fpj_api.choosing import Chosen, Known
from fpj_api.identities import User
from fpj_api.informer import KIND
from fpj_api.lists import Lists
from fpj_api.problems import ProblemError
from fpj_core.errors import ManifestError
from fpj_core.kube.api import ALREADY_EXISTS, Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.generation import (
    Generation,
    NoTemplateError,
    Origin,
    bulk_id,
    job_name,
    request_digest,
    state_size,
)
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import BULK_REQUEST_ANNOTATION, LABEL_BULK
from fpj_core.manifest import parse_resource

_READ_AT_ONCE = 8
_READ_SECONDS = 20.0


def id_of(user: User, key: str | None) -> str:
    """Of the bulk operation that a user's key names; a new one without a key."""
    return bulk_id(f"user {user.name}", key) if key else f"bulk-{secrets.token_hex(6)}"


def digest_of(wanted: Generate) -> str:
    """The same for what asks for the same: a dry run and another order do."""
    said = wanted.model_dump(mode="json", exclude={"dry_run"}, exclude_none=True)
    if wanted.collections is not None:
        keys = {(each.namespace, each.collection) for each in wanted.collections}
        said["collections"] = sorted(keys)
    return request_digest(said)


@dataclass(frozen=True)
class Plan:
    """What is to become of one collection."""

    result: Generated
    manifest: Document | None = None
    """None where nothing is to be made."""


@dataclass(frozen=True)
class Generator:
    """One request for one bulk operation."""

    cluster: Cluster
    actions: Actions
    lists: Lists
    known: Known
    wanted: Generate
    bulk: str

    async def run(self, user: User, chosen: Sequence[Chosen]) -> Operation:
        """Plan all; then, if this is not a dry run, make what is not there."""
        there = await self._there()
        if there and self.wanted.collections is None and _is_whole(there):
            # Collections that have come since do not belong to it.
            chosen = [each for each in chosen if self._place(each) in there]
        documents = await self._read(chosen)
        plans = await asyncio.to_thread(
            lambda: [self._plan(each, documents, there) for each in chosen]
        )
        state_size([plan.manifest for plan in plans if plan.manifest is not None])
        results = [plan.result for plan in plans]
        if not self.wanted.dry_run:
            many = Many()
            results = list(await asyncio.gather(*(self._make(user, many, each) for each in plans)))
        return Operation(
            id=self.bulk,
            job_type=self.wanted.job_type,
            dry_run=self.wanted.dry_run,
            created=sum(each.state == "Created" for each in results),
            results=results,
        )

    async def _there(self) -> dict[tuple[str, str], JobResource]:
        """Jobs that earlier requests with the same key have made.

        Raises a problem (422) where those asked for something else.
        """
        found = await self.lists.labelled(KIND, f"{LABEL_BULK}={self.bulk}")
        for each in found:
            said = (each["metadata"].get("annotations") or {}).get(BULK_REQUEST_ANNOTATION)
            if said != digest_of(self.wanted):
                text = "this idempotency key belongs to another request"
                raise ProblemError(422, text, errors=[("Idempotency-Key", "choose a new one")])
        return {(job.namespace or "", job.name): job for job in map(JobResource, found)}

    async def _read(self, chosen: Sequence[Chosen]) -> dict[Origin, Document]:
        """What is copied; a job that is gone by now is left out.

        Raises `ClusterError`, or a problem (504).
        """
        needed = {
            origin
            for _, templates in chosen
            if templates is not None
            for origin in templates.needed(self.wanted.job_type)
        }
        turns = asyncio.Semaphore(_READ_AT_ONCE)

        async def read(origin: Origin) -> Document | None:
            if origin in self.known.schedules:
                return self.known.schedules[origin]
            async with turns:
                return await self.cluster.get(KIND, origin.namespace, origin.name)

        try:
            async with asyncio.timeout(_READ_SECONDS):
                found = await asyncio.gather(*map(read, needed))
        except TimeoutError:
            raise ProblemError(504, "the jobs were not read in time: choose fewer") from None
        return {
            origin: document
            for origin, document in zip(needed, found, strict=True)
            if document is not None
        }

    def _plan(
        self,
        each: Chosen,
        documents: Mapping[Origin, Document],
        there: Mapping[tuple[str, str], JobResource],
    ) -> Plan:
        key, templates = each
        exists = self._place(each) in there
        manifest, problem = (None, None) if exists else self._manifest(each, documents)
        job_type = self.wanted.job_type
        state: State = "Exists" if exists else "NotCreated" if problem else "Planned"
        result = Generated(
            namespace=key[0],
            collection=key[1],
            job=job_name(key[1], self.bulk),
            state=state,
            problem=problem,
            copied_from=templates.titles(job_type) if templates else [],
            usual=list(templates.unsaid(job_type)) if templates else [],
            active=None if exists else self.known.active.get(key),
        )
        return Plan(result, manifest)

    def _manifest(
        self, each: Chosen, documents: Mapping[Origin, Document]
    ) -> tuple[Document | None, str | None]:
        """The manifest of a collection's job, or why there is none."""
        key, templates = each
        if templates is None:
            return None, "no job or schedule names it, so nothing says where its images are"
        if gone := templates.needed(self.wanted.job_type) - documents.keys():
            names = ", ".join(sorted(origin.title for origin in gone))
            return None, f"{names} has just been deleted; try again"
        wanted = self.wanted
        generation = Generation(wanted.job_type, wanted.force, self.bulk, digest_of(wanted))
        try:
            manifest = generation.manifest(key, templates, documents)
            parse_resource(manifest)
        except (NoTemplateError, ManifestError) as error:
            return None, str(error)
        return manifest, None

    async def _make(self, user: User, many: Many, plan: Plan) -> Generated:
        """What became of it."""
        manifest, states = plan.manifest, ["Created"]
        if manifest is None:
            return plan.result

        async def make() -> None:
            try:
                await self.actions.make(user, manifest)
            except ClusterError as error:
                if error.reason != ALREADY_EXISTS or not await self._is_ours(manifest):
                    raise
                states[0] = "Exists"

        problem = await many.do(make)
        state = "NotCreated" if problem else states[0]
        return plan.result.model_copy(update={"state": state, "problem": problem})

    async def _is_ours(self, manifest: Document) -> bool:
        """Whether the namesake is the same job, made by a request that went another way."""
        given = manifest["metadata"]
        found = await self.cluster.get(KIND, given["namespace"], given["name"])
        if found is None:
            return False
        said = (found["metadata"].get("annotations") or {}).get(BULK_REQUEST_ANNOTATION)
        return JobResource(found).bulk == self.bulk and said == digest_of(self.wanted)

    def _place(self, each: Chosen) -> tuple[str, str]:
        (namespace, collection), _ = each
        return namespace, job_name(collection, self.bulk)


def _is_whole(there: Mapping[tuple[str, str], JobResource]) -> bool:
    return len(there) >= max(job.bulk_size for job in there.values())
