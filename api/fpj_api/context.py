"""What requests work with: made once, found by every route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Path, Query, Request

from fpj_api.access import Access
from fpj_api.actions import Actions
from fpj_api.cursors import MOST_CHARACTERS
from fpj_api.dryruns import DryRuns
from fpj_api.folders import Folders
from fpj_api.identities import Identities, User
from fpj_api.limits import CallLimits, StreamLimits, Underway
from fpj_api.lists import FOLDER, SCHEDULE, Lists
from fpj_api.models import Name, Namespace
from fpj_api.reviews import Reviewer
from fpj_api.settings import ApiSettings
from fpj_api.storage import Storage
from fpj_api.watched import Watched
from fpj_core.kube.api import Cluster


@dataclass(frozen=True)
class Backend:
    """``cluster`` is for requests: few tries, short limits."""

    settings: ApiSettings
    cluster: Cluster
    identities: Identities
    reviewer: Reviewer
    access: Access
    actions: Actions
    folders: Folders
    dry_runs: DryRuns
    watched: Watched
    lists: Lists
    storage: Storage
    streams: StreamLimits
    calls: CallLimits
    underway: Underway

    async def known_namespaces(self) -> frozenset[str]:
        """Those with jobs, folders or schedules, and those that are served by name."""
        found = [each for kind in (FOLDER, SCHEDULE) for each in await self.lists.all(kind)]
        named = {str(each["metadata"]["namespace"]) for each in found}
        return self.watched.table.namespaces | named | set(self.settings.namespaces)


def backend_of(
    settings: ApiSettings, cluster: Cluster, watching: Cluster, storage: Storage
) -> Backend:
    """All of it. ``watching`` is the client that lists and watches jobs."""
    identities = Identities(
        cluster, settings.audiences, settings.review_seconds, jwt_only=settings.jwt_only
    )
    reviewer = Reviewer(cluster, settings.review_seconds)
    return Backend(
        settings=settings,
        cluster=cluster,
        identities=identities,
        reviewer=reviewer,
        access=Access(reviewer, settings.namespaces, settings.review_seconds),
        actions=Actions(cluster),
        folders=Folders(cluster),
        dry_runs=DryRuns(storage),
        watched=Watched(watching, settings.namespaces),
        lists=Lists(cluster, settings.namespaces),
        storage=storage,
        streams=StreamLimits(settings.most_streams),
        calls=CallLimits(),
        underway=Underway(),
    )


def _backend(request: Request) -> Backend:
    return cast("Backend", request.app.state.backend)


def _caller(request: Request) -> User:
    """Whom the middleware has found out."""
    return cast("User", request.scope["fpj.user"])


Ask = Annotated[Backend, Depends(_backend)]
Caller = Annotated[User, Depends(_caller)]
InNamespace = Annotated[Namespace, Path(description="Namespace of the job.")]
OfJob = Annotated[Name, Path(description="Name of the job.")]
OnlyNamespace = Annotated[
    Namespace | None,
    Query(description="Only this namespace; all that the caller may see, if left out."),
]
Limit = Annotated[int, Query(ge=1, le=500, description="Items of a page.")]
Cursor = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=MOST_CHARACTERS,
        description="`next` of the page before; the first page if left out.",
    ),
]
