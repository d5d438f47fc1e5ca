"""A reconcile as the controller carries it out: with a slot,
both leases and an API server that may refuse.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override
from unit.operator.leases_world import Document, Line, Server, run
from unit.operator.world import NAMESPACE, SETTINGS, World

from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import lease_name
from fpj_core.model import Phase
from fpj_core.store import open_store
from fpj_operator.jobs.controller import Controller
from fpj_operator.jobs.state import LeaseView, Observed, Plan, ReleaseLease
from fpj_operator.keys import Key

KEY = Key(NAMESPACE, "photos")
ALBUM = f"{NAMESPACE}.photos"


class Refusing(Line):
    """An API server that refuses some Leases, and keeps what is written into the status."""

    refusal: ClusterError | None = None
    status: Document | None = None
    written = 0
    versions: tuple[str | None, ...] = ()

    @override
    async def replace(self, document: Document) -> Document | None:
        if document["kind"] == "Lease" and self.refusal:
            raise self.refusal
        return await super().replace(document)

    @override
    async def create(self, manifest: Document) -> Document | None:
        if manifest["kind"] == "Lease" and self.refusal:
            raise self.refusal
        return await super().create(manifest)

    async def apply_status(
        self, kind: str, namespace: str, name: str, status: Document, uid: str, version: str | None
    ) -> Document:
        self.versions += (version,)
        self.status = copy.deepcopy(status)
        self.written += 1
        metadata = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": "7"}
        return {"kind": kind, "metadata": metadata, "spec": {}, "status": self.status}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "exceeded quota: leases, requested: count/leases.coordination.k8s.io=1"),
        (422, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no Leases today"),
        (500, 'failed calling webhook "leases.example.com": connection refused'),
    ],
)
@pytest.mark.parametrize("phase", ["Pending", "Recovering"])
def test_a_refused_lease_is_reported_and_keeps_neither_slot_nor_lock(
    tmp_path: Path, phase: str, status: int, message: str
) -> None:
    world = World()
    world.add().status = {"phase": phase, "attempt": {"number": 1}} if phase == "Recovering" else {}
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    line: Any = Refusing(Server(), "operator")
    line.refusal = ClusterError(status, message)
    controller = Controller(line, store, SETTINGS)

    async def scene() -> None:
        controller.jobs.note(
            {"metadata": {"name": "photos", "namespace": NAMESPACE, "uid": "uid-of-photos"}}
        )
        observed = replace(world.observe("photos"), lease=LeaseView(), now=time.time())
        _, plan = await controller._decide_and_act(KEY, observed)
        found = {each["type"]: each for each in line.status["conditions"]}
        assert line.status["phase"] == phase
        for name, holds in (("Progressing", "False"), ("Ready", "False"), ("Reconciling", "True")):
            assert (found[name]["status"], found[name]["reason"]) == (holds, "ChildRejected")
            assert message in found[name]["message"] and "Lease" in found[name]["message"]
        assert found["CollectionLocked"]["status"] == "False"
        assert plan.requeue_after is not None and 2 <= plan.requeue_after <= 15, (
            "nobody reports that it would pass now"
        )
        assert not controller.jobs.is_at_work(KEY), "its slot is another's"
        store.acquire_lease(lease_name(ALBUM), "another", 300.0, time.time())
        assert [each for each in line.server.held if each[0] == "Event"], "a Warning says it"

    try:
        run(scene())
    finally:
        store.close()


@pytest.mark.parametrize(
    "refusal",
    [
        ClusterError(403, "exceeded quota: leases, requested: count/leases.coordination.k8s.io=1"),
        ClusterError(
            422, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no Leases today"
        ),
        ClusterError(500, 'failed calling webhook "leases.example.com": connection refused'),
        ClusterError(429, "too many requests", retry_after=25.0),
    ],
)
def test_a_renewal_that_is_refused_is_reported_and_the_work_goes_on(
    tmp_path: Path, refusal: ClusterError
) -> None:
    world = World()
    world.add()
    world.now = time.time()
    world.settle()
    world.indexed()
    world.settle()
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    line: Any = Refusing(Server(), "operator")
    controller = Controller(line, store, SETTINGS)

    async def scene() -> None:
        key, uid = KEY, "uid-of-photos"
        await controller._leases.acquire(key, uid, ALBUM)
        line.refusal = refusal
        observed = world.observe("photos")
        soon = replace(observed.lease, expires_at=observed.now + 150)
        for _ in range(2):
            _, plan = await controller._decide_and_act(key, replace(observed, lease=soon))
            assert plan.requeue_after is not None and plan.requeue_after >= max(
                15, refusal.retry_after
            )
            observed = replace(observed, status=line.status)
        found = {each["type"]: each for each in line.status["conditions"]}
        assert (line.status["phase"], found["Progressing"]["status"]) == ("Running", "True")
        locked = found["CollectionLocked"]
        assert (locked["status"], locked["reason"]) == ("True", "ChildRejected")
        assert str(refusal) in locked["message"] and "Lease" in locked["message"]
        assert line.written == 1, "the same words are written once"
        held = store.lease(lease_name(ALBUM))
        assert held is not None and held.holder == uid and held.expires_at > time.time()
        lapsed = replace(observed.lease, expires_at=observed.now - 1)
        await controller._decide_and_act(key, replace(observed, lease=lapsed))
        found = {each["type"]: each for each in line.status["conditions"]}
        assert (found["CollectionLocked"]["status"], found["Progressing"]["status"]) == (
            "False",
            "True",
        )
        assert len([each for each in line.server.held if each[0] == "Event"]) == 1, (
            "a Warning says it once"
        )

    try:
        run(scene())
    finally:
        store.close()


def test_a_slot_goes_back_where_no_status_says_what_became_of_the_job(tmp_path: Path) -> None:
    """Neither the API server answers, nor can anything be written."""
    world = World()
    world.add()
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    line: Any = Refusing(Server(), "operator")
    controller = Controller(line, store, SETTINGS)

    async def scene() -> None:
        for name in ("photos", "next"):
            metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}"}
            controller.jobs.note({"metadata": metadata, "spec": {"collection": {"id": name}}})
        line.silent = True
        with pytest.raises(ClusterError):
            await controller._decide_and_act(
                KEY, replace(world.observe("photos"), lease=LeaseView(), now=time.time())
            )
        assert not controller.jobs.is_at_work(KEY)
        line.silent = False
        await controller._leases.acquire(Key(NAMESPACE, "thief"), "uid-of-thief", ALBUM)
        await controller._decide_and_act(
            KEY, replace(world.observe("photos"), lease=LeaseView(), now=time.time())
        )
        assert not controller.jobs.is_at_work(KEY) and "thief" in str(line.status), (
            "the collection is somebody else's"
        )
        assert controller.jobs.others_pending(NAMESPACE) == [KEY], "and it does not wait for a slot"

    try:
        run(scene())
    finally:
        store.close()


@pytest.mark.parametrize("version", ["41", ""])
def test_a_status_is_written_upon_what_was_read(tmp_path: Path, version: str) -> None:
    world = World()
    world.add()
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    line: Any = Refusing(Server(), "operator")
    controller = Controller(line, store, SETTINGS)

    async def scene() -> None:
        observed = replace(
            world.observe("photos"), folder=None, folder_problem="none", version=version
        )
        await controller._decide_and_act(KEY, observed)
        assert line.versions == (version or None,)

    try:
        run(scene())
    finally:
        store.close()


def test_a_lease_that_can_never_be_taken_fails_the_job(tmp_path: Path) -> None:
    world = World()
    world.add()
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    line: Any = Refusing(Server(), "operator")
    line.refusal = ClusterError(422, "Lease is invalid: spec.leaseDurationSeconds: Invalid value")
    controller = Controller(line, store, SETTINGS)

    async def scene() -> None:
        controller.jobs.note(
            {"metadata": {"name": "photos", "namespace": NAMESPACE, "uid": "uid-of-photos"}}
        )
        await controller._decide_and_act(
            KEY, replace(world.observe("photos"), lease=LeaseView(), now=time.time())
        )
        assert line.status["phase"] == "Failed"

    try:
        run(scene())
    finally:
        store.close()


def test_of_known_jobs_that_hold_a_lease_only_those_that_have_finished_are_reconciled() -> None:
    unused: Any = None
    controller = Controller(unused, unused, SETTINGS)
    for phase in Phase:
        metadata = {"name": phase.value, "namespace": NAMESPACE, "uid": phase.value}
        controller.jobs.note({"metadata": metadata, "status": {"phase": phase.value}})
        controller.holds_lease(Key(NAMESPACE, phase.value))
    controller.holds_lease(Key(NAMESPACE, "unknown"))
    assert controller.work.depth == sum(phase.finished for phase in Phase)


class Seen:
    """A controller whose next look finds this, and what it does with it."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *outcomes: Plan | Exception, ending: bool = False
    ) -> None:
        self.world = World()
        self.world.add()
        self.looks = 0
        self.deleted: list[str] = []
        unused: Any = None
        self.controller = Controller(unused, unused, SETTINGS)
        self._outcomes = list(outcomes)
        self._ending = ending
        there: Any = self
        self.controller._cluster = self.controller._namespaces = there
        monkeypatch.setattr("fpj_operator.jobs.controller.observe", self._observe)
        monkeypatch.setattr(self.controller, "_decide_and_act", self._act)

    async def _observe(self, *_: Any) -> Observed:
        self.looks += 1
        return self.world.observe("photos")

    async def _act(self, _key: Key, observed: Observed) -> tuple[Observed, Plan]:
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return observed, outcome

    async def is_ending(self, _namespace: str) -> bool:
        return self._ending

    async def delete(self, kind: str, _namespace: str, _name: str, uid: str) -> None:
        self.deleted += [kind, uid]


def test_a_job_that_changed_since_it_was_read_is_looked_at_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conflict = ClusterError(409, "the object has been modified", reason="Conflict")
    seen = Seen(monkeypatch, conflict, conflict, Plan(requeue_after=7.0))
    assert run(seen.controller._reconcile(KEY)) == 7.0 and seen.looks == 3
    with pytest.raises(ClusterError):
        run(Seen(monkeypatch, *[conflict] * 5).controller._reconcile(KEY))
    with pytest.raises(ClusterError):
        run(
            Seen(
                monkeypatch, ClusterError(403, "forbidden", reason="Forbidden")
            ).controller._reconcile(KEY)
        )


def test_a_job_whose_pods_would_hold_up_the_end_of_a_namespace_goes_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Seen(monkeypatch, ending=True)
    seen.world.resources["photos"].status = {"phase": "Running", "attempt": {"number": 1}}
    assert run(seen.controller._reconcile(KEY)) is None
    assert seen.deleted == ["FileProcessingJob", "uid-of-photos"]


def test_a_late_answer_that_a_job_is_gone_is_not_about_its_namesake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was deleted and made again while the API server was asked.

    Forgotten, it would wait for a slot forever.
    """
    seen = Seen(monkeypatch, Plan(requeue_after=7.0))
    jobs, looks = seen.controller.jobs, 0

    def noted(uid: str) -> None:
        jobs.note(
            {
                "metadata": {"name": "photos", "namespace": NAMESPACE, "uid": uid},
                "spec": {"collection": {}},
            }
        )

    async def gone_and_made_again(*_: Any) -> Observed | None:
        nonlocal looks
        looks += 1
        if looks > 1:
            return seen.world.observe("photos")
        jobs.forget(KEY, "uid-of-photos")
        noted("uid-of-another")
        return None

    noted("uid-of-photos")
    monkeypatch.setattr("fpj_operator.jobs.controller.observe", gone_and_made_again)
    assert run(seen.controller._reconcile(KEY)) == 7.0
    assert jobs.uid_of(KEY) == "uid-of-another"
    assert jobs.place(KEY) == (True, 0)


def test_whoever_waits_for_a_lock_is_woken_when_it_is_given_back() -> None:
    unused: Any = None
    controller = Controller(unused, unused, SETTINGS)
    for name, phase in (("photos", "Completed"), ("next", "Pending")):
        metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}"}
        spec = {"collection": {"id": "album"}}
        controller.jobs.note({"metadata": metadata, "spec": spec, "status": {"phase": phase}})
    world = World()
    world.add()
    for plan, woken in ((Plan(), 0), (Plan(steps_after=(ReleaseLease(),)), 1)):
        controller._settle(KEY, world.observe("photos"), plan)
        assert controller.work.depth == woken


def test_a_plan_that_failed_leaves_no_event_unseen() -> None:
    unused: Any = None
    controller = Controller(unused, unused, SETTINGS)
    world = World()
    world.add()
    observed = world.observe("photos")

    class Failing:
        async def carry_out(self, *_: Any) -> None:
            raise ClusterError(500, "etcd is away")

    failing: Any = Failing()
    controller._executor = failing
    with pytest.raises(ClusterError):
        run(controller._carry_out(observed, Plan()))
    assert KEY not in controller._looked_at


@pytest.mark.parametrize(("ttl", "settled"), [(None, True), (60, False)])
def test_a_finished_job_whose_time_to_live_runs_is_looked_at_after_a_restart(
    ttl: int | None, settled: bool
) -> None:
    unused: Any = None
    controller = Controller(unused, unused, SETTINGS)
    metadata = {"name": "photos", "namespace": NAMESPACE, "uid": "u", "generation": 1}
    status = {"phase": "Completed", "observedGeneration": 1}
    controller.changed(
        {"metadata": metadata, "spec": {"ttlSecondsAfterFinished": ttl}, "status": status}
    )
    assert controller.work.depth == (0 if settled else 1)
