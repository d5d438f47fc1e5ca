"""Generated histories: whatever happens in whatever order, wherever the operator dies, the same few things hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.operator.world import SETTINGS, World

from fpj_core import names
from fpj_core.model import Phase, ShardState
from fpj_operator.conditions import attempt_from
from fpj_operator.state import LeaseView

NAMES = ("first", "second", "third")
MOST_RECOVERIES = 2
SHARDS, IMAGES = 3, 30
ACTIVE = (Phase.INDEXING, Phase.RUNNING, Phase.RECOVERING)

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
    st.tuples(st.just("folder"), st.booleans()),
)


@dataclass
class History:
    """A world with three jobs on one collection, and what must hold in it."""

    world: World = field(default_factory=lambda: World(settings=replace(SETTINGS, max_concurrent_jobs=2)))

    def __post_init__(self) -> None:
        for number, each in enumerate(NAMES):
            self.world.add(each, recovery={"maxAttempts": MOST_RECOVERIES}, priority=number)
        self.folder = self.world.folder

    def apply(self, action: tuple[object, ...]) -> None:  # noqa: C901 - one case an action
        world = self.world
        match action:
            case "look", str(each):
                self.look(each)
            case "die", str(each), int(steps):
                self.look(each, steps)
            case "index", str(each):
                self.index(each)
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
            case "store", bool(broken):
                world.store_error = "no server answers" if broken else None
            case "folder", bool(there):
                world.folder = self.folder if there else None

    def look(self, each: str, steps: int | None = None) -> None:
        resource = self.world.resources[each]
        before, attempt = resource.phase, attempt_from(resource.status)
        resumed = bool(resource.resume) and resource.resume != attempt.resumed_by
        self.world.look(each, steps=steps)
        after = attempt_from(resource.status)
        if after.number != attempt.number:
            assert after.number == attempt.number + 1
            assert self.world.lease.held_by(resource.uid, self.world.now), "an attempt began without the lock"
            assert after.fence == self.world.lease.fence
        if before.finished and not resumed:
            assert resource.phase is before, "what is finished stays finished"
        assert resource.status.get("recoveryAttempts", 0) <= MOST_RECOVERIES
        active = [r for r in self.world.resources.values() if r.phase in ACTIVE]
        assert len(active) <= self.world.settings.max_concurrent_jobs
        if resource.phase is Phase.FAILED and steps is None:  # of a job that is done, the last pods end by themselves
            assert all(child.finished for child in resource.children.values()), "its pods would work on"

    def index(self, each: str) -> None:
        child = self.world.child(names.ROLE_INDEX, each)
        if child and not child.finished and self.world.resources[each].record:
            self.world.indexed(each, shards=SHARDS, total=IMAGES)

    def work(self, each: str, shard: int) -> None:
        resource = self.world.resources[each]
        child = self.world.child(names.ROLE_SHARDS, each)
        if child and not child.finished and resource.shards[shard] is not ShardState.SUCCEEDED:
            self.world.worked(each, shard=shard, completed=IMAGES // SHARDS)

    def calm(self) -> None:
        """Nothing goes wrong any more: every job must come to its end."""
        self.apply(("store", False))
        self.apply(("folder", True))
        self.apply(("give back",))
        for each in NAMES:
            self.apply(("suspend", each, False))
        for _ in range(40):
            self.world.now += 11
            for each in NAMES:
                self.look(each)
                self.index(each)
                for shard in range(SHARDS):
                    self.work(each, shard)
        for each in NAMES:
            resource = self.world.resources[each]
            assert resource.phase.finished, f"{each} is stuck in {resource.phase}"
            assert not resource.rights, "its workers could still report"
            if resource.phase is Phase.COMPLETED:
                assert resource.status["progress"]["completed"] == IMAGES
        assert self.world.lease.holder == "", "the lock is left behind"


@given(st.lists(ACTIONS, max_size=60))
@settings(max_examples=400, deadline=None)
def test_every_history_ends_well(actions: list[tuple[object, ...]]) -> None:
    history = History()
    for action in actions:
        history.apply(action)
    history.calm()
