"""What an API server would hold of one schedule and its jobs,
and an operator that looks at it and may die meanwhile.

The operator's part is the real `ScheduleController`; here are only facts: objects by name,
finalizers, time.
"""

from __future__ import annotations

import asyncio
import copy
from datetime import datetime
from typing import Any

from fpj_core.formatting import moment
from fpj_core.kube.errors import ClusterError
from fpj_operator.keys import Key
from fpj_operator.schedules.controller import ScheduleController

KEY = Key("team", "nightly")
START = datetime.fromisoformat("2026-05-01T00:00:30Z").timestamp()
Document = dict[str, Any]


class DiedError(Exception):
    """The operator ended in the middle of its work."""


class Objects:
    """A namespace, by kind and name.

    ``writes_left`` is how many more writes the operator lives for.
    """

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Document] = {}
        self.created: list[str] = []
        """Names of all jobs ever created, in order."""
        self.events: list[Document] = []
        self.writes_left: int | None = None
        self.refusal: ClusterError | None = None
        self.refusals: list[ClusterError] = []
        """For the next jobs only."""
        self.no_events: ClusterError | None = None
        self._uids = 0

    def add(self, document: Document) -> Document:
        self._uids += 1
        made = copy.deepcopy(document)
        made["metadata"] |= {"uid": f"uid-{self._uids}", "generation": 1, "resourceVersion": "1"}
        self.held[made["kind"], made["metadata"]["name"]] = made
        return made

    def jobs(self) -> list[Document]:
        return [each for (kind, _), each in self.held.items() if kind == "FileProcessingJob"]

    async def get(self, kind: str, _namespace: str, name: str) -> Document | None:
        return copy.deepcopy(self.held.get((kind, name)))

    async def list(self, kind: str, _namespace: str, *, labels: str) -> list[Document]:
        name, _, value = labels.partition("=")
        found = [each for (its, _), each in self.held.items() if its == kind]
        return copy.deepcopy(
            [each for each in found if each["metadata"].get("labels", {}).get(name) == value]
        )

    async def create(self, document: Document) -> Document | None:
        self._write()
        if document["kind"] == "Event":
            if self.no_events is not None:
                raise self.no_events
            if any(
                each["metadata"]["name"] == document["metadata"]["name"] for each in self.events
            ):
                return None
            self.events.append(document)
            return document
        if (document["kind"], document["metadata"]["name"]) in self.held:
            return None
        if self.refusal is not None or self.refusals:
            raise self.refusal or self.refusals.pop(0)
        self.created.append(document["metadata"]["name"])
        return self.add(document)

    async def apply_status(
        self, kind: str, _namespace: str, name: str, status: Document, uid: str, version: str | None
    ) -> Document:
        self._write()
        metadata = self.held[kind, name]["metadata"]
        assert metadata["uid"] == uid
        if version != metadata["resourceVersion"]:
            raise ClusterError(409, "the object has been modified", reason="Conflict")
        self.held[kind, name]["status"] = copy.deepcopy(status)
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        return self.held[kind, name]

    async def delete(self, kind: str, _namespace: str, name: str, uid: str) -> None:
        """An active job has a finalizer, and so stays for a while."""
        self._write()
        found = self.held.get((kind, name))
        if found is None or found["metadata"]["uid"] != uid:
            return
        if phase_of(found) in ("Pending", "Running"):
            found["metadata"]["deletionTimestamp"] = "2026-05-01T00:00:00Z"
        else:
            del self.held[kind, name]

    def _write(self) -> None:
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise DiedError
            self.writes_left -= 1


class ScheduleWorld:
    """A schedule of every ten minutes, unless the test says otherwise."""

    def __init__(self, **spec: Any) -> None:
        self.objects = Objects()
        self.now = START
        source = {"persistentVolumeClaim": {"claimName": "photos"}}
        template = {"spec": {"jobType": "Both", "collection": {"source": source}}}
        self.schedule = self.objects.add(
            {
                "apiVersion": "fpj.dev/v1alpha1",
                "kind": "FileProcessingSchedule",
                "metadata": {
                    "name": KEY.name,
                    "namespace": KEY.namespace,
                    "creationTimestamp": moment(START),
                },
                "spec": {"schedule": "*/10 * * * *", "jobTemplate": template} | spec,
            }
        )
        self.operators = [self.operator(), self.operator()]

    def operator(self) -> ScheduleController:
        return ScheduleController(self.objects, lambda: self.now)  # type: ignore[arg-type]

    def look(self, operator: int = 0, *, writes: int | None = None) -> float | None:
        """With ``writes`` the operator dies before the next one, and another takes its place."""
        self.objects.writes_left = writes
        try:
            return asyncio.run(self.operators[operator].look(KEY))
        except DiedError:
            self.operators[operator] = self.operator()
            return None
        finally:
            self.objects.writes_left = None

    def change(self, **spec: Any) -> None:
        self.schedule["spec"] |= spec
        self.schedule["metadata"]["generation"] += 1

    def end(self, name: str, phase: str = "Completed") -> None:
        """A job ends; one that was being deleted is gone."""
        job = self.objects.held["FileProcessingJob", name]
        job["status"] = {"phase": phase, "completionTime": moment(self.now)}
        if "deletionTimestamp" in job["metadata"]:
            del self.objects.held["FileProcessingJob", name]

    @property
    def status(self) -> Document:
        return dict(self.schedule.get("status", {}))

    def condition(self, name: str) -> tuple[str, str, str]:
        found = next(each for each in self.status["conditions"] if each["type"] == name)
        return found["status"], found["reason"], found["message"]

    def names(self) -> list[str]:
        return [job["metadata"]["name"] for job in self.objects.jobs()]

    def unfinished(self) -> list[str]:
        return [
            job["metadata"]["name"]
            for job in self.objects.jobs()
            if phase_of(job) in ("Pending", "Running")
        ]

    def said(self, reason: str) -> list[str]:
        return [each["message"] for each in self.objects.events if each["reason"] == reason]


def phase_of(job: Document) -> str:
    return str(job.get("status", {}).get("phase", "Pending"))


def job_name(text: str) -> str:
    """The name of the job of a time."""
    return f"{KEY.name}-{int(datetime.fromisoformat(text).timestamp()) // 60}"
