"""One cache folder: what it holds, and what can be asked for."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from fpj_api.context import Ask, Backend, Caller
from fpj_api.foldermodels import (
    EVICT,
    REPAIR,
    VERIFY,
    CleanupPlan,
    FolderDetail,
    NewPolicy,
    detail_of,
)
from fpj_api.folders import parsed
from fpj_api.identities import User
from fpj_api.models import Name, Namespace
from fpj_core.kube.documents import Document
from fpj_core.kube.names import FOLDERS, PURGES

router = APIRouter(prefix="/api/v1", tags=["caches"])

_COST, _PLAN_COST = 0.2, 4.0
"""Of `CallLimits`."""
_FOLDER = "/namespaces/{namespace}/cache/folders/{name}"

InNamespace = Annotated[Namespace, Path(description="Namespace of the cache folder.")]
OfFolder = Annotated[Name, Path(description="Name of the cache folder.")]
DryRun = Annotated[
    bool, Query(alias="dryRun", description="Say what would be removed, and do nothing.")
]


@router.get(_FOLDER)
async def read_folder(
    ask: Ask, user: Caller, namespace: InNamespace, name: OfFolder
) -> FolderDetail:
    """A cache folder with what it holds by tier and collection, its latest run and events."""
    await ask.access.require(user, "get", FOLDERS, namespace, name)
    return await _detail(ask, user, await ask.folders.read(namespace, name))


@router.post(
    f"{_FOLDER}/cleanup",
    status_code=202,
    responses={200: {"model": CleanupPlan, "description": "A dry run: what would be removed."}},
)
async def clean_up(
    ask: Ask,
    user: Caller,
    namespace: InNamespace,
    name: OfFolder,
    response: Response,
    dry_run: DryRun = False,
) -> FolderDetail | CleanupPlan:
    """Have what the policy says removed now: 202 and the folder.

    With dryRun, 200 and what that would be. It takes `get` alone, and is a 409 of the type
    `tag:fpj.dev,2026:too-large-here` for a folder of more than 200,000 files.
    """
    if not dry_run:
        return await _ask_for(ask, user, EVICT, namespace, name)
    await ask.access.require(user, "get", FOLDERS, namespace, name)
    ask.calls.take(user.name, _PLAN_COST)
    response.status_code = 200
    return await ask.dry_runs.cleanup(parsed(await ask.folders.read(namespace, name)))


@router.post(f"{_FOLDER}/verify", status_code=202)
async def verify(ask: Ask, user: Caller, namespace: InNamespace, name: OfFolder) -> FolderDetail:
    """Have the files compared with what is recorded of them. Changes nothing."""
    return await _ask_for(ask, user, VERIFY, namespace, name)


@router.post(f"{_FOLDER}/repair", status_code=202)
async def repair(ask: Ask, user: Caller, namespace: InNamespace, name: OfFolder) -> FolderDetail:
    """Have the files compared, and what differs repaired: records without a file are forgotten,
    files of fpj without a record removed.
    """
    return await _ask_for(ask, user, REPAIR, namespace, name)


@router.put(f"{_FOLDER}/policy")
async def set_policy(
    ask: Ask, user: Caller, namespace: InNamespace, name: OfFolder, wanted: NewPolicy
) -> FolderDetail:
    """Replace maxBytes and spec.policy.

    Where `managedBy` is not null, whoever keeps the manifest may undo it: change it there.
    """
    await ask.access.require(user, "patch", FOLDERS, namespace, name)
    ask.calls.take(user.name, _COST)
    return await _detail(ask, user, await ask.folders.set_policy(user, namespace, name, wanted))


async def _ask_for(
    ask: Backend, user: User, operation: str, namespace: str, name: str
) -> FolderDetail:
    await ask.access.require(user, "patch", FOLDERS, namespace, name)
    ask.calls.take(user.name, _COST)
    return await _detail(ask, user, await ask.folders.ask(user, operation, namespace, name))


async def _detail(ask: Backend, user: User, found: Document) -> FolderDetail:
    metadata = found["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    may_change, may_purge, events = await asyncio.gather(
        ask.access.allowed(user, "patch", FOLDERS, namespace, name),
        ask.access.allowed(user, "create", PURGES, namespace),
        ask.lists.events(namespace, metadata["uid"]),
    )
    return detail_of(found, events, may_change=may_change, may_purge=may_purge)
