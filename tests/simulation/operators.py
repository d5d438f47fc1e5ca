"""Operator processes: the real election, controller and clean-up,
and watches in the place of kopf's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fpj_core.kube import names
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_operator.election import REQUEST, Election
from fpj_operator.folders.controller import FolderController
from fpj_operator.jobs.controller import Controller
from fpj_operator.jobs.leftovers import look_for_leftovers
from fpj_operator.main import _sweep
from simulation.apiserver import Request, Subscription
from simulation.kernel import Node, Process, _uuid4
from simulation.network import ApiClient, StoreClient

if TYPE_CHECKING:
    from simulation.world import World

_OWN_NAMESPACE = "fpj-system"


class OperatorProcess(Process):
    """One replica's process, from its start until it is killed or ends."""

    election: Election
    controller: Controller | None = None
    folders: FolderController | None = None
    subscriptions: list[Subscription]
    has_heard_of_leader: bool = False
    """Whether the API server has ever reported one to it."""

    def heard(self, request: Request, status: int) -> None:
        if request.kind == "Lease" and request.namespace == _OWN_NAMESPACE and status in (200, 409):
            self.has_heard_of_leader = True


class Replica:
    """A pod of the operator: its process is started again whenever it ends."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.node = Node(f"operator-node-{number}")
        self.number = number
        self.starts = 0
        self.process: OperatorProcess | None = None
        self.start()

    @property
    def knows_the_leader(self) -> bool:
        """Whether it has heard of the leader's Lease; one that starts later will not have."""
        return self.process is not None and self.process.has_heard_of_leader

    def start(self) -> None:
        """A process; not while the leader's Lease is deleted,
        of which one that starts then cannot know.
        """
        deleted = self.world.api.get("Lease", _OWN_NAMESPACE, "fpj-operator") is None
        if deleted and self.world.checks.leaders():
            self.world.kernel.later(1.0, self.start)
            return
        self.starts += 1
        process = OperatorProcess(
            self.world.kernel, f"operator-{self.number}.{self.starts}", self.node
        )
        process.subscriptions = []
        voting = _client(
            self.world, process, tries=1, timeout=self.world.settings.leader_seconds * REQUEST
        )
        identity = f"{process.name}-{_uuid4().hex[:8]}"
        process.election = Election(
            voting, _OWN_NAMESPACE, identity, self.world.settings.leader_seconds
        )
        self.process = process
        task = process.spawn(_main(self.world, process))
        task.add_done_callback(lambda ended: self._ended(process, ended))

    def kill(self) -> None:
        if self.process is not None:
            self._end(self.process, "killed")

    def _ended(self, process: OperatorProcess, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, ClusterError):
                self._end(process, str(error))
                return
            self.world.kernel.fail(error)
        self._end(process, "ended")

    def _end(self, process: OperatorProcess, how: str) -> None:
        if process.dead:
            return
        self.world.kernel.note(process.name, how)
        process.kill()
        for subscription in process.subscriptions:
            subscription.broken = True
        self.process = None
        self.world.kernel.later(self.world.kernel.dice.uniform(1.0, 5.0), self.start)


def _client(world: World, process: OperatorProcess, **options: Any) -> Cluster:
    return Cluster(ApiClient(world.network, process, process.heard), **options)  # type: ignore[arg-type]


async def _main(world: World, process: OperatorProcess) -> None:
    """As `fpj_operator.main`, without kopf, ports and signals."""
    settings = world.settings
    election = process.election
    await election.win()
    world.kernel.note(process.name, "leads")
    world.checks.leaders()
    cluster = _client(world, process, may_write=lambda: election.leads)
    store: Any = StoreClient(world.network, process)
    controller = process.controller = Controller(cluster, store, settings)
    folders = FolderController(cluster, store, controller.health, settings)
    looked_after: list[Coroutine[Any, Any, None]] = []
    if world.checks_folders:
        process.folders = folders
        controller.when_folder_used(folders.used)
        looked_after.append(folders.work.run())
    work = [
        controller.work.run(),
        controller.watch_active(),
        controller.vanished.work.run(),
        controller.vanished.sweep((), 4 * settings.check_seconds),
        election.hold(),
        look_for_leftovers(cluster, (), controller.tick),
        _sweep(controller),
        controller.health.watch(),
        _watch(world, process, cluster, "FileProcessingJob", _job_event(controller)),
        _watch(world, process, cluster, "Job", _child_event(controller, folders)),
        _watch(world, process, cluster, "CacheFolder", _folder_event(controller, folders)),
        *looked_after,
    ]
    tasks = [asyncio.ensure_future(each) for each in work]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def _job_event(controller: Controller) -> Callable[[str, Document], None]:
    def take(what: str, body: Document) -> None:
        if what == "DELETED":
            controller.gone(body)
        else:
            controller.changed(body)

    return take


def _child_event(
    controller: Controller, folders: FolderController
) -> Callable[[str, Document], None]:
    def take(what: str, body: Document) -> None:
        if names.LABEL_UID in (body["metadata"].get("labels") or {}):
            controller.child_changed(body, gone=what == "DELETED")
            folders.child_changed(body)

    return take


def _folder_event(
    controller: Controller, folders: FolderController
) -> Callable[[str, Document], None]:
    def take(what: str, body: Document) -> None:
        controller.folder_changed(body, gone=what == "DELETED")
        if what == "DELETED":
            folders.gone(body)
        else:
            folders.changed(body)

    return take


class _Watch:
    """As kopf watches: list, then events.

    What was deleted between a watch and the next list is never reported.
    """

    def __init__(
        self,
        world: World,
        process: OperatorProcess,
        kind: str,
        take: Callable[[str, Document], None],
    ) -> None:
        self._world, self._process, self._kind, self._take = world, process, kind, take
        self._early: list[tuple[str, Document]] | None = None
        dice = world.kernel.dice
        self._subscription = Subscription(
            kind, self._taken, lambda: dice.random() * world.watch_delay
        )

    async def run(self, cluster: Cluster) -> None:
        """Until it breaks."""
        subscription = self._subscription
        self._process.subscriptions.append(subscription)
        self._world.api.watch(subscription)
        with contextlib.suppress(ClusterError):
            await self._list(cluster)
            while not subscription.broken:
                await asyncio.sleep(5.0)
                subscription.broken = subscription.broken or self._process.is_cut_off("api")
        subscription.broken = True
        self._process.subscriptions.remove(subscription)
        self._world.api.subscriptions.remove(subscription)
        self._world.kernel.note(self._process.name, f"the watch of {self._kind} ended")

    async def _list(self, cluster: Cluster) -> None:
        """What there is, by then or at some earlier moment; and what has happened since that."""
        self._early = []
        listed = await cluster.page(self._kind, None, limit=10_000)
        for body in listed["items"]:
            self._take("LISTED", body)
        since = self._world.api.since(self._kind, int(listed["metadata"]["resourceVersion"]))
        sent = {body["metadata"]["resourceVersion"] for _, body in since}
        early = [each for each in self._early if each[1]["metadata"]["resourceVersion"] not in sent]
        for what, body in (*since, *early):
            self._take(what, body)
        self._early = None

    def _taken(self, what: str, body: Document) -> None:
        if self._process.dead:
            return
        if self._early is not None:
            self._early.append((what, body))
        elif self._process.is_cut_off("api"):
            self._subscription.broken = True
        else:
            self._take(what, body)


async def _watch(
    world: World,
    process: OperatorProcess,
    cluster: Cluster,
    kind: str,
    take: Callable[[str, Document], None],
) -> None:
    while True:
        await _Watch(world, process, kind, take).run(cluster)
        await asyncio.sleep(world.kernel.dice.uniform(0.1, 2.0))
