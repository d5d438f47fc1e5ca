"""Caches, schedules, and the namespaces that the caller may see."""

from __future__ import annotations

from fastapi import APIRouter

from fpj_api.cachemodels import (
    FolderPage,
    NamespaceRights,
    Namespaces,
    SchedulePage,
    StatisticsPage,
    folder_of,
    schedule_of,
    statistics_of,
)
from fpj_api.context import Ask, Caller, Cursor, Limit, OnlyNamespace
from fpj_api.cursors import page
from fpj_api.lists import FOLDER, SCHEDULE
from fpj_core.kube.names import FOLDERS, SCHEDULES

router = APIRouter(prefix="/api/v1", tags=["caches"])


@router.get("/cache/folders")
async def list_folders(
    ask: Ask,
    user: Caller,
    namespace: OnlyNamespace = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> FolderPage:
    """Cache folders with what they hold, by namespace and name."""
    found = [folder_of(each) for each in await ask.lists.all(FOLDER)]
    shown = await ask.access.shown(user, FOLDERS, namespace, (each.namespace for each in found))
    chosen = [each for each in found if each.namespace in shown]
    items, following = page(
        chosen, "folders", lambda each: (each.namespace, each.name), limit, cursor, 2
    )
    return FolderPage(items=items, next=following)


@router.get("/cache/statistics")
async def list_statistics(
    ask: Ask,
    user: Caller,
    namespace: OnlyNamespace = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> StatisticsPage:
    """What there is of each collection: images, source bytes, files and bytes by tier.

    Some seconds old at most.
    """
    if namespace is not None:
        await ask.access.require(user, "list", FOLDERS, namespace)
    elif not await ask.access.sees_any(user, FOLDERS, await ask.known_namespaces()):
        # The store is not asked for somebody who may see nothing of it.
        return StatisticsPage(items=[], next=None)
    found = [statistics_of(each) for each in await ask.storage.statistics(namespace)]
    shown = await ask.access.shown(user, FOLDERS, namespace, (each.namespace for each in found))
    chosen = [each for each in found if each.namespace in shown]
    items, following = page(
        chosen, "statistics", lambda each: (each.namespace, each.collection), limit, cursor, 2
    )
    return StatisticsPage(items=items, next=following)


@router.get("/schedules")
async def list_schedules(
    ask: Ask,
    user: Caller,
    namespace: OnlyNamespace = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> SchedulePage:
    """Schedules with their next and last runs, by namespace and name."""
    found = [schedule_of(each) for each in await ask.lists.all(SCHEDULE)]
    shown = await ask.access.shown(user, SCHEDULES, namespace, (each.namespace for each in found))
    chosen = [each for each in found if each.namespace in shown]
    items, following = page(
        chosen, "schedules", lambda each: (each.namespace, each.name), limit, cursor, 2
    )
    return SchedulePage(items=items, next=following)


@router.get("/namespaces")
async def list_namespaces(ask: Ask, user: Caller) -> Namespaces:
    """The namespaces with jobs, folders or schedules in which the caller may see jobs,
    and what they may do there.
    """
    verbs = await ask.access.verbs(user, await ask.known_namespaces())
    items = [NamespaceRights(name=name, verbs=allowed) for name, allowed in verbs.items()]
    return Namespaces(items=items, user=user.name)
