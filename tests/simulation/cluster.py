"""What Kubernetes itself does: the Job controller, kubelets, and the garbage collector."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fpj_core.formatting import moment
from fpj_core.kube import names
from fpj_worker.stopping import Stop
from simulation import pods
from simulation.apiserver import Document, Ref
from simulation.kernel import Kernel, Node

if TYPE_CHECKING:
    from simulation.world import World

_BACKOFF, _MOST_BACKOFF = 10.0, 360.0
_UID, _INDEX = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-completion-index"
_JOB_NAME = "batch.kubernetes.io/job-name"


@dataclass
class _Index:
    """One completion index of a Job; the only one of a Job that is not Indexed."""

    done: bool = False
    failed: bool = False
    failures: int = 0
    """Pods that count."""
    tries: int = 0
    """Pods that failed, whether they count or not: the next one waits the longer."""
    not_before: float = 0.0
    pod: str = ""


@dataclass
class _Work:
    """What the Job controller remembers of a Job."""

    indexes: dict[int, _Index] = field(default_factory=lambda: defaultdict(_Index))
    over: str = ""
    planned: bool = False
    seen: set[str] = field(default_factory=set)
    """Pods whose end has been counted."""


class Cluster:
    """Controllers that look again a moment after something changed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.kernel: Kernel = world.kernel
        self.api = world.api
        self.jobs: dict[str, _Work] = defaultdict(_Work)
        self.running: dict[Ref, pods.PodProcess] = {}
        self.nodes = [Node("node-1"), Node("node-2")]
        self.numbers = 0
        self.made: dict[str, tuple[str, int]] = {}
        """By name of each pod that there ever was, uid and attempt of its job."""
        self.unschedulable = False
        self.api.hooks.append(self._changed)

    def _later(self, least: float, most: float, call: Any, *arguments: Any) -> None:
        self.kernel.later(self.kernel.dice.uniform(least, most), call, *arguments)

    def _changed(self, what: str, ref: Ref, document: Document) -> None:
        for owner in document["metadata"].get("ownerReferences", ()) if what == "ADDED" else ():
            if all(each["metadata"]["uid"] != owner["uid"] for each in self.api.objects.values()):
                self._later(0.0, 2.0, self._collect, owner["uid"])
        match ref[0]:
            case "Job" if what == "DELETED":
                self._later(0.0, 0.5, self._collect, document["metadata"]["uid"])
            case "Job":
                self._sync_soon(ref, document["metadata"]["uid"])
            case "FileProcessingJob" if what == "DELETED":
                self._later(0.0, 2.0, self._collect, document["metadata"]["uid"])
            case "Pod":
                owner = document["metadata"]["ownerReferences"][0]
                self._sync_soon(("Job", ref[1], owner["name"]), owner["uid"])

    def _collect(self, owner: str) -> None:
        """Garbage: what the object that is gone has owned."""
        for ref, document in list(self.api.objects.items()):
            if any(
                each["uid"] == owner for each in document["metadata"].get("ownerReferences", ())
            ):
                if ref[0] == "Pod":
                    self.delete_pod(ref)
                else:
                    self.api.remove(ref)

    # The Job controller ---------------------------------------------------------------------------

    def _sync_soon(self, ref: Ref, uid: str) -> None:
        work = self.jobs[uid]
        if not work.planned:
            work.planned = True
            self._later(0.05, 0.5, self._sync, ref, uid)

    def _sync(self, ref: Ref, uid: str) -> None:
        work = self.jobs[uid]
        work.planned = False
        job = self.api.objects.get(ref)
        if job is None or job["metadata"]["uid"] != uid:
            return
        owned = [(key, pod) for key, pod in self._pods(uid)]
        for key, pod in owned:
            self._count(job, work, key, pod)
        live = [key for key, pod in owned if pod["status"]["phase"] in ("Pending", "Running")]
        completions = job["spec"].get("completions", 1)
        self._judge(job, work, completions)
        if work.over or job["spec"].get("suspend"):
            for key in live:
                self.delete_pod(key)
        else:
            self._start(ref, job, work, completions, owned)
        self._write(ref, job, work, completions)
        if work.over and not any(
            pod["status"]["phase"] in ("Pending", "Running") for _, pod in self._pods(uid)
        ):
            self.kernel.later(job["spec"]["ttlSecondsAfterFinished"], self._expire, ref, uid)

    def _expire(self, ref: Ref, uid: str) -> None:
        job = self.api.objects.get(ref)
        if job is not None and job["metadata"]["uid"] == uid:
            self.api.remove(ref)

    def _pods(self, uid: str) -> list[tuple[Ref, Document]]:
        return [
            (ref, pod)
            for ref, pod in self.api.objects.items()
            if ref[0] == "Pod" and pod["metadata"]["labels"][_UID] == uid
        ]

    def _count(self, job: Document, work: _Work, key: Ref, pod: Document) -> None:
        phase, name = pod["status"]["phase"], key[2]
        if phase not in ("Succeeded", "Failed") or name in work.seen:
            return
        work.seen.add(name)
        index = int(pod["metadata"]["labels"][_INDEX])
        state = work.indexes[index]
        if state.pod == name:
            state.pod = ""
        if phase == "Succeeded":
            state.done = True
            return
        state.tries += 1
        state.not_before = self.kernel.loop.now + min(
            _BACKOFF * 2.0 ** (state.tries - 1), _MOST_BACKOFF
        )
        match self._action(job, pod):
            case "FailJob":
                work.over = work.over or "PodFailurePolicy"
            case "FailIndex":
                state.failed = True
            case "Count":
                state.failures += 1
                most = job["spec"].get("backoffLimitPerIndex", job["spec"].get("backoffLimit", 6))
                state.failed = state.failures > most

    @staticmethod
    def _action(job: Document, pod: Document) -> str:
        conditions = {
            each["type"] for each in pod["status"].get("conditions", ()) if each["status"] == "True"
        }
        for status in pod["status"].get("containerStatuses", ()):
            code = status["state"].get("terminated", {}).get("exitCode")
            for rule in job["spec"]["podFailurePolicy"]["rules"]:
                if any(each["type"] in conditions for each in rule.get("onPodConditions", ())):
                    return str(rule["action"])
                if code in rule.get("onExitCodes", {}).get("values", ()):
                    return str(rule["action"])
        return "Ignore" if "DisruptionTarget" in conditions else "Count"

    @staticmethod
    def _judge(job: Document, work: _Work, completions: int) -> None:
        if work.over:
            return
        failed = sum(state.failed for state in work.indexes.values())
        done = sum(state.done for state in work.indexes.values())
        indexed = job["spec"].get("completionMode") == "Indexed"
        if not indexed and failed:
            work.over = "BackoffLimitExceeded"
        elif failed > job["spec"].get("maxFailedIndexes", completions):
            work.over = "MaxFailedIndexesExceeded"
        elif done + failed == completions:
            work.over = "FailedIndexes" if failed else "Complete"

    def _start(
        self,
        ref: Ref,
        job: Document,
        work: _Work,
        completions: int,
        owned: list[tuple[Ref, Document]],
    ) -> None:
        live = {key[2] for key, pod in owned if pod["status"]["phase"] in ("Pending", "Running")}
        room = job["spec"].get("parallelism", 1) - len(live)
        for index in range(completions):
            state = work.indexes[index]
            if state.done or state.failed or state.pod in live:
                continue
            if room <= 0:
                break
            wait = state.not_before - self.kernel.loop.now
            if wait > 0:
                self.kernel.later(wait, self._sync_soon, ref, job["metadata"]["uid"])
                continue
            state.pod = self._make_pod(job, index)
            room -= 1

    def _make_pod(self, job: Document, index: int) -> str:
        self.numbers += 1
        metadata, template = job["metadata"], job["spec"]["template"]
        name = f"{metadata['name']}-{index}-{self.numbers}"
        labels = template["metadata"]["labels"]
        self.made[name] = (labels[names.LABEL_UID], int(labels[names.LABEL_ATTEMPT]))
        own = {_UID: metadata["uid"], _INDEX: str(index), _JOB_NAME: metadata["name"]}
        owner = {
            "kind": "Job",
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
        }
        pod = {
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": labels | own,
                "ownerReferences": [owner],
            },
            "spec": json.loads(json.dumps(template["spec"])),
            "status": {"phase": "Pending", "conditions": []},
        }
        self.api.put(pod)
        self._later(0.1, 1.0, self._run, ("Pod", metadata["namespace"], name), index)
        return name

    def _write(self, ref: Ref, job: Document, work: _Work, completions: int) -> None:
        phases = [pod["status"]["phase"] for _, pod in self._pods(job["metadata"]["uid"])]
        live = sum(phase in ("Pending", "Running") for phase in phases)
        status: Document = {
            "active": live,
            "ready": sum(phase == "Running" for phase in phases),
            "succeeded": sum(state.done for state in work.indexes.values()),
            "failed": sum(state.tries for state in work.indexes.values()),
            "conditions": [],
        }
        failed = [str(index) for index, state in work.indexes.items() if state.failed]
        if failed and job["spec"].get("completionMode") == "Indexed":
            status["failedIndexes"] = ",".join(sorted(failed, key=int))
        if work.over:
            kinds = (
                ("SuccessCriteriaMet", "Complete")
                if work.over == "Complete"
                else ("FailureTarget", "Failed")
            )
            for kind in kinds[: 1 if live else 2]:
                status["conditions"].append(
                    {
                        "type": kind,
                        "status": "True",
                        "reason": work.over,
                        "message": "by the Job controller",
                    }
                )
        if status != job.get("status"):
            job["status"] = status
            self.api.changed(ref)

    # Kubelets -------------------------------------------------------------------------------------

    def _run(self, ref: Ref, index: int) -> None:
        pod = self.api.objects.get(ref)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return
        nodes = [node for node in self.nodes if "api" not in node.cut_off]
        if self.unschedulable or not nodes:
            self._later(2.0, 5.0, self._run, ref, index)
            return
        node = self.kernel.dice.choice(nodes)
        pod["spec"]["nodeName"] = node.name
        pod["status"] |= {
            "phase": "Running",
            "containerStatuses": [{"name": "worker", "ready": True, "state": {"running": {}}}],
        }
        process = pods.PodProcess(self.kernel, ref[2], node)
        process.world, process.stop = self.world, Stop()
        self.running[ref] = process
        container = pod["spec"]["containers"][0]
        environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        environment = {name: value.replace("$$", "$") for name, value in environment.items()}
        environment |= {"POD_NAME": ref[2], "JOB_COMPLETION_INDEX": str(index)}
        self.api.changed(ref)
        process.thread(
            lambda: self._ended(
                ref, process, *pods.run(process, container["command"][1], environment)
            )
        )

    def _ended(self, ref: Ref, process: pods.PodProcess, code: int, message: str = "") -> None:
        process.dead = True
        if self.running.pop(ref, None) is None:
            return
        self.kernel.note(process.name, f"exit {int(code)} {message[:200]}")
        for thread in list(process.threads):
            thread.wake()
        pod = self.api.objects.get(ref)
        if pod is None:
            return
        ended = {
            "exitCode": int(code),
            "message": message,
            "finishedAt": moment(self.kernel.wall()),
        }
        pod["status"]["phase"] = "Failed" if code else "Succeeded"
        pod["status"]["containerStatuses"] = [
            {
                "name": "worker",
                "ready": False,
                "state": {"terminated": ended | {"reason": "Error" if code else "Completed"}},
            }
        ]
        self.api.changed(ref)
        if "deletionTimestamp" in pod["metadata"]:
            self.api.remove(ref)

    def kill(self, process: pods.PodProcess, code: int = 137) -> None:
        """SIGKILL."""
        for ref, each in list(self.running.items()):
            if each is process:
                process.kill()
                self._ended(ref, process, code)

    def delete_pod(self, ref: Ref, grace: float = 30.0) -> None:
        """SIGTERM, and SIGKILL after the grace period.

        A pod that has ended, or not started, is gone at once.
        """
        pod, process = self.api.objects.get(ref), self.running.get(ref)
        if pod is None:
            return
        if process is None:
            self.api.remove(ref)
            return
        if "deletionTimestamp" in pod["metadata"]:
            return
        pod["metadata"]["deletionTimestamp"] = moment(self.kernel.wall() + grace)
        self.api.changed(ref)
        process.stop._request(15, None)
        self.kernel.later(grace, self.kill, process)

    def evict(self, ref: Ref) -> None:
        """A disruption, as by a drained node."""
        pod = self.api.objects.get(ref)
        if pod is not None and "deletionTimestamp" not in pod["metadata"]:
            pod["status"].setdefault("conditions", []).append(
                {"type": "DisruptionTarget", "status": "True"}
            )
            self.delete_pod(ref)
