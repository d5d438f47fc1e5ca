"""Purges: what was made of some images, or of a collection, is removed at once."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from fpj_api import audit
from fpj_api.actions import changed_by
from fpj_api.context import Ask, Backend, Caller, Cursor, Limit
from fpj_api.cursors import decode, encode
from fpj_api.folders import parsed
from fpj_api.identities import User
from fpj_api.lists import PURGE
from fpj_api.models import Name, Namespace
from fpj_api.problems import not_found
from fpj_api.purgemodels import NewPurge, Purge, PurgePage, PurgePlan, purge_of
from fpj_api.purgeplans import ADVICE, purge_plan
from fpj_core.kube.names import FOLDERS, PURGES
from fpj_core.kube.records import folder_record
from fpj_core.v1alpha1 import API_VERSION

router = APIRouter(prefix="/api/v1", tags=["caches"])

_COST, _PLAN_COST = 1.0, 4.0
"""Of `CallLimits`."""
_MOST_BASE = 40
_PURGES = "/namespaces/{namespace}/cache/purges"

InNamespace = Annotated[Namespace, Path(description="Namespace of the purge.")]
OfPurge = Annotated[Name, Path(description="Name of the purge.")]
OfFolder = Annotated[
    Name | None, Query(alias="cacheFolder", description="Only of this cache folder.")
]


@router.get(_PURGES)
async def list_purges(
    ask: Ask,
    user: Caller,
    namespace: InNamespace,
    cache_folder: OfFolder = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> PurgePage:
    """Purges that are there, the newest first: each is deleted some time after its end."""
    await ask.access.require(user, "list", PURGES, namespace)
    found = [purge_of(each) for each in await ask.lists.within(PURGE, namespace)]
    chosen = [each for each in found if cache_folder in (None, each.cache_folder)]
    chosen.sort(key=_age, reverse=True)
    if cursor is not None:
        after = tuple(decode("purges", cursor, str, str))
        chosen = [each for each in chosen if _age(each) < after]
    items = chosen[:limit]
    following = encode("purges", *_age(items[-1])) if len(chosen) > limit else None
    return PurgePage(items=items, next=following)


@router.get(f"{_PURGES}/{{name}}")
async def read_purge(ask: Ask, user: Caller, namespace: InNamespace, name: OfPurge) -> Purge:
    """One purge: how it stands, and its receipt."""
    await ask.access.require(user, "get", PURGES, namespace, name)
    found = await ask.cluster.get(PURGE, namespace, name)
    if found is None:
        raise not_found("purge", namespace, name)
    return purge_of(found)


@router.post(
    _PURGES,
    status_code=201,
    responses={200: {"model": PurgePlan, "description": "A dry run: what would be removed."}},
)
async def create_purge(
    ask: Ask, user: Caller, namespace: InNamespace, wanted: NewPurge, response: Response
) -> Purge | PurgePlan:
    """Order a purge: 201 and its resource. With dryRun, 200 and what would be removed.

    Originals are never touched: while an image is in the source, the next job makes its files
    again.
    """
    await ask.access.require(user, "create", PURGES, namespace)
    ask.calls.take(user.name, _PLAN_COST if wanted.dry_run else _COST)
    folder = parsed(await ask.folders.read(namespace, wanted.cache_folder))
    if wanted.dry_run:
        # What it would remove is what the folder holds.
        await ask.access.require(user, "get", FOLDERS, namespace, wanted.cache_folder)
        response.status_code = 200
        name = folder_record(folder).name
        return await ask.dry_runs.ask(
            lambda store, on_step: purge_plan(store, namespace, name, wanted, on_step), ADVICE
        )
    made = await _order(ask, user, namespace, wanted)
    response.headers["Location"] = (
        f"{router.prefix}/namespaces/{namespace}/cache/purges/{made.name}"
    )
    return made


def _age(purge: Purge) -> tuple[str, str]:
    return purge.created_at, purge.name


async def _order(ask: Backend, user: User, namespace: str, wanted: NewPurge) -> Purge:
    name = f"{wanted.cache_folder[:_MOST_BASE].rstrip('-.')}-{secrets.token_hex(4)}"
    spec = wanted.model_dump(by_alias=True, exclude_none=True, exclude={"dry_run"})
    manifest = {
        "apiVersion": API_VERSION,
        "kind": PURGE,
        "metadata": {"name": name, "namespace": namespace, "annotations": changed_by(user)},
        "spec": spec,
    }
    what = "all" if wanted.all else f"{len(wanted.images or ())} images"
    action = f"purge {what} of {wanted.collection} from {wanted.cache_folder}"
    try:
        made = await ask.cluster.create_once(manifest)
    except Exception as error:
        audit.note(user, action, namespace, name, str(error), kind="purge")
        raise
    audit.note(user, action, namespace, name, "done", kind="purge")
    return purge_of(made)
