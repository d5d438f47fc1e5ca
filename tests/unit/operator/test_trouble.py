"""What pods, their events and their Job say about why nothing works, and how few of them are asked
for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, cast

import pytest

from fpj_core.formatting import moment
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.exits import ExitCode, Reason, termination_message
from fpj_operator.jobs.pods import Pods
from fpj_operator.jobs.trouble import (
    Findings,
    Trouble,
    last_failed_index,
    missing,
    of_ended,
    of_events,
    of_job,
    of_refusal,
    of_waiting,
    slow_start,
    weightiest,
    works,
)

NOW = float(int(time.time()))
RUNS = {"running": {"startedAt": moment(NOW)}}
STARTING = {"waiting": {"reason": "ContainerCreating"}}


def ended(
    code: int, *, ago: float = 0, reason: str = "Error", said: Reason | None = None
) -> dict[str, Any]:
    message = {"message": termination_message(said, "in its words")} if said else {}
    return {
        "terminated": (
            {"exitCode": code, "reason": reason, "finishedAt": moment(NOW - ago)} | message
        )
    }


def pod(
    name: str = "photos-a1-w0-0-abcde",
    state: dict[str, Any] | None = None,
    *,
    age: float = 60,
    node: str = "node",
    **more: Any,
) -> Document:
    """A pod; ``more`` are conditions by type, or ``deleted``, ``reason``, ``message``,
    ``others`` (containers).
    """
    metadata = {
        "name": name,
        "namespace": "team",
        "uid": f"uid-of-{name}",
        "creationTimestamp": moment(NOW - age),
    }
    if more.pop("deleted", False):
        metadata["deletionTimestamp"] = moment(NOW)
    statuses: list[dict[str, Any]] = []
    if state is not None:
        statuses.append({"name": "worker", "state": state, "ready": "running" in state})
    statuses += [{"name": other, "state": each} for other, each in more.pop("others", {}).items()]
    status: dict[str, Any] = {"containerStatuses": statuses}
    if reason := more.pop("reason", ""):
        status |= {"reason": reason, "message": more.pop("message", "for a reason of the node's")}
    if node and "PodScheduled" not in more:
        more["PodScheduled"] = "True"
    at = moment(NOW - age)
    status["conditions"] = [
        {"type": kind, "status": holds, "message": f"{kind} is {holds}", "lastTransitionTime": at}
        for kind, holds in more.items()
    ]
    phase = "Pending"
    if state:
        phase = "Running" if "running" in state else "Pending"
        if "terminated" in state:
            phase = "Failed" if state["terminated"]["exitCode"] else "Succeeded"
        if any("running" in each["state"] for each in statuses):
            phase = "Running"
    return {
        "metadata": metadata,
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase} | status,
    }


def event(
    reason: str, message: str = "in its words", *, ago: float = 0, kind: str = "Warning"
) -> Document:
    return {"reason": reason, "message": message, "type": kind, "lastTimestamp": moment(NOW - ago)}


def job(**status: Any) -> Document:
    metadata = {
        "name": "photos-a1-w0",
        "namespace": "team",
        "uid": "1",
        "creationTimestamp": moment(NOW - 600),
    }
    return {"metadata": metadata, "spec": {"completions": 10, "parallelism": 2}, "status": status}


def words(found: Trouble | None) -> str:
    return found.reason if found else ""


# Pods that have not ended -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (pod(state={"waiting": {"reason": "ImagePullBackOff"}}), "ImagePullFailed"),
        (pod(state={"waiting": {"reason": "CreateContainerConfigError"}}), "PodConfigInvalid"),
        (pod(others={"istio-proxy": {"waiting": {"reason": "ErrImagePull"}}}), "ImagePullFailed"),
        (pod(node="", PodScheduled="False"), "PodsUnschedulable"),
        (pod(node=""), "PodsNotScheduled"),
        (pod(node="", age=10), ""),
        (pod(state=STARTING), ""),
        (pod(state=RUNS), ""),
        (pod(state=ended(0, ago=60), others={"istio-proxy": RUNS}), "SidecarPreventsCompletion"),
        (pod(state=ended(0, ago=5), others={"istio-proxy": RUNS}), ""),
        (pod(state=ended(0, ago=60), others={"log-shipper": ended(0, ago=1)}), ""),
        (pod(state={"waiting": {"reason": "ImagePullBackOff"}}, deleted=True), ""),
        (pod(state=RUNS, Ready="True"), ""),
        (pod(state=RUNS, Ready="False"), "NodeUnreachable"),
        (pod(state=RUNS, Ready="False", deleted=True), "NodeUnreachable"),
        (pod(state=RUNS, Ready="False", others={"istio-proxy": RUNS}), ""),
    ],
)
def test_what_a_pod_waits_for(shown: Document, reason: str) -> None:
    assert words(of_waiting([shown], NOW)) == reason


def test_the_newest_of_those_that_wait_has_the_word() -> None:
    old = pod("old", {"waiting": {"reason": "ErrImagePull", "message": "the old image"}}, age=300)
    new = pod("new", {"waiting": {"reason": "ErrImagePull", "message": "the new image"}}, age=30)
    for pods in ([old, new], [new, old]):
        found = of_waiting(pods, NOW)
        assert found
        assert found.message == "the new image"


def test_a_sidecar_is_named() -> None:
    found = of_waiting(
        [pod(state=ended(0, ago=60), others={"istio-proxy": RUNS, "vault-agent": RUNS})], NOW
    )
    assert found
    assert "istio-proxy, vault-agent" in found.message


@pytest.mark.parametrize(
    ("shown", "does"),
    [
        (pod(state=RUNS), True),
        (pod(state=RUNS, deleted=True), False),
        (pod(state=RUNS, Ready="False"), False),
        (pod(state=RUNS, Ready="False", others={"istio-proxy": RUNS}), True),
        (pod(state=STARTING), False),
        (pod(state=ended(0), others={"istio-proxy": RUNS}), False),
        (pod(others={"istio-proxy": RUNS}), False),
    ],
)
def test_a_pod_works_while_its_worker_runs(shown: Document, *, does: bool) -> None:
    assert works(shown) is does


@pytest.mark.parametrize(
    ("events", "age", "reason", "message"),
    [
        (
            [event("FailedMount", 'configmap "settings" not found')],
            12,
            "MountFailed",
            'configmap "settings" not found',
        ),
        ([event("FailedAttachVolume", "multi-attach")], 12, "MountFailed", "multi-attach"),
        ([event("FailedCreatePodSandBox", "no network")], 12, "PodSandboxFailed", "no network"),
        (
            [event("FailedMount", "old", ago=40), event("FailedCreatePodSandBox", "new")],
            60,
            "PodSandboxFailed",
            "new",
        ),
        ([event("Pulling", "Pulling image fpj", kind="Normal")], 12, "", ""),
        (
            [event("Pulling", "Pulling image fpj", kind="Normal")],
            60,
            "PodsNotStarted",
            "Pulling: Pulling image fpj",
        ),
        ([], 60, "PodsNotStarted", "has not started on node"),
        ([], 12, "", ""),
    ],
)
def test_a_slow_start_is_explained_by_its_events(
    events: list[Document], age: float, reason: str, message: str
) -> None:
    late = pod(state=STARTING, age=age)
    assert slow_start([late], NOW) is late
    found = of_events(late, events, NOW)
    assert words(found) == reason
    assert message in (found.message if found else "")


def test_only_pods_that_should_have_started_are_asked_about() -> None:
    new, unscheduled = pod("new", STARTING, age=5), pod("unscheduled", node="")
    assert (
        slow_start([new, unscheduled, pod(state=RUNS), pod(state=STARTING, deleted=True)], NOW)
        is None
    )
    late, later = pod("late", STARTING, age=30), pod("later", STARTING, age=20)
    assert slow_start([new, later, late], NOW) is late


# Pods that ended ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "goes_on", "failed"),
    [
        (pod(state=ended(1)), "WorkerFailed", "WorkerFailed"),
        (pod(state=ended(137, reason="OOMKilled")), "OutOfMemory", "OutOfMemory"),
        (
            pod(state=ended(1, said=Reason.STORE_UNAVAILABLE)),
            "StoreUnavailable",
            "StoreUnavailable",
        ),
        (pod(state=ended(0)), "", ""),
        (pod(state=ended(143)), "", ""),
        (pod(state=ended(137), DisruptionTarget="True"), "", ""),
        (pod(state=ended(1), deleted=True), "", "WorkerFailed"),
        (pod(state=ended(ExitCode.FENCED, said=Reason.FENCED)), "", "Fenced"),
        (pod(reason="OutOfcpu"), "WorkerFailed", "WorkerFailed"),
        (pod(reason="Evicted", DisruptionTarget="True"), "", ""),
        (pod(), "", ""),
    ],
)
def test_how_a_pod_ended(shown: Document, goes_on: str, failed: str) -> None:
    """An evicted or deleted pod is not a failure, and one that was fenced none while its Job goes
    on.
    """
    assert words(of_ended([shown], job_failed=False)) == goes_on
    assert words(of_ended([shown], job_failed=True)) == failed


@pytest.mark.parametrize(
    "said",
    [
        'Usage of EmptyDir volume "tmp" exceeds the limit "1Gi". ',
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
        'Container worker exceeded its local ephemeral storage limit "1Gi". ',
    ],
)
@pytest.mark.parametrize("code", [137, 143])
@pytest.mark.parametrize("job_failed", [True, False])
def test_a_pod_that_wrote_more_than_it_may_says_so(said: str, code: int, job_failed: bool) -> None:
    """The kubelet evicts it, and calls that no disruption: it counts as a try,
    and the next one would do the same.
    """
    evicted = pod(state=ended(code, ago=20), reason="Evicted", message=said)
    assert of_ended([evicted], job_failed=job_failed) == Trouble(
        "EphemeralStorageExceeded", f"the node ended a pod: {said.strip()}", NOW - 20
    )


def test_a_pod_that_a_node_under_pressure_refuses_is_no_such_pod() -> None:
    refused = pod(
        reason="Evicted", message="Pod was rejected: The node had condition: [DiskPressure]. "
    )
    assert words(of_ended([refused], job_failed=True)) == "WorkerFailed"
    low = (
        "The node was low on resource: ephemeral-storage. Container worker was using 3Gi, request"
        " is 0. "
    )
    evicted = pod(state=ended(137), reason="Evicted", message=low, DisruptionTarget="True")
    assert of_ended([evicted], job_failed=True) is None


def test_the_last_end_has_the_word() -> None:
    first, last = (
        pod("z", ended(1, ago=50)),
        pod("a", ended(137, ago=20, reason="OOMKilled"), age=300),
    )
    evicted = pod("m", ended(143))
    assert of_ended([first, last, evicted], job_failed=False) == Trouble(
        "OutOfMemory", "a worker ended with OOMKilled (exit code 137)", NOW - 20
    )


def test_what_no_pod_can_do_has_the_word_whatever_the_clocks_of_nodes_say() -> None:
    """An exit code that ends the Job at once is why it ended,
    also beside a later or simultaneous end of another.
    """
    permanent = pod("a", ended(ExitCode.PERMANENT, ago=50, said=Reason.SOURCE_NOT_FOUND))
    for ago in (50, 20):
        other = pod("z", ended(1, ago=ago, said=Reason.STORE_UNAVAILABLE))
        for pods in ([permanent, other], [other, permanent]):
            assert words(of_ended(pods, job_failed=True)) == "SourceNotFound"
            found = [of_ended([each], job_failed=True) for each in pods]
            assert words(weightiest(found)) == "SourceNotFound"


# The Job ------------------------------------------------------------------------------------------


def test_a_refusal_is_told_without_the_names_of_pods_that_never_were() -> None:
    text = 'Error creating: pods "photos-a1-w0-0-{}" is forbidden: exceeded quota: none'
    events = [
        event("FailedCreate", text.format("x7f9z"), ago=20),
        event("FailedCreate", text.format("a1b2c"), ago=5),
    ]
    found = of_refusal(job(), [*events, event("SuccessfulCreate", kind="Normal")], NOW)
    assert found == Trouble(
        "PodsForbidden", "Error creating: pods is forbidden: exceeded quota: none", NOW - 5
    )
    assert of_refusal(job(), [event("FailedCreate", ago=900)], NOW) is None
    assert of_refusal(job(), [], NOW) is None


def test_what_the_job_says() -> None:
    said = {
        "type": "Failed",
        "status": "True",
        "reason": "BackoffLimitExceeded",
        "message": "too many",
    }
    assert of_job(job(conditions=[said])).words == ("JobFailed", "BackoffLimitExceeded: too many")
    assert of_job(job()).words == ("JobFailed", "the child Job failed")
    assert last_failed_index(job(failedIndexes="1,3-5,7-12")) == 12
    assert last_failed_index(job(failedIndexes="")) is last_failed_index(job()) is None


@pytest.mark.parametrize(
    ("status", "number"),
    [
        ({}, 2),
        ({"active": 2}, 0),
        ({"active": 1}, 1),
        ({"active": 1, "terminating": 1}, 0),
        ({"active": 1, "succeeded": 9}, 0),
        ({"succeeded": 4, "failedIndexes": "1,3-6"}, 1),
        ({"succeeded": 10}, 0),
    ],
)
def test_how_many_pods_are_missing(status: Document, number: int) -> None:
    assert missing(job(**status)) == number


# What is asked for --------------------------------------------------------------------------------


class Answers:
    """Pods and events as the API server has them, by the selectors that we use."""

    def __init__(self, pods: Iterable[Document] = (), events: Iterable[Document] = ()) -> None:
        self.pods, self.events = list(pods), list(events)
        self.asked: list[str] = []

    async def page(
        self,
        kind: str,
        _namespace: str | None,
        *,
        limit: int,
        after: str = "",
        labels: str = "",
        fields: str = "",
    ) -> Document:
        assert 0 < limit <= 50
        self.asked.append(f"{kind} {labels} {fields}".strip())
        if kind == "Event":
            return {"items": self.events[:limit]}
        assert "batch.kubernetes.io/job-name=photos-a1-w0" in labels
        start = int(after or 0)
        found = [each for each in self.pods if _fits(each["status"]["phase"], fields)]
        more = str(start + limit) if len(found) > start + limit else ""
        return {"items": found[start : start + limit], "metadata": {"continue": more}}

    pages = Cluster.pages


def _fits(phase: str, fields: str) -> bool:
    wanted = [each.removeprefix("status.phase") for each in fields.split(",")]
    return all(phase != each[2:] if each.startswith("!=") else phase == each[1:] for each in wanted)


def found(answers: Answers, child: Document, **flags: bool) -> Findings:
    return asyncio.run(
        Pods(cast("Cluster", answers), lambda: NOW).of(
            child, complete=False, **({"failed": False} | flags)
        )
    )


def test_a_job_whose_pods_all_work_is_not_asked_about() -> None:
    answers = Answers([pod(state=RUNS), pod(state=RUNS)])
    assert found(answers, job(active=2, ready=2)) == Findings()
    assert answers.asked == []


def test_an_evicted_pod_is_no_failure_while_another_works() -> None:
    """Also where the Job controller has not counted it ready yet,
    and for the moment between two shards.
    """
    evicted = pod("evicted", ended(143, ago=20), DisruptionTarget="True")
    for pods in ([evicted, pod(state=RUNS)], [evicted, pod(state=STARTING, age=3)], [evicted]):
        assert found(Answers(pods), job(active=1, terminating=1)) == Findings()


def test_an_old_failure_is_none_while_another_pod_works_or_is_about_to() -> None:
    crashed = pod("crashed", ended(1, ago=20))
    assert found(Answers([crashed, pod(state=RUNS)]), job(active=2)) == Findings()
    assert found(Answers([crashed, pod(state=STARTING, age=3)]), job(active=2)) == Findings()
    assert words(found(Answers([crashed]), job()).stops) == "WorkerFailed"


def test_what_some_pods_wait_for_is_said_while_others_work() -> None:
    answers = Answers([pod(state=RUNS), pod(node="", PodScheduled="False")])
    for status in ({"active": 2, "ready": 1}, {"active": 2}):
        seen = found(answers, job(**status))
        assert (words(seen.stops), words(seen.delays)) == ("", "PodsUnschedulable")
    refused = Answers([pod(state=RUNS)], [event("FailedCreate")])
    seen = found(refused, job(active=1, ready=1))
    assert (words(seen.stops), words(seen.delays)) == ("", "PodsForbidden")


def test_without_any_pod_the_later_of_a_refusal_and_a_failure_has_the_word() -> None:
    for ended_ago, refused_ago, reason in ((50, 20, "PodsForbidden"), (20, 50, "WorkerFailed")):
        answers = Answers(
            [pod(state=ended(1, ago=ended_ago))], [event("FailedCreate", ago=refused_ago)]
        )
        assert words(found(answers, job()).stops) == reason


def test_of_very_many_pods_one_that_works_is_found() -> None:
    waiting = [pod(f"waits-{number}", node="", PodScheduled="False") for number in range(100)]
    assert words(found(Answers(waiting), job(active=100)).stops) == "PodsUnschedulable"
    seen = found(Answers([*waiting, pod(state=RUNS)]), job(active=101))
    assert (words(seen.stops), words(seen.delays)) == ("", "PodsUnschedulable")


def test_why_a_job_failed_is_asked_once_and_of_one_index() -> None:
    answers = Answers(
        [pod(f"failed-{number}", ended(40, said=Reason.SOURCE_NOT_FOUND)) for number in range(4)]
    )
    pods = Pods(cast("Cluster", answers), lambda: NOW)
    child = job(failedIndexes="0-999")
    for _ in range(3):
        seen = asyncio.run(pods.of(child, complete=False, failed=True))
        assert words(seen.stops) == "SourceNotFound"
    labels = (
        "batch.kubernetes.io/job-name=photos-a1-w0,batch.kubernetes.io/job-completion-index=999"
    )
    assert answers.asked == [f"Pod {labels} status.phase=Failed"]
    assert words(found(Answers(), job(), failed=True).stops) == "JobFailed"


def test_the_last_of_many_failures_is_found_wherever_it_stands() -> None:
    """The API server lists by name, so the one that counts may come last.

    How many are asked for is bounded.
    """
    evicted = [
        pod(f"evicted-{number}", ended(143), DisruptionTarget="True") for number in range(300)
    ]
    early = [pod(f"failed-{number}", ended(1, ago=500)) for number in range(300)]
    last = pod("last", ended(137, ago=5, reason="OOMKilled"))
    answers = Answers([*evicted, *early, last])
    assert words(found(answers, job(failedIndexes="7"), failed=True).stops) == "OutOfMemory"
    assert len(answers.asked) == 31
    going_on = Answers([*evicted, *early, last])
    found(going_on, job())
    assert len([each for each in going_on.asked if "phase=Failed" in each]) == 10


def test_a_new_or_suspended_job_is_not_asked_about() -> None:
    answers = Answers()
    new = job()
    new["metadata"]["creationTimestamp"] = moment(NOW)
    assert found(answers, new) == Findings()
    held = job()
    held["spec"]["suspend"] = True
    assert words(found(answers, held).stops) == "HeldByQueue"
    assert answers.asked == []


def test_a_pod_that_cannot_mount_is_explained() -> None:
    answers = Answers([pod(state=STARTING)], [event("FailedMount", 'secret "keys" not found')])
    assert found(answers, job(active=1)).stops == Trouble("MountFailed", 'secret "keys" not found')
    assert answers.asked[-1] == "Event  involvedObject.uid=uid-of-photos-a1-w0-0-abcde"
