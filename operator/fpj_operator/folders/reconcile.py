"""What should happen to a cache folder now: from what is observed to a plan.

Pure, and safe to ask again at any time.

A run is a Job of one pod, which looks whether the folder is there, can be written and is ours, and
then evicts what the policy says, or compares the files with what is recorded of them. The status
has the number of the latest one before its Job exists, and the Job is named after it: so there is
one at a time, also with two operators that both think they lead. A run whose Job is gone before
anybody saw how it ended is made again: it finds done what the first one did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fpj_core import formatting
from fpj_core.formatting import moment, seconds_of
from fpj_core.kube.exits import Reason
from fpj_core.kube.folderreport import FolderReport
from fpj_core.model import Eviction
from fpj_core.policy import Policy
from fpj_core.v1alpha1.cachefolderstatus import MOST_SHARES, MOST_SHORTFALLS, Operation
from fpj_operator.conditionlist import condition, restate
from fpj_operator.emit import Emit
from fpj_operator.folders.job import operation_of, run_job
from fpj_operator.folders.limits import evicts, exceeded, policy_of_resource
from fpj_operator.folders.state import FolderPlan, FolderView, JobState, RunEnd
from fpj_operator.folders.verification import last_verification, verification_words
from fpj_operator.settings import OperatorSettings

READY, WITHIN_QUOTA, EVICTING, DRIFTED, UNREACHABLE = CONDITIONS = (
    "Ready",
    "WithinQuota",
    "Evicting",
    "Drifted",
    "Unreachable",
)
_LOOKS = 4
"""Multiple of ``check_seconds`` between two looks at a folder to which nothing happens."""
EXPIRY_SECONDS = 3_600.0
"""Between two runs of a folder whose policy has a time to live."""
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3_600.0
"""Seconds after a run that did not succeed; doubled each time."""
_MOST_SHORT = 3
"""Runs that left the folder too full count as so many failures in a row at most: a pause of 240 s.
What jobs make can be evicted once they end, and others may wait for the room.
"""
_STORAGE = frozenset({Reason.CACHE_FOLDER_UNUSABLE.value, Reason.ENVIRONMENT_FAULT.value})
"""Reasons of a pod that could not use the folder. All others say nothing of it."""
_TO_REPEAT = frozenset({"Failed", "Unknown"})
"""Results of a run."""
_MOST_NAMED = 3
_MARKS = {
    Operation.EVICT: "requestedBy",
    Operation.VERIFY: "verifyRequestedBy",
    Operation.REPAIR: "repairRequestedBy",
}
"""Where a run has the wish that it was started for. What was asked for at once goes in this order.
"""

Verdict = tuple[str, str, str]
"""Status, reason and message of a condition."""


def decide(view: FolderView, settings: OperatorSettings) -> FolderPlan:
    """Raises nothing: what is wrong with a folder becomes part of its status."""
    if view.deleting:
        return FolderPlan()
    if view.folder is None:
        said: Verdict = ("False", "InvalidSpec", view.problem)
        status = {**view.status, "observedGeneration": view.generation}
        return FolderPlan(status=status | {"conditions": _conditions(view, {READY: said})})
    return _Decision(view, policy_of_resource(view.folder), settings).plan()


@dataclass(frozen=True, slots=True)
class _Decision:
    v: FolderView
    policy: Policy
    settings: OperatorSettings

    def plan(self) -> FolderPlan:
        v = self.v
        if v.runs:
            run, ended = self._goes_on()
        else:
            run, ended = self._begins(), None
        job = None
        if run and not run.get("endTime") and (v.job is None or v.job.state is JobState.MISSING):
            if v.folder is None:
                raise AssertionError("unreachable")
            job = run_job(v, v.folder, run, self.settings)
        verdicts = self._verdicts(run, ended)
        status = self._status(run, ended, verdicts)
        return FolderPlan(
            status=status,
            job=job,
            ended=ended,
            events=tuple(self._events(run, ended, verdicts)),
            requeue_after=self._wait(run, ended),
        )

    # Runs -----------------------------------------------------------------------------------------

    def _goes_on(self) -> tuple[Mapping[str, Any], RunEnd | None]:
        """The run, and how it ended if it just has."""
        v, job = self.v, self.v.job
        if job is None or job.state in (JobState.MISSING, JobState.ACTIVE):
            return v.run, None
        result = _result(job.report) if job.state is JobState.COMPLETE else "Failed"
        failures = 0 if result == "Succeeded" else int(v.run.get("failures") or 0) + 1
        if result == "Short":  # until a job ends, which may be soon, and waits for nothing else
            failures = min(failures, _MOST_SHORT)
        end = {
            "endTime": moment(job.ended_at or v.now),
            "result": result,
            "failures": failures,
        }
        return {**v.run, **end}, RunEnd(result, job.report)

    def _begins(self) -> Mapping[str, Any]:
        """The latest run, or a new one."""
        v, run = self.v, self.v.run
        operation, cause = self._due()
        if not cause:
            return run
        started = {
            "number": int(run.get("number") or 0) + 1,
            "cause": cause,
            "generation": v.generation,
            "startTime": moment(v.now),
            "failures": int(run.get("failures") or 0),
        }
        if operation is not Operation.EVICT:
            started |= {"operation": operation.value, "evictedAt": self._evicted_at()}
        started |= {
            mark: (self._wish(which) if which is operation else "") or run.get(mark)
            for which, mark in _MARKS.items()
        }
        return {name: value for name, value in started.items() if value not in (None, "")}

    def _due(self) -> tuple[Operation, str]:
        """What to start a run for, and why; empty for no reason to."""
        v, run = self.v, self.v.run
        if not run:
            return Operation.EVICT, "New"
        if run.get("generation") != v.generation:
            return Operation.EVICT, "Changed"
        for operation, mark in _MARKS.items():
            wish = self._wish(operation)
            if wish and wish != str(run.get(mark) or ""):
                return operation, "Requested"
        waits = v.now < seconds_of(run.get("endTime")) + self._pause()
        return (Operation.EVICT, "") if waits else self._due_by_itself()

    def _wish(self, operation: Operation) -> str:
        """Who asks for it."""
        return self.v.requested if operation is Operation.EVICT else self.v.asked.get(operation, "")

    def _due_by_itself(self) -> tuple[Operation, str]:
        v, run = self.v, self.v.run
        if run.get("result") in _TO_REPEAT:
            return operation_of(run), "Retry"
        if v.holdings is not None and exceeded(self.policy, v.holdings):
            return Operation.EVICT, "OverQuota"
        expires = self.policy.ttl is not None
        if expires and v.now >= seconds_of(self._evicted_at()) + EXPIRY_SECONDS:
            return Operation.EVICT, "Expiry"
        return Operation.EVICT, ""

    def _evicted_at(self) -> str:
        """When the latest run that evicts ended."""
        run = self.v.run
        evicts_too = operation_of(run) is Operation.EVICT
        return str(run.get("endTime" if evicts_too else "evictedAt") or "")

    def _pause(self) -> float:
        return pause_after(int(self.v.run.get("failures") or 0))

    def _wait(self, run: Mapping[str, Any], ended: RunEnd | None) -> float:
        """Seconds until the next look."""
        usual = self.settings.check_seconds * _LOOKS
        if ended is not None:
            return min(usual, 1.0)  # something else may have been asked for meanwhile
        left = seconds_of(run.get("endTime")) + self._pause() - self.v.now
        return min(usual, left) if left > 0 else usual

    # Conditions -----------------------------------------------------------------------------------

    def _verdicts(self, run: Mapping[str, Any], ended: RunEnd | None) -> dict[str, Verdict]:
        return {
            **self._of_check(ended),
            WITHIN_QUOTA: self._within_quota(),
            EVICTING: self._evicting(run),
        }

    def _of_check(self, ended: RunEnd | None) -> dict[str, Verdict]:
        """Ready, Drifted and Unreachable: only what a check has found, for this spec."""
        v = self.v
        if ended is not None and v.run.get("generation") == v.generation:
            return self._found(ended)
        trouble = v.job.trouble if v.job is not None and v.job.state is JobState.ACTIVE else None
        known = all(_is_current(v, name) for name in (READY, DRIFTED, UNREACHABLE))
        if known and not (trouble and condition(v.status, READY).get("status") == "Unknown"):
            return {}
        reason, message = trouble or ("NotChecked", "it has not been checked yet")
        return dict.fromkeys((READY, DRIFTED, UNREACHABLE), ("Unknown", reason, message))

    def _found(self, ended: RunEnd) -> dict[str, Verdict]:
        job, report = self.v.job, ended.report
        if report is not None and report.drift:
            drift = report.drift
            there: Verdict = ("False", "Checked", "it answers")
            return {READY: ("False", *drift), DRIFTED: ("True", *drift), UNREACHABLE: there}
        if report is not None:
            return {
                READY: ("True", "Checked", "it is there, can be written and is ours"),
                DRIFTED: ("False", "Checked", "it is as the store knows it"),
                UNREACHABLE: ("False", "Checked", "it answers"),
            }
        trouble = job.trouble if job is not None else None
        reason, message = trouble or ("RunLost", "the run ended, and nothing says what it found")
        unknown: Verdict = ("Unknown", reason, message)
        if reason in _STORAGE:
            lost: Verdict = ("True", reason, message)
            return {READY: ("False", reason, message), DRIFTED: unknown, UNREACHABLE: lost}
        return dict.fromkeys((READY, DRIFTED, UNREACHABLE), unknown)

    def _within_quota(self) -> Verdict:
        v, most = self.v, self.policy.max_bytes
        if most is None:
            return "True", "NoQuota", "maxBytes is not set"
        if v.holdings is None:
            return "Unknown", "StoreUnavailable", v.store_error or "the store does not answer"
        used = v.holdings.bytes
        said = f"{formatting.size(used)} of {formatting.size(most)}"
        if used <= most:
            return "True", "WithinQuota", said
        if self.policy.chosen is Eviction.NONE:
            said += "; the policy evicts nothing for that"
        return "False", "OverQuota", said

    def _evicting(self, run: Mapping[str, Any]) -> Verdict:
        """Only a Job that runs says so: one that was just started may have no pod yet."""
        job = self.v.job
        is_idle = not run or run.get("endTime") or not evicts(self.policy)
        if is_idle or operation_of(run) is not Operation.EVICT:
            return "False", "Idle", "no run removes anything now"
        if job is None or job.state is not JobState.ACTIVE:
            return "Unknown", "Starting", f"run {run['number']} begins"
        if job.trouble:
            reason, message = job.trouble
            return "Unknown", reason, message
        return "True", "Evicting", f"run {run['number']}, because of: {run['cause']}"

    # Words ----------------------------------------------------------------------------------------

    def _status(
        self, run: Mapping[str, Any], ended: RunEnd | None, verdicts: Mapping[str, Verdict]
    ) -> dict[str, Any]:
        v, before = self.v, self.v.status
        counted = _counted(v) if v.holdings is not None else _kept(before)
        report = ended.report if ended is not None else None
        last = before.get("lastEviction")
        if report is not None and (report.removed.files or report.shortfalls):
            last = _last_eviction(str(v.run.get("cause")), str(run.get("endTime")), report)
        status = {
            "observedGeneration": v.generation,
            **counted,
            "display": self._display(counted.get("totalBytes")),
            "run": dict(run) or None,
            "lastEviction": last,
            "lastVerification": self._verified(run, report) or before.get("lastVerification"),
            "conditions": _conditions(v, verdicts),
        }
        return {name: value for name, value in status.items() if value is not None}

    def _verified(
        self, run: Mapping[str, Any], report: FolderReport | None
    ) -> Mapping[str, Any] | None:
        """What a run that has just ended has found."""
        if report is None or report.verification is None:
            return None
        return last_verification(str(run.get("endTime")), report.verification)

    def _display(self, used: int | None) -> dict[str, str]:
        shown = {"policy": self.policy.chosen.value}
        if self.policy.max_bytes and used is not None:
            shown["used"] = f"{min(used * 100 // self.policy.max_bytes, 9_999)}%"
        return shown

    def _events(
        self, run: Mapping[str, Any], ended: RunEnd | None, verdicts: Mapping[str, Verdict]
    ) -> Iterable[Emit]:
        """What people should hear of: how a run ended, and what turns bad."""
        number = str(run.get("number") or 0)
        report = ended.report if ended is not None else None
        if report is not None and report.removed.files:
            removed = report.removed
            why = ", ".join(
                f"{name} {amount.files:,}" for name, amount in sorted(report.by_reason.items())
            )
            text = f"{removed.files:,} files, {formatting.size(removed.bytes)} ({why})"
            yield Emit("FilesEvicted", text, unique=number)
        if report is not None and report.shortfalls:
            text = "; ".join(report.shortfalls[:_MOST_NAMED])
            yield Emit("EvictionShort", text, warning=True, unique=number)
        if report is not None and report.verification is not None:
            verification = report.verification
            bad_news = bool(verification.left or verification.troubles)
            text = verification_words(verification)
            yield Emit("FolderVerified", text, warning=bad_news, unique=number)
        for name, bad in ((UNREACHABLE, "True"), (DRIFTED, "True"), (WITHIN_QUOTA, "False")):
            status, reason, message = verdicts.get(name, ("", "", ""))
            if status == bad and condition(self.v.status, name).get("status") != bad:
                text = f"{name} is {status}, {reason}: {message}"
                yield Emit("FolderInTrouble", text, warning=True)


def pause_after(failures: int) -> float:
    """Seconds until a run may follow one by itself; growing, and bounded."""
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE) if failures else 0.0


def _result(report: FolderReport | None) -> str:
    if report is None:
        return "Unknown"
    if report.drift:
        return "Failed"
    return "Short" if report.over else "Succeeded"


def _is_current(view: FolderView, name: str) -> bool:
    return condition(view.status, name).get("observedGeneration") == view.generation


def _conditions(view: FolderView, verdicts: Mapping[str, Verdict]) -> list[dict[str, Any]]:
    """All that are known, in their order; those without a verdict stay as they are."""
    found = []
    for name in CONDITIONS:
        before = condition(view.status, name)
        if name in verdicts:
            status, reason, message = verdicts[name]
            found.append(
                restate(before, name, status, (reason, message), view.generation, moment(view.now))
            )
        elif before:
            found.append(dict(before))
    return found


def _counted(view: FolderView) -> dict[str, Any]:
    held = view.holdings
    if held is None:
        return {}
    return {
        "totalFiles": held.files,
        "totalBytes": held.bytes,
        "totalCollections": held.collections,
        "tiers": _shares(held.by_tier),
        "collections": _shares(held.by_collection),
    }


def _shares(amounts: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "files": files, "bytes": size}
        for name, (files, size) in list(amounts.items())[:MOST_SHARES]
    ]


def _kept(status: Mapping[str, Any]) -> dict[str, Any]:
    """What was last counted: the store does not answer now."""
    names = ("totalFiles", "totalBytes", "totalCollections", "tiers", "collections")
    return {name: status[name] for name in names if name in status}


def _last_eviction(cause: str, ended_at: str, report: FolderReport) -> dict[str, Any]:
    removed = report.removed
    return {
        "time": ended_at,
        "cause": cause,
        "files": removed.files,
        "bytes": removed.bytes,
        "byReason": {name: amount.files for name, amount in sorted(report.by_reason.items())},
        "usedBefore": report.used_before,
        "usedAfter": report.used_after,
        "shortfalls": list(report.shortfalls[:MOST_SHORTFALLS]),
    }
