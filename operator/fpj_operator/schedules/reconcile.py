"""What should happen to a schedule now: from what is observed to a plan.

Pure, and safe to ask again at any time.

The rules are those of batch/v1 CronJob. A run is known by the minute it was due, and its job is
named after it, so that nothing (an operator that dies halfway, two that both think they lead)
starts a run twice. Only a run whose job is deleted before the status could say that it was started
is started again: no run is lost, and what the first one did the second finds done. Times before a
schedule was changed are past for good: a change starts nothing by itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fpj_core.formatting import moment, seconds_of
from fpj_core.kube import names
from fpj_core.model import Phase
from fpj_core.v1alpha1 import API_VERSION, ConcurrencyPolicy, FileProcessingScheduleSpec
from fpj_operator.conditionlist import condition_list
from fpj_operator.emit import Emit
from fpj_operator.keys import Key
from fpj_operator.schedules.cron import ScheduleError, Times

MOST_MISSED = 100
"""Missed runs that are counted; the newest is started whatever their number."""
_MOST_ACTIVE_SHOWN = 20
_LONGEST_SLEEP = 300.0
"""Seconds; a clock that was set right is noticed by then."""
_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Run:
    """A FileProcessingJob of the schedule, as the API server has it."""

    name: str
    uid: str
    due: float
    """The time it was due; 0 if unknown."""
    phase: Phase = Phase.PENDING
    finished_at: float = 0.0
    deleting: bool = False

    @property
    def successful(self) -> bool:
        """Whether it completed; that some images failed is the job's to tell."""
        return self.phase in (Phase.COMPLETED, Phase.COMPLETED_WITH_ERRORS)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the job of the run that is due could not be created just now."""

    reason: str
    """Of the condition and the event: JobRefused, NameTaken."""
    message: str

    @property
    def cause(self) -> str:
        """The same for the same cause, whatever numbers it names:
        a quota's use changes from one try to the next.
        """
        words = re.sub(r"\d+", "", f"{self.reason} {self.message}")
        return hashlib.blake2b(words.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """Everything a decision rests on. Times are seconds since the epoch."""

    key: Key
    uid: str
    generation: int
    spec: FileProcessingScheduleSpec | None
    """None when it is invalid; ``problem`` says why."""
    problem: str
    status: Mapping[str, Any]
    created_at: float
    deleting: bool
    runs: tuple[Run, ...]
    now: float
    version: str = ""
    """The resourceVersion that shows it so."""
    refused: Refusal | None = None
    """Nothing is started then."""


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """What to do now, in this order.

    A run counts as started once the status says so or its job exists.
    """

    replaced: tuple[Run, ...] = ()
    """To delete before anything else."""
    start: Mapping[str, Any] | None = None
    """The FileProcessingJob to create."""
    status: Mapping[str, Any] | None = None
    """Everything that the status says; None: leave it alone."""
    trimmed: tuple[Run, ...] = ()
    """Finished jobs beyond the history limits, to delete last:
    until the status is written they prove their runs.
    """
    events: tuple[Emit, ...] = ()
    requeue_after: float | None = None


def decide(view: ScheduleView) -> SchedulePlan:
    """Raises nothing: what is wrong with a schedule becomes part of its status."""
    if view.deleting:
        return SchedulePlan()
    if view.spec is None:
        return _invalid(view, view.problem)
    try:
        times = Times(view.spec.schedule, view.spec.meant("time_zone"))
    except ScheduleError as error:
        return _invalid(view, str(error))
    return _Decision(view, view.spec, times).plan()


@dataclass(frozen=True, slots=True)
class _Decision:
    v: ScheduleView
    spec: FileProcessingScheduleSpec
    times: Times

    def plan(self) -> SchedulePlan:
        v = self.v
        missed = (
            [] if self.spec.suspend else self.times.missed(self._since(), v.now, MOST_MISSED + 1)
        )
        held = bool(missed) and self._is_held()
        due = missed[0] if missed and not held and not v.refused else None
        replaced = self._replaced() if due is not None else ()
        left = [run for run in v.runs if run not in replaced]
        start = None if due is None else self._job(due)
        started = [] if due is None else [Run(names.scheduled_job_name(v.key.name, due), "", due)]
        upcoming = None if self.spec.suspend else self.times.after(v.now)
        return SchedulePlan(
            replaced=replaced,
            start=start,
            status=self._status([*started, *left], due, upcoming),
            trimmed=tuple(self._trimmed()),
            events=tuple(self._events(missed, due, held, replaced)),
            requeue_after=self._sleep(upcoming),
        )

    def _last(self) -> float:
        """When the latest run was due: by the status, or by its job if the operator died before
        writing it.
        """
        return max(
            seconds_of(self.v.status.get("lastScheduleTime")),
            *(run.due for run in self.v.runs),
            0.0,
        )

    def _handled(self) -> float:
        """Runs up to here have been started or belong to an earlier schedule."""
        return max(self._last() or self.v.created_at, seconds_of(self._changed_at()))

    def _since(self) -> float:
        """Runs up to here are not considered: started, of an earlier schedule, or too late."""
        deadline = self.spec.starting_deadline_seconds
        return max(self._handled(), self.v.now - deadline if deadline else 0.0)

    def _times(self) -> str:
        return f"{self.spec.schedule} in {self.spec.meant('time_zone')}"

    def _changed_at(self) -> str | None:
        """When other times than these were last in force; None if there never were any."""
        before = self.v.status
        if before.get("observedSchedule") in (None, self._times()):
            changed_at: str | None = before.get("scheduleChangedAt")
            return changed_at
        return moment(self.v.now)

    def _is_held(self) -> bool:
        """Whether another run, one that is being deleted included, keeps the next from starting."""
        return self._policy() is ConcurrencyPolicy.FORBID and any(
            not run.phase.finished for run in self.v.runs
        )

    def _replaced(self) -> tuple[Run, ...]:
        if self._policy() is not ConcurrencyPolicy.REPLACE:
            return ()
        return tuple(run for run in self.v.runs if not run.phase.finished and not run.deleting)

    def _policy(self) -> ConcurrencyPolicy:
        policy: ConcurrencyPolicy = self.spec.meant("concurrency_policy")
        return policy

    def _sleep(self, upcoming: float | None) -> float | None:
        if upcoming is None:
            return None
        wait = min(upcoming - self.v.now, _LONGEST_SLEEP)
        return min(wait, _RETRY_SECONDS) if self.v.refused else wait

    # The job --------------------------------------------------------------------------------------

    def _job(self, due: float) -> dict[str, Any]:
        v, template = self.v, self.spec.job_template
        given = (
            template.metadata.model_dump(by_alias=True, exclude_none=True)
            if template.metadata
            else {}
        )
        spec = template.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        # Of its own, each run would make everything again.
        collection = {"id": v.key.name} | spec["collection"]
        owner = {
            "apiVersion": API_VERSION,
            "kind": "FileProcessingSchedule",
            "name": v.key.name,
            "uid": v.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
        return {
            "apiVersion": API_VERSION,
            "kind": "FileProcessingJob",
            "metadata": {
                "name": names.scheduled_job_name(v.key.name, due),
                "namespace": v.key.namespace,
                "labels": given.get("labels", {}) | names.schedule_labels(v.key.name, v.uid),
                "annotations": given.get("annotations", {})
                | {names.SCHEDULED_AT_ANNOTATION: moment(due)},
                "ownerReferences": [owner],
            },
            "spec": spec | {"collection": collection},
        }

    # History --------------------------------------------------------------------------------------

    def _trimmed(self) -> Iterable[Run]:
        """The oldest finished jobs beyond the limits."""
        finished = [run for run in self.v.runs if run.phase.finished and not run.deleting]
        for successful, kept in (
            (True, self.spec.meant("successful_jobs_history_limit")),
            (False, self.spec.meant("failed_jobs_history_limit")),
        ):
            kind = [run for run in finished if run.successful is successful]
            kind.sort(key=lambda run: (run.finished_at, run.due, run.name), reverse=True)
            yield from kind[kept:]

    # Words ----------------------------------------------------------------------------------------

    def _status(self, runs: list[Run], due: float | None, upcoming: float | None) -> dict[str, Any]:
        v, before = self.v, self.v.status
        active = sorted(
            (run for run in runs if not run.phase.finished and not run.deleting), key=_newest_first
        )
        last = due or self._last()
        succeeded = max(
            seconds_of(before.get("lastSuccessfulTime")), *(_succeeded_at(run) for run in runs), 0.0
        )
        times = {
            "lastScheduleTime": moment(last) if last else None,
            "lastSuccessfulTime": moment(succeeded) if succeeded else None,
            "nextScheduleTime": moment(upcoming) if upcoming else None,
            "active": [_active(run) for run in active[:_MOST_ACTIVE_SHOWN]],
            "observedSchedule": self._times(),
            "scheduleChangedAt": self._changed_at(),
        }
        if v.refused:
            said = (v.refused.reason, v.refused.message)
            conditions = _conditions(v, ready=False, said=said, reconciling=True)
        elif self.spec.suspend:
            conditions = _conditions(
                v, ready=True, said=("Suspended", "spec.suspend is true"), suspended=True
            )
        else:
            conditions = _conditions(v, ready=True, said=("Scheduled", self._times()))
        status = {"observedGeneration": v.generation, "conditions": conditions} | times
        return {name: value for name, value in status.items() if value is not None}

    def _events(
        self, missed: list[float], due: float | None, held: bool, replaced: tuple[Run, ...]
    ) -> Iterable[Emit]:
        """What people should hear of. Reported once, however often the schedule is reconciled."""
        if self.v.refused:
            yield Emit(
                self.v.refused.reason,
                self.v.refused.message,
                warning=True,
                unique=self.v.refused.cause,
            )
            return
        for run in replaced:
            yield Emit("Replaced", f"{run.name} was deleted: another run is due")
        if due is not None:
            yield Emit("Started", f"{names.scheduled_job_name(self.v.key.name, due)} was started")
        if len(missed) > MOST_MISSED:
            text = f"more than {MOST_MISSED} runs were missed; only the newest was started"
            yield Emit("TooManyMissed", text, warning=True, unique=_minute(missed[0]))
        if held:
            text = f"the run of {moment(missed[0])} waits until the previous one has finished"
            yield Emit("WaitsForLastRun", text, unique=_minute(missed[0]))
        if self.spec.starting_deadline_seconds and not missed and not self.spec.suspend:
            for late in self.times.missed(self._handled(), self.v.now, 1):
                text = f"the run of {moment(late)} was not started within startingDeadlineSeconds"
                yield Emit("Missed", text, warning=True, unique=_minute(late))


def _invalid(view: ScheduleView, problem: str) -> SchedulePlan:
    kept = {
        name: value
        for name, value in view.status.items()
        if name not in ("nextScheduleTime", "conditions")
    }
    conditions = _conditions(view, ready=False, said=("InvalidSpec", problem), stalled=True)
    return SchedulePlan(
        status=kept | {"observedGeneration": view.generation, "conditions": conditions}
    )


def _conditions(
    view: ScheduleView,
    *,
    ready: bool,
    said: tuple[str, str],
    suspended: bool = False,
    reconciling: bool = False,
    stalled: bool = False,
) -> list[dict[str, Any]]:
    wanted = [
        ("Ready", ready, said),
        ("Suspended", suspended, said),
        ("Reconciling", reconciling, said),
        ("Stalled", stalled, said),
    ]
    return condition_list(view.status, wanted, view.generation, view.now)


def _active(run: Run) -> dict[str, str]:
    return {"name": run.name} | ({"scheduledAt": moment(run.due)} if run.due else {})


def _newest_first(run: Run) -> tuple[float, str]:
    return (-run.due, run.name)


def _succeeded_at(run: Run) -> float:
    return run.finished_at if run.successful else 0.0


def _minute(due: float) -> str:
    return str(int(due) // 60)
