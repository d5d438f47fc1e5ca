"""Jobs of a cluster: FileProcessingJobs on its API server."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from typing_extensions import override

from fpj_cli.backend import Document, Jobs, match
from fpj_cli.context import UsageProblemError
from fpj_cli.kube import Api
from fpj_cli.local import failure_document
from fpj_cli.podexec import run_in_pod
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.events import Event, event_of
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import FINALIZERS, LABEL_UID, MANAGER
from fpj_core.kube.steering import resumption, suspension

_GROUP = "/apis/fpj.dev/v1alpha1"
_ALL = 2**31
"""A limit for an operator of an earlier version, which does not know how to leave it out."""


class ClusterJobs(Jobs):
    """See `fpj_cli.backend.Jobs`. ``namespace`` is None for all of them."""

    def __init__(self, api: Api, namespace: str | None, operator_namespace: str) -> None:
        self.api = api
        self.place = f"namespace {namespace}" if namespace else "any namespace"
        self.all_namespaces = namespace is None
        self.namespace = namespace
        self._operator_namespace = operator_namespace

    @override
    def all(self, limit: int | None = None) -> list[JobResource]:
        """Newest first."""
        found = [JobResource(each) for each in self.api.pages(self._list)]
        found.sort(key=lambda job: (-job.created_at, job.full_name))
        return found[:limit]

    def schedules(self) -> list[Document]:
        """Newest first; none where they may not be listed."""
        try:
            found = list(self.api.pages(f"{self._scope}/fileprocessingschedules"))
        except ClusterError as error:
            if error.status != 403:
                raise
            return []
        found.sort(key=lambda each: str(each["metadata"]["creationTimestamp"]), reverse=True)
        return found

    def create(self, manifest: Document) -> Document:
        """Make a job. Raises `ClusterError`, with status 409 where there is a namesake."""
        path = f"{_GROUP}/namespaces/{manifest['metadata']['namespace']}/fileprocessingjobs"
        return self.api.create(path, manifest)

    def names(self, limit: int) -> list[str]:
        """Of some jobs, by one request."""
        found = self.api.get(self._list, limit=limit).get("items") or ()
        return sorted({JobResource(each).name for each in found})

    @override
    def get(self, name: str | None) -> JobResource:
        """By its name, which may be written as `kubectl get -o name` does."""
        name = name and name.rpartition("/")[2]
        if name and self.namespace:
            try:
                return JobResource(self.api.get(self._path(self.namespace, name)))
            except ClusterError as error:
                if error.status != 404:
                    raise
        return match(self.all(), name, self.place, "make one with: kubectl apply -f job.yaml")

    @override
    def refresh(self, job: JobResource) -> JobResource | None:
        """The same job, not a namesake that came after it."""
        try:
            found = JobResource(self.api.get(self._path_of(job)))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise
        return found if found.uid == job.uid else None

    @override
    def events(self, job: JobResource) -> list[Event]:
        """Of the job itself; its pods' are the operator's to judge, and stand in the conditions."""
        path = f"/api/v1/namespaces/{job.namespace}/events"
        found = [
            event_of(each)
            for each in self.api.pages(path, fieldSelector=f"involvedObject.uid={job.uid}")
        ]
        return sorted(found, key=lambda event: event.at)

    @override
    def failures(
        self, job: JobResource, error_type: str | None, limit: int | None
    ) -> list[Document]:
        """They are in the store, which usually only the cluster reaches:
        the operator's pod reads them for us.
        """
        if not job.status.get("attempt"):
            return []
        command = ["fpj", "failures", "--limit", str(limit or _ALL), "-o", "json"]
        command += ["--type", error_type, job.uid] if error_type else [job.uid]
        hint = "or name the store with --store mongodb://…"
        pod = self._operator_pod(hint)
        try:
            code, output, errors = run_in_pod(
                self.api, self._operator_namespace, pod, "operator", command
            )
        except ClusterError as error:
            if error.status == 403:
                right = "get and create of pods/exec"
                text = (
                    f"failures are read in the operator's pod, for which the right to {right} in"
                    " namespace "
                )
                raise ClusterError(
                    403, f"{text}{self._operator_namespace} is missing; {hint}"
                ) from error
            raise
        if code:
            said = errors.strip().splitlines() or ["no reason given"]
            raise ClusterError(
                0, f"the operator's pod cannot read failures: {said[-1].removeprefix('Error: ')}"
            )
        try:
            return [failure_document(each) for each in json.loads(output)]
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(
                0, "the operator's pod sent no failures; does it run another version?"
            ) from error

    @override
    def suspend(self, job: JobResource) -> None:
        """`spec.suspend: true`."""
        self._change(job, suspension())

    def resume(self, job: JobResource) -> None:
        """Resume a suspended job; a finished or active one starts a new attempt."""
        self._change(job, resumption(job, datetime.now(UTC)))

    def release(self, job: JobResource) -> None:
        """Take the operator's finalizer from it, so that it can go without an operator."""
        left = [each for each in job.finalizers if each not in FINALIZERS]
        version = job.document["metadata"].get("resourceVersion")
        self._change(job, {"metadata": {"finalizers": left, "resourceVersion": version}})

    def pods(self, job: JobResource) -> list[Document]:
        """Those that work on it, and those that ended and are kept for a while."""
        path = f"/api/v1/namespaces/{job.namespace}/pods"
        return list(self.api.pages(path, labelSelector=f"{LABEL_UID}={job.uid}"))

    def _change(self, job: JobResource, change: Document) -> None:
        self.api.patch(self._path_of(job), change)

    def _operator_pod(self, hint: str) -> str:
        path = f"/api/v1/namespaces/{self._operator_namespace}/pods"
        pods = self.api.pages(path, labelSelector=f"app.kubernetes.io/name={MANAGER}")
        running = [each["metadata"]["name"] for each in pods if _runs(each)]
        if not running:
            where = f"no operator runs in namespace {self._operator_namespace}"
            raise UsageProblemError(
                f"{where}: name its namespace with --operator-namespace, {hint}"
            )
        return str(running[0])

    @property
    def _list(self) -> str:
        return f"{self._scope}/fileprocessingjobs"

    @property
    def _scope(self) -> str:
        return f"{_GROUP}/namespaces/{self.namespace}" if self.namespace else _GROUP

    @staticmethod
    def _path(namespace: str, name: str) -> str:
        return f"{_GROUP}/namespaces/{namespace}/fileprocessingjobs/{name}"

    def _path_of(self, job: JobResource) -> str:
        return self._path(job.namespace or "", job.name)


def _runs(pod: Document) -> bool:
    return (
        pod.get("status", {}).get("phase") == "Running"
        and "deletionTimestamp" not in pod["metadata"]
    )
