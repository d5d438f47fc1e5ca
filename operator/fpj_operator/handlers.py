"""What kopf calls.

Handlers only call; they return nothing, for what a handler returns would land in the status.
"""

from __future__ import annotations

from typing import Any

import kopf
from typing_extensions import override

from fpj_core.kube import names
from fpj_core.kube.api import configuration
from fpj_operator.folders.controller import FolderController
from fpj_operator.jobs.controller import Controller
from fpj_operator.purges.controller import PurgeController
from fpj_operator.schedules.controller import ScheduleController
from fpj_operator.settings import OperatorSettings


def register(
    registry: kopf.OperatorRegistry,
    controller: Controller,
    schedules: ScheduleController,
    folders: FolderController,
    purges: PurgeController,
    settings: OperatorSettings,
) -> None:
    """Low-level event handlers: kopf leaves no annotation and no finalizer on anything,
    and keeps no object.
    """

    @kopf.on.event(names.GROUP, names.VERSION, names.JOBS, registry=registry)
    async def job_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        schedules.job_changed(body, gone=type == "DELETED")
        if type == "DELETED":
            controller.gone(body)
        else:
            controller.changed(body)

    @kopf.on.event("batch", "v1", "jobs", labels={names.LABEL_UID: kopf.PRESENT}, registry=registry)
    async def child_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        controller.child_changed(body, gone=type == "DELETED")
        folders.child_changed(body)
        purges.child_changed(body)

    @kopf.on.event(names.GROUP, names.VERSION, names.FOLDERS, registry=registry)
    async def folder_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        controller.folder_changed(body, gone=type == "DELETED")
        if type == "DELETED":
            folders.gone(body)
        else:
            folders.changed(body)

    @kopf.on.event(names.GROUP, names.VERSION, names.SCHEDULES, registry=registry)
    async def schedule_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        if type == "DELETED":
            schedules.gone(body)
        else:
            schedules.changed(body)

    @kopf.on.event(names.GROUP, names.VERSION, names.PURGES, registry=registry)
    async def purge_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        if type == "DELETED":
            purges.gone(body)
        else:
            purges.changed(body)

    _register_settings(registry, scan=not settings.namespaces)


def _register_settings(registry: kopf.OperatorRegistry, *, scan: bool) -> None:
    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        """With the very credentials of our own requests.

        Kopf asks again when they are no longer taken.
        """
        found = await configuration()
        scheme, _space, token = (
            await found.get_api_key_with_prefix("BearerToken") or ""
        ).rpartition(" ")
        return kopf.ConnectionInfo(
            server=found.host,
            ca_path=found.ssl_ca_cert,
            insecure=not found.verify_ssl,
            certificate_path=found.cert_file,
            private_key_path=found.key_file,
            scheme=scheme or None,
            token=token or None,
        )

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)
        # To notice resources and namespaces takes rights to the whole cluster.
        settings.scanning.disabled = not scan


class _NoDiffs(kopf.DiffBaseStorage):
    """Nothing here asks what changed; kopf would copy every object at every event to find out."""

    @override
    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    @override
    def fetch(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    @override
    def store(self, **_: Any) -> None:
        return None


def _configure(settings: kopf.OperatorSettings) -> None:
    """Nothing may hang unseen: every watch ends by itself and is taken up again."""
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 120
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.posting.enabled = False  # we write our own events
    settings.watching.chunk_size = 100  # memory that a list of thousands takes is not given back
    # Other people's Jobs may be tens of thousands: a handler's own filter takes each, and then
    # drops it.
    settings.watching.label_selectors["batch", "v1", "jobs"] = names.LABEL_UID
    # An object's task keeps the last body until then. With 1 s, 2,000 listed jobs were in memory at
    # the same time, and 32 MB never came back: the heap's pages are never empty again.
    settings.queueing.idle_timeout = 0.1
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.peering.standalone = True
