"""`fpj logs`: what the pods of a job write."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from fpj_cli.backend import Document
from fpj_cli.context import UsageProblemError, err
from fpj_cli.helptexts import Command
from fpj_cli.setup import job_names
from fpj_cli.target import cluster_options, opened_cluster
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import LABEL_ATTEMPT, LABEL_ROLE, ROLE_INDEX, ROLE_SHARDS, WAVE, wave_of

if TYPE_CHECKING:
    from fpj_cli.cluster import ClusterJobs

_CONTAINER = "worker"
_LOOK_SECONDS = 2.0
_INDEX_LABEL, _JOB_LABEL = (
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-name",
)


@dataclass(frozen=True, slots=True, order=True)
class WorkerPod:
    """Ordered as the work goes: index before shards, then by shard."""

    attempt: int
    is_shard: bool
    shard: int
    created: str
    name: str
    phase: str
    waiting: str = ""
    """Why its container has not started."""

    @property
    def title(self) -> str:
        """What its lines begin with."""
        return f"[shard {self.shard}]" if self.is_shard else "[index]"

    @property
    def started(self) -> bool:
        """Whether there can be a log."""
        return self.phase in ("Running", "Succeeded", "Failed")


@click.command(cls=Command, short_help="Print the logs of a job's pods.")
@click.argument("job", shell_complete=job_names)
@click.option(
    "--shard", type=click.IntRange(0), metavar="N", help="Only logs of this shard's pods."
)
@click.option(
    "--role",
    type=click.Choice([ROLE_INDEX, ROLE_SHARDS]),
    help="Only logs of the index pod, or of shards.",
)
@click.option("-f", "--follow", is_flag=True, help="Follow the logs until the job has ended.")
@click.option(
    "--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines of each pod."
)
@cluster_options
def logs(job: str, shard: int | None, role: str | None, follow: bool, tail: int | None) -> None:
    """Print the logs of JOB's pods, including those that ended,
    for as long as the cluster keeps them.

    Lines are prefixed with [index] or [shard N], unless --shard or --role index is given.
    """
    with opened_cluster() as jobs:
        found = jobs.get(job)
        reader = _Reader(jobs, found, shard, role, tail)
        try:
            printed = reader.follow() if follow else reader.print_all()
        except BrokenPipeError:  # the reader of our output has seen enough
            sys.stderr.close()
            return
        if not printed:
            raise UsageProblemError(_nothing(found, shard))


def _nothing(job: JobResource, shard: int | None) -> str:
    if job.finished:
        return f"{job.name} has no pods any more; they are deleted some time after the job ends"
    return (
        f"{job.name} has no pods{'' if shard is None else f' for shard {shard}'} yet ({job.phase})"
    )


class _Reader:
    """Logs of the pods that were asked for."""

    def __init__(
        self,
        jobs: ClusterJobs,
        job: JobResource,
        shard: int | None,
        role: str | None,
        tail: int | None,
    ) -> None:
        self._jobs = jobs
        self._job = job
        self._shard = shard
        self._role = ROLE_SHARDS if shard is not None else role
        self._options: dict[str, str | int] = {"container": _CONTAINER} | (
            {} if tail is None else {"tailLines": tail}
        )
        self._titled = shard is None and role != ROLE_INDEX

    def print_all(self) -> bool:
        """Pod after pod; whether there was any."""
        pods = self._pods()
        for pod in pods:
            if not pod.started:
                self._note(pod, pod.waiting or "has not started yet")
                continue
            try:
                self._print(pod, self._log(pod, follow=False))
            except ClusterError as error:
                if error.status not in (400, 404):
                    raise
                self._note(pod, str(error))
        return bool(pods)

    def follow(self) -> bool:
        """All at once, and those that come later, until the job has ended.

        Returns whether there was any.
        """
        lines: queue.SimpleQueue[tuple[WorkerPod, str] | BaseException] = queue.SimpleQueue()
        threads: dict[str, threading.Thread] = {}
        waiting: dict[str, str] = {}
        while True:
            resting = (now := self._jobs.refresh(self._job)) is None or now.at_rest
            for pod in self._pods():
                if pod.started and pod.name not in threads:
                    threads[pod.name] = threading.Thread(
                        target=self._read, args=(pod, lines), daemon=True
                    )
                    threads[pod.name].start()
                elif not pod.started and pod.waiting and waiting.get(pod.name) != pod.waiting:
                    waiting[pod.name] = pod.waiting
                    self._note(pod, pod.waiting)
            self._print_for(lines, _LOOK_SECONDS)
            if resting and not any(thread.is_alive() for thread in threads.values()):
                self._print_for(lines, 0)
                return bool(threads or waiting)

    def _read(
        self, pod: WorkerPod, lines: queue.SimpleQueue[tuple[WorkerPod, str] | BaseException]
    ) -> None:
        """In a thread of its own."""
        try:
            for line in self._log(pod, follow=True):
                lines.put((pod, line))
        except ClusterError as error:
            if error.status not in (400, 404):
                lines.put(error)

    def _print_for(
        self, lines: queue.SimpleQueue[tuple[WorkerPod, str] | BaseException], seconds: float
    ) -> None:
        until = time.monotonic() + seconds
        while True:
            try:
                found = lines.get(timeout=max(until - time.monotonic(), 0.001))
            except queue.Empty:
                sys.stdout.flush()
                if time.monotonic() >= until:
                    return
                continue
            if isinstance(found, BaseException):
                raise found
            self._print(found[0], [found[1]])

    def _log(self, pod: WorkerPod, *, follow: bool) -> Iterator[str]:
        path = f"/api/v1/namespaces/{self._job.namespace}/pods/{pod.name}/log"
        options = self._options | ({"follow": "true"} if follow else {})
        return self._jobs.api.lines(path, endless=follow, **options)

    def _print(self, pod: WorkerPod, lines: Iterable[str]) -> None:
        head = f"{pod.title} " if self._titled else ""
        for line in lines:
            sys.stdout.write(f"{head}{line}\n")

    def _note(self, pod: WorkerPod, words: str) -> None:
        err.print(f"{pod.title} {pod.name}: {words}", markup=False, soft_wrap=True)

    def _pods(self) -> list[WorkerPod]:
        found = sorted(worker_pod(each) for each in self._jobs.pods(self._job))
        return [
            pod
            for pod in found
            if self._role in (None, ROLE_SHARDS if pod.is_shard else ROLE_INDEX)
            and self._shard in (None, pod.shard)
        ]


def worker_pod(document: Document) -> WorkerPod:
    """What the operator's labels say of a pod, and Kubernetes' own."""
    metadata, status = document["metadata"], document.get("status") or {}
    labels: Mapping[str, str] = metadata.get("labels") or {}
    states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
    waiting: Document = next((state["waiting"] for state in states if state.get("waiting")), {})
    running = any(state.get("running") or state.get("terminated") for state in states)
    phase = str(status.get("phase", "Pending"))
    return WorkerPod(
        attempt=int(labels.get(LABEL_ATTEMPT) or 0),
        is_shard=labels.get(LABEL_ROLE) == ROLE_SHARDS,
        shard=wave_of(labels.get(_JOB_LABEL, "")) * WAVE + int(labels.get(_INDEX_LABEL) or 0),
        created=str(metadata.get("creationTimestamp", "")),
        name=str(metadata["name"]),
        phase="Running" if running and phase == "Pending" else phase,
        waiting=": ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
        or _unscheduled(status),
    )


def _unscheduled(status: Document) -> str:
    for each in status.get("conditions") or ():
        if each["type"] == "PodScheduled" and each["status"] == "False":
            return str(each.get("message") or each.get("reason") or "")
    return ""
