"""Generated histories: whatever happens in whatever order, wherever the operator dies,
the same few things hold.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit.operator.world import SETTINGS, Database, Resource, World

from fpj_core.kube import names
from fpj_core.model import Format, Phase, ShardState
from fpj_core.v1alpha1.job import Thumbnail
from fpj_operator.jobs.conditions import attempt_from
from fpj_operator.jobs.queue import takes_slot
from fpj_operator.jobs.state import LeaseView, Rejected

NAMES = ("first", "second", "third")
MOST_RECOVERIES = 2
SHARDS, IMAGES = 3, 30
PENDING = ShardState.PENDING
DONE = (Phase.COMPLETED, Phase.COMPLETED_WITH_ERRORS)


def _losses(name: st.SearchStrategy[str]) -> list[st.SearchStrategy[tuple[object, ...]]]:
    """Records are lost, replaced, restored; the spec is edited."""
    return [
        st.tuples(st.just("empty the store")),
        st.tuples(st.just("swap stores")),
        st.tuples(st.just("back up the store")),
        st.tuples(st.just("restore the store")),
        st.tuples(st.just("back up the status"), name),
        st.tuples(st.just("restore the status"), name),
        st.tuples(st.just("edit"), name, st.sampled_from(["jpeg", "webp", "avif"])),
    ]


name = st.sampled_from(NAMES)
ACTIONS = st.one_of(
    st.tuples(st.just("look"), name),
    st.tuples(st.just("die"), name, st.integers(0, 8)),
    st.tuples(st.just("index"), name),
    st.tuples(st.just("work"), name, st.integers(0, SHARDS - 1)),
    st.tuples(st.just("end"), name, st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 50.0, 400.0, 900.0])),
    st.tuples(st.just("suspend"), name, st.booleans()),
    st.tuples(st.just("resume"), name, st.integers(0, 3)),
    st.tuples(st.just("steal")),
    st.tuples(st.just("give back")),
    st.tuples(st.just("store"), st.booleans()),
    st.tuples(
        st.just("trouble"),
        name,
        st.sampled_from(["", "PodsUnschedulable", "HeldByQueue", "WorkerFailed"]),
    ),
    st.tuples(st.just("reject"), st.sampled_from([0, 403, 500])),
    st.tuples(st.just("folder"), st.booleans()),
    *_losses(name),
)
ONE = st.just(NAMES[-1])
LOSSES = st.one_of(
    st.tuples(st.just("advance"), ONE),
    st.tuples(st.just("advance"), ONE),
    st.tuples(st.just("look"), ONE),
    st.tuples(st.just("die"), ONE, st.integers(0, 8)),
    st.tuples(st.just("suspend"), ONE, st.booleans()),
    st.tuples(st.just("resume"), ONE, st.integers(0, 3)),
    *_losses(ONE),
)
"""What may happen to the records of one job that gets on well otherwise."""


@dataclass
class History:
    """A world with three jobs on one collection, and what must hold in it."""

    world: World = field(
        default_factory=lambda: World(settings=replace(SETTINGS, max_concurrent_jobs=2))
    )

    names: tuple[str, ...] = NAMES

    def __post_init__(self) -> None:
        for number, each in enumerate(self.names):
            self.world.add(each, recovery={"maxAttempts": MOST_RECOVERIES}, priority=number)
        self.folder = self.world.folder
        self.other = Database("store-of-somebody-else")
        self.backup = self.world.backup()
        self.statuses: dict[str, dict[str, Any]] = {}
        self.replaced: dict[str, int] = {}
        """By job, the attempt that it was in when its store was last replaced by another, or by
        itself of another time.
        """

    def apply(self, action: tuple[object, ...]) -> None:  # noqa: C901 - one case an action
        world = self.world
        match action:
            case "look", str(each):
                self.look(each)
            case "die", str(each), int(steps):
                self.look(each, steps)
            case "index", str(each):
                self.index(each)
            case "advance", str(each):
                self.look(each)
                self.index(each)
                self.look(each)
                self.work(
                    each,
                    next(
                        (n for n, s in enumerate(world.resources[each].shards) if s is PENDING), 0
                    ),
                )
            case "work", str(each), int(shard):
                self.work(each, shard)
            case "end", str(each), bool(failed):
                if world.child(names.ROLE_SHARDS, each):
                    world.ended(each, failed=failed)
            case "wait", float(seconds):
                world.now += seconds
            case "suspend", str(each), bool(suspend):
                resource = world.resources[each]
                spec = resource.job.spec.model_copy(update={"suspend": suspend})
                resource.job = resource.job.model_copy(update={"spec": spec})
            case "resume", str(each), int(value):
                world.resources[each].resume = str(value or "")
            case ("steal",):
                world.lease = LeaseView("thief", "thief", world.lease.fence + 1, world.now + 500)
            case ("give back",):
                if world.lease.holder == "thief":
                    world.lease = LeaseView("", "", world.lease.fence, 0.0)
            case "trouble", str(each), str(reason):
                children = world.resources[each].children
                for child in [c for c in children.values() if not c.finished and not c.suspended]:
                    children[child.name] = replace(
                        child, trouble=(reason, "not yet") if reason else None
                    )
            case "reject", int(status):
                world.refusal = lambda manifest: (
                    Rejected(
                        manifest["kind"], manifest["metadata"]["name"], status, "exceeded quota"
                    )
                    if status
                    else None
                )
            case "store", bool(broken):
                world.store_error = "no server answers" if broken else None
            case "folder", bool(there):
                world.folder = self.folder if there else None
            case "edit", str(each), str(form):
                world.resources[each].edit(thumbnail=Thumbnail(format=Format(form)))
            case str(what), *of:
                self.lose(what, *of)

    def lose(self, what: str, each: object = "") -> None:
        """Records are lost, or come back, in store or status."""
        world = self.world
        if not what.endswith("the status"):
            self.replaced = {
                name: attempt_from(resource.status).number
                for name, resource in world.resources.items()
            }
        match what:
            case "empty the store":
                world.another_store()
            case "swap stores":
                world.database, self.other = self.other, world.database
            case "back up the store":
                self.backup = world.backup()
            case "restore the store":
                world.database = copy.deepcopy(self.backup)
            case "back up the status":
                self.statuses[str(each)] = copy.deepcopy(world.resources[str(each)].status)
            case "restore the status":
                resource = world.resources[str(each)]
                resource.status = copy.deepcopy(self.statuses.get(str(each), resource.status))

    def look(self, each: str, steps: int | None = None) -> None:
        resource = self.world.resources[each]
        before, attempt = resource.phase(), attempt_from(resource.status)
        resumed = bool(resource.resume) and resource.resume != attempt.resumed_by
        self.world.look(each, steps=steps)
        after = attempt_from(resource.status)
        if after.number != attempt.number:
            assert after.number > attempt.number
            assert self.world.lease.held_by(resource.uid, self.world.now), (
                "an attempt began without the lock"
            )
            assert after.fence == self.world.lease.fence
            assert after.fence > attempt.fence, "pods of the attempt before are not fenced"
        if before.finished and not resumed:
            assert resource.phase() is before, "what is finished stays finished"
        if resource.phase() in DONE and not before.finished:
            self.check_done(resource)
        assert resource.status.get("recoveryAttempts", 0) <= MOST_RECOVERIES
        active = [r for r in self.world.resources.values() if takes_slot(r.status)]
        assert len(active) <= self.world.settings.max_concurrent_jobs
        # Of a job that is done, the last pods end by themselves.
        if resource.phase() is Phase.FAILED and steps is None:
            assert all(child.finished for child in resource.children.values()), (
                "its pods would work on"
            )

    def check_done(self, resource: Resource) -> None:
        """Completed: every planned image is accounted for, in the store that the job began in,
        by the spec of now.
        """
        attempt, records = attempt_from(resource.status), self.world.database.of(resource.uid)
        assert records.job is not None, "no record"
        assert records.job.planned_attempt == attempt.number, "another attempt's plan"
        assert records.shards == [ShardState.SUCCEEDED] * SHARDS, "shards are left"
        assert (records.job.base + records.counts).done == records.job.total == IMAGES, (
            "images are left"
        )
        assert self.world.database.identity == attempt.store_id, "another store"
        assert resource.status["progress"]["total"] == attempt.planned_images == IMAGES
        assert resource.status["observedGeneration"] == resource.generation
        thumbnail = resource.job.spec.thumbnail
        wanted = thumbnail.format.value if thumbnail and thumbnail.format else "jpeg"
        for child in resource.children.values():
            if child.attempt == attempt.number:
                sent = resource.tasks[child.name]["job"]["spec"].get("thumbnail", {})
                assert sent.get("format", "jpeg") == wanted, "by another spec"

    def index(self, each: str) -> None:
        """The index pod does its work; a store that was replaced meanwhile may know its fence no
        longer, and then refuses all that it writes.
        """
        child, resource = self.world.child(names.ROLE_INDEX, each), self.world.resources[each]
        if not child or child.finished or not resource.record:
            return
        attempt = attempt_from(resource.status)
        is_replaced = self.replaced.get(each) == attempt.number
        if is_replaced and attempt.fence != self.world.database.fence:
            refused = ("Fenced", "the lock was taken over")
            resource.children[child.name] = replace(child, failed=True, active=0, trouble=refused)
        else:
            self.world.indexed(each, shards=SHARDS, total=IMAGES)

    def work(self, each: str, shard: int) -> None:
        resource = self.world.resources[each]
        child = self.world.child(names.ROLE_SHARDS, each)
        planned = (
            resource.record
            and resource.record.planned_attempt == attempt_from(resource.status).number
        )
        if (
            child
            and not child.finished
            and planned
            and resource.shards[shard] is not ShardState.SUCCEEDED
        ):
            self.world.worked(each, shard=shard, completed=IMAGES // SHARDS)

    def calm(self) -> None:
        """Nothing goes wrong any more: every job must come to its end."""
        self.apply(("store", False))
        self.apply(("folder", True))
        self.apply(("give back",))
        self.apply(("reject", 0))
        for each in self.names:
            self.apply(("trouble", each, ""))
        for each in self.names:
            self.apply(("suspend", each, False))
        for _ in range(40):
            self.world.now += 11
            for each in self.names:
                self.look(each)
                self.index(each)
                for shard in range(SHARDS):
                    self.work(each, shard)
            if self.world.lease.holder == "" and all(
                r.phase().finished for r in self.world.resources.values()
            ):
                break
        for each in self.names:
            resource = self.world.resources[each]
            assert resource.phase().finished, f"{each} is stuck in {resource.phase()}"
            assert not resource.rights, "its workers could still report"
            if resource.phase() is Phase.COMPLETED:
                assert resource.status["progress"]["completed"] == IMAGES
        assert self.world.lease.holder == "", "the lock is left behind"


@given(st.lists(ACTIONS, max_size=60))
@settings(max_examples=200, deadline=None)
def test_every_history_ends_well(actions: list[tuple[object, ...]]) -> None:
    history = History()
    for action in actions:
        history.apply(action)
    history.calm()


@given(st.lists(LOSSES, max_size=30))
@settings(max_examples=250, deadline=None)
@example([("look", NAMES[-1]), ("restore the store",), ("die", NAMES[-1], 1)])
@example(
    [
        *[("advance", NAMES[-1]), ("empty the store",)] * 3,
        ("die", NAMES[-1], 1),
        ("advance", NAMES[-1]),
    ]
)
@example(
    [
        ("advance", NAMES[-1]),
        ("swap stores",),
        ("restore the store",),
        ("advance", NAMES[-1]),
        ("swap stores",),
    ]
)
def test_nothing_that_is_lost_or_edited_counts_as_done(actions: list[tuple[object, ...]]) -> None:
    history = History(names=(NAMES[-1],))
    for action in actions:
        history.apply(action)
    history.calm()
