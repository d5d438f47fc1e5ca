"""What may go wrong, each in a few lines.

A new one is one more function here; see docs/development/simulation.md.

A `@fate` is asked about single requests, a `@call_fate` about single calls of the store: at a rate
that the seed chooses. An `@event` happens at a moment that the seed chooses; what it breaks it
repairs later, by `world.later`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from fpj_core.errors import StoreError
from fpj_core.kube import names
from fpj_core.kube.names import lease_name
from simulation.apiserver import RefusedError, Request
from simulation.network import Fate
from simulation.storeserver import READS

if TYPE_CHECKING:
    from simulation.world import World

ApiFate = Callable[["World", Request], Fate | None]
CallFate = Callable[["World", str], Fate | None]
Event = Callable[["World"], None]

FATES: dict[str, ApiFate] = {}
CALL_FATES: dict[str, CallFate] = {}
EVENTS: dict[str, Event] = {}


def fate(function: ApiFate) -> ApiFate:
    FATES[function.__name__] = function
    return function


def call_fate(function: CallFate) -> CallFate:
    CALL_FATES[function.__name__] = function
    return function


def event(function: Event) -> Event:
    EVENTS[function.__name__] = function
    return function


# Requests to the API server -----------------------------------------------------------------------


@fate
def delayed(world: World, request: Request) -> Fate | None:
    return Fate(delay=world.dice.choice((0.3, 2.0, 8.0, 25.0)))


@fate
def answered_late(world: World, request: Request) -> Fate | None:
    return Fate(back=world.dice.choice((0.3, 2.0, 8.0, 25.0)))


@fate
def dropped(world: World, request: Request) -> Fate | None:
    return Fate(times=0)


@fate
def answer_dropped(world: World, request: Request) -> Fate | None:
    return Fate(lost=True) if request.writes else None


@fate
def repeated(world: World, request: Request) -> Fate | None:
    return Fate(times=2) if request.writes else None


@fate
def repeated_later(world: World, request: Request) -> Fate | None:
    """As by a proxy. What it may bring back is the child Job of an attempt that has ended."""
    again = request.method in ("PATCH", "PUT") and (
        request.is_status or request.kind in ("Job", "Lease")
    )
    return Fate(again=world.dice.uniform(0.0, 3.0)) if again else None


@fate
def refused(world: World, request: Request) -> Fate | None:
    code, message = world.dice.choice(
        ((500, "etcdserver: leader changed"), (503, "unavailable"), (429, "too many"))
    )
    return Fate(refusal=RefusedError(code, message), times=0) if request.method == "GET" else None


@fate
def status_applied_and_500(world: World, request: Request) -> Fate | None:
    """The API server answers a status patch with 500 after having applied it."""
    if request.is_status and request.method == "PATCH":
        return Fate(refusal=RefusedError(500, "etcdserver: request timed out"))
    return None


@fate
def conflict(world: World, request: Request) -> Fate | None:
    """A quota that others charge at the same time."""
    if request.kind == "Job" and request.content.startswith("application/apply"):
        return Fate(
            times=0,
            refusal=RefusedError(
                409, "Operation cannot be fulfilled on resourcequotas", "Conflict"
            ),
        )
    return None


@fate
def stale_list(world: World, request: Request) -> Fate | None:
    """A watch begins with it, and then gets what has happened since."""
    is_watched = request.kind in ("FileProcessingJob", "Job") and "limit" in request.query
    is_watched = is_watched and "labelSelector" not in request.query
    return (
        Fate(stale=world.dice.uniform(1.0, 30.0))
        if is_watched and request.method == "GET"
        else None
    )


# Calls of the store -------------------------------------------------------------------------------


@call_fate
def store_slow(world: World, call: str) -> Fate | None:
    return Fate(delay=world.dice.choice((0.2, 1.0, 3.0, 12.0)))


@call_fate
def store_answer_late(world: World, call: str) -> Fate | None:
    return Fate(back=world.dice.choice((0.2, 1.0, 3.0, 12.0)))


@call_fate
def store_answer_lost(world: World, call: str) -> Fate | None:
    return Fate(lost=True)


@call_fate
def store_drops(world: World, call: str) -> Fate | None:
    return Fate(times=0)


@call_fate
def flush_repeated(world: World, call: str) -> Fate | None:
    """A driver that tries a write again although it was carried out."""
    return Fate(times=2) if call == "flush" else None


@call_fate
def write_stalled(world: World, call: str) -> Fate | None:
    """Between a look and the write that rests on it much may happen."""
    return None if call.startswith(READS) else Fate(delay=world.dice.choice((3.0, 8.0, 20.0)))


DENSE = frozenset({"flush_repeated", "write_stalled"})
"""Those of few calls: of these they meet many."""


# Processes ----------------------------------------------------------------------------------------


@event
def operator_killed(world: World) -> None:
    world.dice.choice(world.replicas).kill()


@event
def leader_killed(world: World) -> None:
    for replica in world.replicas:
        if replica.process is not None and replica.process.controller is not None:
            replica.kill()
            return


@event
def operator_frozen(world: World) -> None:
    """As by SIGSTOP."""
    world.disordered = True
    process = world.dice.choice(world.replicas).process
    if process is not None:
        process.frozen_until = world.kernel.loop.now + world.dice.uniform(2.0, 40.0)


@event
def worker_killed(world: World) -> None:
    if process := world.any_pod():
        world.cluster.kill(process)


@event
def worker_frozen(world: World) -> None:
    """As by a stalled node: it knows nothing of it when it goes on."""
    world.disordered = True
    if process := world.any_pod():
        process.frozen_until = world.kernel.loop.now + world.dice.choice((5.0, 18.0, 28.0, 90.0))


@event
def worker_evicted(world: World) -> None:
    if ref := world.any_ref("Pod"):
        world.cluster.evict(ref)


@event
def worker_deleted(world: World) -> None:
    if ref := world.any_ref("Pod"):
        world.cluster.delete_pod(ref, world.dice.choice((0.0, 30.0)))


@event
def node_loses_power(world: World) -> None:
    node = world.dice.choice(world.cluster.nodes)
    world.tampered = True
    for process in [each for each in world.cluster.running.values() if each.node is node]:
        process.kill()
        world.later(world.dice.uniform(0.0, 60.0), partial(world.cluster.kill, process))
    world.disk.power_cut(node)


# The network --------------------------------------------------------------------------------------


def _cut_off(world: World, who: object, what: str, seconds: float) -> None:
    who.cut_off.add(what)  # type: ignore[attr-defined]
    world.later(seconds, lambda: who.cut_off.discard(what))  # type: ignore[attr-defined]


@event
def leader_cut_off(world: World) -> None:
    for replica in world.replicas:
        if replica.process is not None and replica.process.controller is not None:
            _cut_off(world, replica.node, "api", world.dice.choice((3.0, 20.0, 60.0)))


@event
def operator_cut_off_from_store(world: World) -> None:
    _cut_off(
        world, world.dice.choice(world.replicas).node, "store", world.dice.choice((3.0, 20.0, 60.0))
    )


@event
def node_cut_off(world: World) -> None:
    node = world.dice.choice(world.cluster.nodes)
    for what in world.dice.choice((("store",), ("api",), ("store", "api"))):
        _cut_off(world, node, what, world.dice.choice((3.0, 20.0, 60.0)))


@event
def api_server_down(world: World) -> None:
    world.network.api_down = True
    for subscription in world.api.subscriptions:
        subscription.broken = True
    world.later(
        world.dice.choice((2.0, 15.0, 60.0)), lambda: setattr(world.network, "api_down", False)
    )


@event
def watches_break(world: World) -> None:
    for subscription in world.api.subscriptions:
        subscription.broken = True


# The store ----------------------------------------------------------------------------------------


@event
def store_down(world: World) -> None:
    world.store.down = True
    world.later(world.dice.choice((2.0, 15.0, 60.0)), lambda: setattr(world.store, "down", False))


@event
def store_emptied(world: World) -> None:
    world.tampered = True
    world.store.empty()


@event
def store_copied(world: World) -> None:
    """Another server takes its place, with the same records."""
    world.store.copy()


@event
def store_saved(world: World) -> None:
    world.store.save()


@event
def store_restored(world: World) -> None:
    world.tampered = world.tampered or world.store.backup is not None
    world.store.restore()


@event
def store_loses_shards(world: World) -> None:
    """It is the same as before, but for some records of shards."""
    world.tampered = True
    world.store.lose_shards(world.dice.choice((1, 1, 3)))


@event
def lock_taken_by_a_run(world: World) -> None:
    """`fpj run` on the same store, which never asks the cluster."""
    name = lease_name(names.store_collection("team", world.dice.choice(world.collections)))
    world.thieves += 1
    holder = f"run-{world.thieves}"
    try:
        lease = world.store.checks.acquire_lease(
            name, holder, 300.0, world.kernel.wall(world.store.skew)
        )
    except StoreError:
        return
    world.later(world.dice.uniform(1.0, 30.0), lambda: world.store.real.release_lease(lease))


# Clocks -------------------------------------------------------------------------------------------


@event
def clock_jumps(world: World) -> None:
    nodes = [replica.node for replica in world.replicas] + world.cluster.nodes
    world.dice.choice(nodes).skew += world.dice.choice((-400.0, -30.0, 30.0, 400.0))


@event
def store_clock_jumps(world: World) -> None:
    world.store.skew += world.dice.choice((-5.0, 5.0, 20.0, 400.0))


# Storage ------------------------------------------------------------------------------------------


@event
def source_breaks(world: World) -> None:
    world.photos.broken = "input/output error"
    world.later(world.dice.choice((2.0, 15.0, 60.0)), lambda: setattr(world.photos, "broken", ""))


@event
def source_unmounted(world: World) -> None:
    """An empty folder is in its place for a while."""
    world.photos.unmounted = world.was_unmounted = True
    world.later(
        world.dice.choice((2.0, 15.0, 60.0)), lambda: setattr(world.photos, "unmounted", False)
    )


@event
def disk_breaks(world: World) -> None:
    world.disk.broken = world.dice.choice((errno.ENOSPC, errno.EIO, errno.EROFS))
    world.later(world.dice.choice((2.0, 15.0, 60.0)), lambda: setattr(world.disk, "broken", 0))


@event
def files_deleted(world: World) -> None:
    world.tampered = True
    for path in world.dice.sample(sorted(world.disk.files), min(2, len(world.disk.files))):
        del world.disk.files[path]
        world.deleted_files[path] = world.kernel.loop.now


# People -------------------------------------------------------------------------------------------


@event
def spec_edited(world: World) -> None:
    if ref := world.any_ref("FileProcessingJob"):
        world.tampered = True
        quality = world.dice.choice((70, 75, 90))
        world.edited(ref, lambda spec: spec["thumbnail"].update(quality=quality))


@event
def suspended_and_resumed(world: World) -> None:
    if ref := world.any_ref("FileProcessingJob"):
        world.edited(ref, lambda spec: spec.update(suspend=True))
        seconds = world.dice.uniform(0.05, world.dice.choice((0.5, 5.0, 30.0)))
        world.later(seconds, lambda: world.edited(ref, lambda spec: spec.update(suspend=False)))


@event
def recovered_on_request(world: World) -> None:
    if ref := world.any_ref("FileProcessingJob"):
        world.resumed(ref)


@event
def deleted(world: World) -> None:
    if ref := world.any_ref("FileProcessingJob"):
        world.api.remove(ref)


@event
def deleted_and_made_again(world: World) -> None:
    if ref := world.any_ref("FileProcessingJob"):
        spec = world.api.objects[ref]["spec"]
        world.api.remove(ref)
        world.create_job_later(world.dice.uniform(0.0, world.dice.choice((0.5, 5.0))), ref[2], spec)


@event
def lease_deleted(world: World) -> None:
    """Somebody deletes it by hand; who has just started knows of no leader whose Lease is not
    there.
    """
    leases = [ref for ref in world.api.objects if ref[0] == "Lease"]
    if any(not replica.knows_the_leader for replica in world.replicas):
        leases = [ref for ref in leases if ref[1] == "team"]
    if leases:
        world.api.remove(world.dice.choice(leases))


@event
def child_deleted(world: World) -> None:
    if ref := world.any_ref("Job"):
        world.api.remove(ref)


@event
def quota_on_jobs(world: World) -> None:
    def refuse(request: Request) -> RefusedError | None:
        return (
            RefusedError(403, "exceeded quota: few, requested: count/jobs.batch=1")
            if request.kind == "Job"
            else None
        )

    world.api.admit.append(refuse)
    world.later(world.dice.choice((5.0, 30.0, 100.0)), lambda: world.api.admit.remove(refuse))


@event
def no_room_for_pods(world: World) -> None:
    world.cluster.unschedulable = True
    world.later(
        world.dice.choice((5.0, 60.0, 150.0)),
        lambda: setattr(world.cluster, "unschedulable", False),
    )


@event
def image_added(world: World) -> None:
    world.photos.versions[f"new-{world.kernel.steps}.jpg"] = "v1"


@event
def image_changed(world: World) -> None:
    world.tampered = True
    key = world.dice.choice(sorted(world.photos.versions))
    world.photos.versions[key] += "+"


# The worst moments --------------------------------------------------------------------------------

OFTEN: tuple[str, ...] = (
    "worker_frozen",
    "worker_killed",
    "spec_edited",
    "suspended_and_resumed",
    "recovered_on_request",
)
OFTEN += ("deleted_and_made_again", "files_deleted", "lock_taken_by_a_run")
"""Events that come more often than others: what ends an attempt, and whoever does not notice."""

MOMENTS: tuple[str, ...] = (
    "-> Indexing",
    "-> Running",
    "-> Running",
    "-> Running",
    "-> Suspended",
    "-> Recovering",
    "-> Completed",
    "-> Failed",
)
MOMENTS += (
    "store.flush",
    "store.claim_shard",
    "store.finish_shard",
    "store.put_shards",
    "store.update_job",
)
MOMENTS += ("store.acquire_lease", "store.release_shards", "store.upsert_images")
MOMENTS += ("POST Lease", "PUT Lease", "PATCH Job", "exit ", "file ")
"""Words of the journal.

In many schedules something happens each time, or now and then, right after one of these.
"""


def at_a_moment(world: World, events: list[str]) -> Callable[[str], None]:
    """What happens then: to whoever has just done it, and one of ``events`` right after."""
    dice = world.dice
    chance, harm, soon = (
        dice.choice((0.1, 0.4, 1.0)),
        dice.choice(("", "freeze", "kill")),
        dice.choice((0.1, 1.0, 5.0)),
    )
    left = [dice.choice((1, 2, 4))]

    def happens(who: str) -> None:
        if world.calm or not left[0] or dice.random() > chance:
            return
        left[0] -= 1
        world.later(0.0, lambda: world.harmed(who, harm))
        name = dice.choice(events)
        world.later(dice.random() * soon, lambda: world.happens(name))

    return happens
