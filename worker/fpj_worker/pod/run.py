"""Run a pod's command, and say by exit code and termination message how it ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from fpj_core.kube.exits import ExitCode, Reason, termination_message
from fpj_core.process import metrics
from fpj_core.process.logs import about, log_as_json
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_worker.pod.endings import ending_of
from fpj_worker.pod.index import run_index
from fpj_worker.pod.remove import run_removal
from fpj_worker.pod.shard import run_shard
from fpj_worker.pod.task import Task, read_task
from fpj_worker.stopping import Stop

_COMMANDS: dict[str, Callable[[Task, Store, Stop], None]] = {
    "index": run_index,
    "shard": run_shard,
    "remove": run_removal,
}
_USAGE = 2

log = logging.getLogger("fpj.worker")


def run(arguments: Sequence[str], environment: Mapping[str, str], stop: Stop) -> int:
    """Run ``index``, ``shard`` or ``remove``; the exit code."""
    log_as_json()
    command = _COMMANDS.get(arguments[0]) if len(arguments) == 1 else None
    if command is None:
        log.error("usage: fpj-worker %s", "|".join(_COMMANDS))
        return _USAGE
    with ExitStack() as said:
        try:
            _serve_metrics(environment)
            task = read_task(environment)
            said.enter_context(about(**task.about))
            with closing(metrics.timed(open_store(environment.get("FPJ_STORE", "")))) as store:
                command(task, store, stop)
        except Exception as error:  # noqa: BLE001 - whatever it is, it decides how the pod ends
            return _end(error, Path(environment.get("FPJ_TERMINATION_LOG", "/dev/termination-log")))
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


def _end(error: Exception, message_path: Path) -> int:
    ending = ending_of(error)
    if ending.reason is None:
        log.info("ended on request")
        return ending.code
    text = str(error) or type(error).__name__
    unforeseen = error if ending.reason is Reason.INTERNAL else None
    log.error(text, exc_info=unforeseen, extra={"reason": ending.reason.value})
    try:
        message_path.write_text(termination_message(ending.reason, text), encoding="ascii")
    except OSError as refusal:
        log.warning("the termination message cannot be written: %s", refusal)
    return ending.code
