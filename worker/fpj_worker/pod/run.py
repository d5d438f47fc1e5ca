"""Run a pod's command, and say by exit code and termination message how it ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol, TypeVar

from fpj_core.kube.exits import ExitCode, Reason, termination_message
from fpj_core.process import metrics
from fpj_core.process.logs import about, log_as_json
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_worker.pod.endings import ending_of
from fpj_worker.pod.evict import read_folder_task, run_evict
from fpj_worker.pod.index import run_index
from fpj_worker.pod.purge import read_purge_task, run_purge
from fpj_worker.pod.remove import run_removal
from fpj_worker.pod.shard import run_shard
from fpj_worker.pod.task import read_task
from fpj_worker.pod.verify import read_verify_task, run_verify
from fpj_worker.stopping import Stop


class _Task(Protocol):
    @property
    def about(self) -> Mapping[str, object]: ...


T = TypeVar("T", bound=_Task)
_Work = Callable[[Store, Stop], str | None]
"""Gives what is to be said at the end, if anything."""


def _reading(
    read: Callable[[Mapping[str, str]], T], work: Callable[[T, Store, Stop], str | None]
) -> Callable[[Mapping[str, str]], tuple[Mapping[str, object], _Work]]:
    """From the environment to what the log says of a task, and the work on it."""

    def prepared(environment: Mapping[str, str]) -> tuple[Mapping[str, object], _Work]:
        task = read(environment)
        return task.about, lambda store, stop: work(task, store, stop)

    return prepared


_COMMANDS = {
    "index": _reading(read_task, run_index),
    "shard": _reading(read_task, run_shard),
    "evict": _reading(read_folder_task, run_evict),
    "verify": _reading(read_verify_task, run_verify),
    "purge": _reading(read_purge_task, run_purge),
    "remove": _reading(read_task, run_removal),
}
_USAGE = 2

log = logging.getLogger("fpj.worker")


def run(arguments: Sequence[str], environment: Mapping[str, str], stop: Stop) -> int:
    """Run one of the commands; the exit code."""
    log_as_json()
    command = _COMMANDS.get(arguments[0]) if len(arguments) == 1 else None
    if command is None:
        log.error("usage: fpj-worker %s", "|".join(_COMMANDS))
        return _USAGE
    with ExitStack() as said:
        try:
            _serve_metrics(environment)
            task_about, work = command(environment)
            said.enter_context(about(**task_about))
            with closing(metrics.timed(open_store(environment.get("FPJ_STORE", "")))) as store:
                message = work(store, stop)
            if message is not None:
                _say(message, environment)
        except Exception as error:  # noqa: BLE001 - whatever it is, it decides how the pod ends
            return _end(error, environment)
    return ExitCode.DONE


def _serve_metrics(environment: Mapping[str, str]) -> None:
    port = int(environment.get("FPJ_METRICS_PORT") or 0)
    if not port:
        return
    # On a node's own network, the pod before this one may just be ending.
    for pause in (0.3, 0.6, 1.2, 0.0):
        try:
            metrics.serve(port)
        except OSError as error:
            if not pause:  # images matter more
                log.warning("metrics cannot be served on port %d: %s", port, error)
            time.sleep(pause)
        else:
            return


def _end(error: Exception, environment: Mapping[str, str]) -> int:
    ending = ending_of(error)
    if ending.reason is None:
        log.info("ended on request")
        return ending.code
    text = str(error) or type(error).__name__
    unforeseen = error if ending.reason is Reason.INTERNAL else None
    log.error(text, exc_info=unforeseen, extra={"reason": ending.reason.value})
    _say(termination_message(ending.reason, text), environment)
    return ending.code


def _say(message: str, environment: Mapping[str, str]) -> None:
    path = Path(environment.get("FPJ_TERMINATION_LOG", "/dev/termination-log"))
    try:
        path.write_text(message, encoding="ascii")
    except OSError as refusal:
        log.warning("the termination message cannot be written: %s", refusal)
