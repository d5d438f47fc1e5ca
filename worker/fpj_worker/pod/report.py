"""A worker's report on its job: progress, in the status of the job's own resource.

However many pods a job has, one of them reports, once every five seconds at most: they compete for
a slot in the store, and the more they are, the more rarely each of them asks for it.
All of it happens in a thread, and nothing of it can fail the pod. The API is spoken to through the
standard library: a client library would take longer to import than the whole report.
"""

from __future__ import annotations

import json
import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from types import ModuleType
from typing import Any, Self
from urllib.parse import quote

from fpj_core.errors import FpjError
from fpj_core.jobs import JobView, observe
from fpj_core.kube.status import status_document
from fpj_core.model import Phase, ShardState
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import API_VERSION, FileProcessingJob
from fpj_worker.pod.metrics import REPORTS

_MANAGER = "fpj-worker"
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_REQUEST_SECONDS = 5.0
_INTERVAL = 5.0
_ASK_AT_PACE = 10
"""So many pods ask for the slot again within seconds."""
_MOST_RARE = 10.0
_END_INTERVAL = 1.0
_LAST_SECONDS = 2.0
"""For the last report, of the seconds that a pod has for its end."""
_MOST_ANSWER = 65_536
_UNPROCESSABLE = 422

log = logging.getLogger("fpj.worker")


class ReportError(FpjError):
    """The API server refused a report."""


class LateReportError(ReportError):
    """The job is not running the attempt that the report is about, or not yet."""


class StatusWriter:
    """Patches the status of one FileProcessingJob while an attempt of it runs,
    as the pod's service account.

    A report may be late: the attempt has ended meanwhile, or the job is finished or suspended, and
    what the operator wrote then is not to be replaced. So the patch names uid, phase and attempt,
    which the API server compares in the same step in which it writes. ``environment`` says where it
    and the account's files are, as in every pod.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        uid: str,
        attempt: int,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        jobs = f"/apis/{API_VERSION}/namespaces/{quote(namespace)}/{FileProcessingJob.plural}"
        path = f"{jobs}/{quote(name)}/status"
        self._path = f"{path}?fieldManager={_MANAGER}"
        expected = {
            "/metadata/uid": uid,
            "/status/phase": Phase.RUNNING.value,
            "/status/attempt/number": attempt,
        }
        self._tests: list[dict[str, Any]] = [
            {"op": "test", "path": path, "value": value} for path, value in expected.items()
        ]
        self._account = Path(environment.get("FPJ_SERVICEACCOUNT_DIR", _ACCOUNT))
        self._host = environment.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
        self._port = int(environment.get("KUBERNETES_SERVICE_PORT", "443"))

    def patch(self, status: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The JSON patch (RFC 6902) of a report."""
        return self._tests + [
            {"op": "add", "path": f"/status/{name}", "value": each} for name, each in status.items()
        ]

    def write(self, status: Mapping[str, Any]) -> None:
        """Raises `LateReportError` if the attempt does not run, `ReportError`, OSError,
        HTTPException.
        """
        # Read each time: it rotates.
        token = (self._account / "token").read_text(encoding="ascii").strip()
        trust = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        connection = HTTPSConnection(
            self._host, self._port, timeout=_REQUEST_SECONDS, context=trust
        )
        try:
            connection.request(
                "PATCH",
                self._path,
                body=json.dumps(self.patch(status)),
                headers={
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/json-patch+json",
                },
            )
            answer = connection.getresponse()
            text = answer.read(_MOST_ANSWER)
        finally:
            connection.close()
        if answer.status == _UNPROCESSABLE:
            raise LateReportError(
                f"the attempt does not run: {text[:300].decode('utf-8', 'replace')}"
            )
        if answer.status >= 400:
            raise ReportError(
                f"{answer.status} {answer.reason}: {text[:300].decode('utf-8', 'replace')}"
            )


def pause_after_miss(interval: float, pods: int, chance: random.Random | ModuleType) -> float:
    """Seconds until a pod that missed the slot asks for it again: each of ``pods`` at another time.

    To ask in vain is a failed write, and all of them are of one document. So of many pods each asks
    more rarely; the slot is still taken soon after it is free. Where far fewer run than should,
    that takes half a minute at most.
    """
    rarer = min(max(pods / _ASK_AT_PACE, 1.0), _MOST_RARE)
    return interval * rarer * float(chance.uniform(0.2, 0.6))


class Reporter:
    """Reports while it is open, from a daemon thread, and once more when it is closed,
    unless others report by then.

    Closing waits for that for two seconds at most.
    """

    def __init__(
        self,
        store: Store,
        job_id: str,
        attempt: int,
        holder: str,
        write: Callable[[Mapping[str, Any]], None],
        interval: float = _INTERVAL,
        pods: int = 1,
    ) -> None:
        self._store = store
        self._job_id = job_id
        self._attempt = attempt
        self._holder = holder
        self._write = write
        self._interval = interval
        self._pods = pods
        self._written: object = None
        self._trouble = ""
        self._ended = threading.Event()
        within = copy_context()  # what its lines in the log are about
        self._thread = threading.Thread(
            target=within.run, args=(self._run,), name="reporter", daemon=True
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def start(self) -> None:
        """Report from now on."""
        self._thread.start()

    def close(self) -> None:
        """No report begins after the last one, which begins now."""
        self._ended.set()
        self._thread.join(_LAST_SECONDS)

    def _run(self) -> None:
        wait = 0.0
        while not self._ended.wait(wait):
            had_slot = self._try(self._report_if_slot)
            wait = (
                self._interval if had_slot else pause_after_miss(self._interval, self._pods, random)
            )
        self._try(self._report_last)

    def _try(self, report: Callable[[], bool]) -> bool:
        """What it returns; True if it fails, which is counted and logged."""
        try:
            return report()
        except LateReportError as error:  # the next one may come in time
            log.debug("%s", error)
        except (FpjError, OSError, HTTPException, ValueError) as error:
            self._note(error)
        return True

    def _report_if_slot(self) -> bool:
        now = self._store.now()
        if has_slot := self._store.claim_reporter(self._job_id, self._holder, self._interval, now):
            self._report(observe(self._store, self._job_id, self._attempt, now))
        return has_slot

    def _report_last(self) -> bool:
        """What this pod has done since its last report.

        While others work, one of them tells it within seconds.
        """
        if self._pods > _ASK_AT_PACE and not self._tells_the_end():
            return True
        view = observe(self._store, self._job_id, self._attempt, self._store.now())
        if view is not None and not view.states.get(ShardState.RUNNING):
            self._report(view)
        return True

    def _tells_the_end(self) -> bool:
        """Of many pods that end together, at most one a second sums all shards.

        Usually the last of them does.
        """
        for pause in (0.0, _END_INTERVAL * 1.05):
            time.sleep(pause)
            if self._store.claim_reporter(
                self._job_id, self._holder, _END_INTERVAL, self._store.now()
            ):
                return True
        return False

    def _report(self, view: JobView | None) -> None:
        if view is None or _facts(view) == self._written:
            return
        self._write(
            status_document(
                view.progress,
                view.counts,
                view.states,
                view.job.last_progress_at,
                at_rest=view.job.phase.at_rest,
            )
        )
        self._written = _facts(view)
        self._trouble = ""
        REPORTS.labels("written").inc()

    def _note(self, error: Exception) -> None:
        """Count every failure; log a lasting one once."""
        REPORTS.labels("failed").inc()
        text = f"{type(error).__name__}: {error}"
        if text != self._trouble:
            log.warning("report failed: %s", text)
        self._trouble = text


def _facts(view: JobView) -> object:
    """What a report is about: where none of it has changed, there is nothing to say."""
    return view.counts, dict(view.states), view.job.total, view.job.last_progress_at
