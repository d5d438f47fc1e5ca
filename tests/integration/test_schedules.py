"""Schedules on a real API server: with a clock set by the test,
and with the operator as it runs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from podrunner import Api
from waiting import wait_for
from world import World, schedule_manifest, world_in

from fpj_cluster import Cluster, Kube, KubectlError
from fpj_core.formatting import moment
from fpj_core.kube.api import Cluster as ApiServer
from fpj_operator.keys import Key
from fpj_operator.schedules.controller import ScheduleController

pytestmark = pytest.mark.timeout(300)

Document = dict[str, Any]
HOUR = 3600.0


# With a clock of the test's own -------------------------------------------------------------------


class Place:
    """A namespace with schedules, looked at when and as often as the test wants."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.namespace = namespace
        self.kube = cluster.kube.within(namespace)
        self.api = Api(cluster.kubeconfig)
        self.kubeconfig = cluster.kubeconfig
        self.now = time.time()

    def look(self, name: str = "nightly", *, operators: int = 1) -> None:
        """As many operators at the same time as given."""
        asyncio.run(self._look(name, operators))

    async def _look(self, name: str, operators: int) -> None:
        found = Configuration()
        await config.load_kube_config(str(self.kubeconfig), client_configuration=found)  # type: ignore[no-untyped-call]
        connections = [ApiServer(ApiClient(found)) for _ in range(operators)]
        try:
            looks: list[Awaitable[float | None]] = [
                ScheduleController(each, lambda: self.now).look(Key(self.namespace, name))
                for each in connections
            ]
            await asyncio.gather(*looks)
        finally:
            for each in connections:
                await each.close()

    def jobs(self) -> list[Document]:
        found = self.api.items(
            f"/apis/fpj.dev/v1alpha1/namespaces/{self.namespace}/fileprocessingjobs"
        )
        return sorted(found, key=lambda each: str(each["metadata"]["name"]))

    def names(self) -> list[str]:
        return [job["metadata"]["name"] for job in self.jobs()]

    def get(self, name: str = "nightly") -> Document:
        found = self.api.get(
            f"/apis/fpj.dev/v1alpha1/namespaces/{self.namespace}/fileprocessingschedules/{name}"
        )
        assert found
        return found

    def end(self, name: str, phase: str) -> None:
        status = json.dumps({"status": {"phase": phase, "completionTime": moment(self.now)}})
        self.kube("patch", "fpj", name, "--subresource=status", "--type=merge", "--patch", status)


@pytest.fixture
def place(cluster: Cluster, namespace: str, crds: Kube) -> Place:
    return Place(cluster, namespace)


def name_at(seconds: float) -> str:
    """The job of the latest full hour."""
    return f"nightly-{int(seconds // HOUR * 60)}"


def test_runs_history_and_the_end_of_a_schedule(place: Place) -> None:
    place.kube.apply(schedule_manifest(concurrencyPolicy="Forbid", successfulJobsHistoryLimit=1))
    place.look()
    assert place.names() == []
    for number in range(1, 4):
        place.now += HOUR
        place.look(operators=3)
        assert place.names()[-1] == name_at(place.now)
        place.look()
        place.end(name_at(place.now), "Completed" if number < 3 else "Failed")
    place.look()
    assert place.names() == [name_at(place.now - HOUR), name_at(place.now)], (
        "one completed, one failed"
    )

    found = place.get()
    assert found["status"]["lastScheduleTime"] == moment(place.now // HOUR * HOUR)
    assert found["status"]["active"] == []
    assert {
        entry["manager"] for entry in found["metadata"]["managedFields"] if entry.get("subresource")
    } == {"fpj-operator"}
    (owner,) = place.jobs()[0]["metadata"]["ownerReferences"]
    assert owner["uid"] == found["metadata"]["uid"]
    listed = place.kube("get", "fpjs").splitlines()
    assert listed[0].split() == [
        *("NAME", "SCHEDULE", "TIMEZONE", "STATE", "ACTIVE", "LAST-SCHEDULE", "LAST-SUCCESS", "AGE")
    ]
    assert listed[1].split()[:1] + listed[1].split()[6:7] == ["nightly", "Scheduled"], listed
    assert "NEXT" in place.kube("get", "fpjs", "-o", "wide").splitlines()[0]
    described = place.kube("describe", "fpjs", "nightly")
    assert "Started" in described and name_at(place.now) in described

    place.kube("delete", "fpjs", "nightly")
    wait_for(lambda: place.names() == [], "Kubernetes deletes the schedule's jobs", 60)


def test_replace_and_allow(place: Place) -> None:
    place.kube.apply(schedule_manifest(concurrencyPolicy="Allow"))
    for _ in range(2):
        place.now += HOUR
        place.look()
    assert len(place.names()) == 2
    place.kube(
        "patch",
        "fpjs",
        "nightly",
        "--type=merge",
        "--patch",
        '{"spec":{"concurrencyPolicy":"Replace"}}',
    )
    place.now += HOUR
    place.look()
    assert place.names() == [name_at(place.now)]


def test_a_quota_refuses_and_is_told(place: Place) -> None:
    hard = {"count/fileprocessingjobs.fpj.dev": "0"}
    place.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none"},
            "spec": {"hard": hard},
        }
    )
    place.kube.apply(schedule_manifest())
    place.now += HOUR

    def refused() -> bool:  # the quota controller has to have seen the quota first
        place.kube("delete", "fpj", "--all")
        place.look()
        return not place.names()

    wait_for(refused, "the quota is heeded", 60)
    ready = next(each for each in place.get()["status"]["conditions"] if each["type"] == "Ready")
    # The first look was before the quota: let the next run be refused.
    if ready["status"] == "True":
        place.now += HOUR
        place.look()
        ready = next(
            each for each in place.get()["status"]["conditions"] if each["type"] == "Ready"
        )
    assert (ready["status"], ready["reason"]) == ("False", "JobRefused") and "quota" in ready[
        "message"
    ]
    place.kube("delete", "resourcequota", "none")

    def is_tried_again() -> list[str]:
        place.look()
        return place.names()

    wait_for(is_tried_again, "it is tried again", 60)


def test_a_wrong_schedule_is_refused_in_a_persons_words(place: Place) -> None:
    with pytest.raises(KubectlError, match="schedule must have five fields") as refused:
        place.kube.apply(schedule_manifest(schedule="every night"))
    assert "matches" not in str(refused.value), "no pattern is shown"
    place.kube.apply(schedule_manifest(schedule="0 0 30 2 *"))
    place.look()
    assert "InvalidSpec" in place.kube("get", "fpjs")


# The operator as it runs --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(
    cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path_factory.mktemp("world")) as world:
        world.cache_folder()
        world.photos("photos", 6)
        world.operator()
        yield world


def test_the_operator_begins_runs_by_the_clock_and_makes_up_for_a_missed_one(world: World) -> None:
    """One schedule is due within a minute; meanwhile another, of which a run was missed,
    does its work.
    """
    world.apply(
        schedule_manifest(
            "minutely", schedule="* * * * *", collection="photos", successfulJobsHistoryLimit=1
        )
    )
    yearly = schedule_manifest(
        "yearly", schedule="@yearly", collection="photos", concurrencyPolicy="Forbid"
    )
    world.apply(yearly)

    def status(name: str) -> Document:
        found = world.runner.api.get(world.path(name, "fileprocessingschedules"))
        return dict((found or {}).get("status", {}))

    world.until(lambda: status("yearly").get("conditions"), "the operator has looked at it")
    assert "lastScheduleTime" not in status("yearly"), "a new schedule starts no earlier run"

    missed = json.dumps({"status": {"lastScheduleTime": "2020-05-05T00:00:00Z"}})
    world.kube("patch", "fpjs", "yearly", "--subresource=status", "--type=merge", "--patch", missed)
    name = world.until(
        lambda: [each["name"] for each in status("yearly").get("active", [])], "a run begins"
    )[0]
    world.wait_end(name)
    world.check_exact(name, "photos", completed=6)
    ended = world.status(name)["completionTime"]
    world.until(
        lambda: status("yearly").get("lastSuccessfulTime") == ended, "the schedule hears of its end"
    )
    assert status("yearly")["active"] == []

    world.until(lambda: status("minutely").get("lastSuccessfulTime"), "the clock begins a run", 120)
    done = [
        job
        for job in world.items("fileprocessingjobs", "apis/fpj.dev/v1alpha1")
        if "minutely" in str(job)
    ]
    assert {
        job["status"]["progress"]["total"] for job in done if "progress" in job.get("status", {})
    } == {6}
    world.kube("delete", "fpjs", "--all")
    world.until(
        lambda: not world.items("fileprocessingjobs", "apis/fpj.dev/v1alpha1"),
        "their jobs go too",
        60,
    )
