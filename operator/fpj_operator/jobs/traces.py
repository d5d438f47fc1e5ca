"""Traces of jobs' lives, for whoever collects them with OpenTelemetry.

Off unless an endpoint is given.

A job's trace is sent when it ends, made of times that were recorded on the way: no span lives in
memory while its job does, and an operator that takes over still sends the whole trace. The trace's
id is the job's uid without its dashes, so who has one has the other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from typing_extensions import override

from fpj_core.formatting import seconds_of
from fpj_core.model import Phase
from fpj_operator.conditionlist import condition
from fpj_operator.jobs.conditions import attempt_from
from fpj_operator.jobs.state import Observed

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PLANNING = ("Check", "Plan")
"""Stages of planning after the listing, which begins with the attempt."""
_FLUSH_MILLISECONDS = 5_000

log = logging.getLogger("fpj.traces")


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a job's life; times are seconds since the epoch."""

    name: str
    began: float
    ended: float


class Traces:
    """Sends a trace of each job that ends."""

    def __init__(self, provider: TracerProvider, ids: Any) -> None:
        self._provider = provider
        self._ids = ids
        self._tracer = provider.get_tracer("fpj_operator")

    def send(self, observed: Observed, status: Mapping[str, Any]) -> None:
        """Hand a job that has just ended to the exporter, which works in a thread of its own."""
        from opentelemetry.trace import Status, StatusCode, set_span_in_context  # noqa: PLC0415 - optional

        stages = stages_of(observed, status)
        self._ids.next_trace = UUID(observed.uid).int
        life = self._tracer.start_span(
            "FileProcessingJob",
            start_time=_nanoseconds(stages[0].began),
            attributes=_attributes(observed, status),
        )
        for stage in stages:
            part = self._tracer.start_span(
                stage.name, set_span_in_context(life), start_time=_nanoseconds(stage.began)
            )
            part.end(_nanoseconds(stage.ended))
        if status["phase"] == Phase.FAILED.value:
            life.set_status(Status(StatusCode.ERROR, condition(status, "Ready")["message"]))
        life.end(_nanoseconds(stages[-1].ended))

    def close(self) -> None:
        """Send what has not been sent, within seconds."""
        self._provider.force_flush(_FLUSH_MILLISECONDS)
        self._provider.shutdown()


def traces_from(environment: Mapping[str, str] = os.environ) -> Traces | None:
    """As OpenTelemetry's own variables say; None without an endpoint,
    or without the extra ``tracing``.
    """
    if not any(environment.get(name) for name in _ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415
    except ImportError as error:
        log.error(
            "traces are asked for, but fpj was installed without its extra `tracing`: %s", error
        )
        return None

    class Ids(RandomIdGenerator):
        """The next trace is the job's own."""

        next_trace = 0

        @override
        def generate_trace_id(self) -> int:
            return self.next_trace

    ids = Ids()
    name = environment.get("OTEL_SERVICE_NAME") or "fpj-operator"
    provider = TracerProvider(resource=Resource.create({"service.name": name}), id_generator=ids)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider, ids)


def stages_of(observed: Observed, status: Mapping[str, Any]) -> list[Stage]:
    """The stages of a job that ends now, one after another without gaps. Pure.

    Only the last attempt is known by its stages; those before it are one. Clocks of several
    machines are involved, so no stage is let begin before the one that it follows.
    """
    record, attempt = observed.store.record, attempt_from(status)
    started = seconds_of(status.get("startTime")) or observed.now
    resumed = bool(attempt.resumed_by) and attempt.number > 1
    found: list[tuple[str, float]] = [] if resumed else [("Queue", observed.created_at)]
    if attempt.started_at - started >= 1:  # the status has whole seconds
        found.append(("EarlierAttempts", started))
    if attempt.started_at:
        found.append(("Index", attempt.started_at))
    if record is not None and record.planned_attempt == attempt.number:
        found += [(name, record.stages[name]) for name in _PLANNING if name in record.stages]
        if record.running_since is not None:
            found.append(("Process", record.running_since))
            found.append(("Finish", max(record.last_progress_at or 0.0, record.running_since)))
    began = [max(time for _, time in found[: index + 1]) for index in range(len(found))]
    began = [min(time, observed.now) for time in began] + [observed.now]
    return [
        Stage(name, begin, end)
        for (name, _), begin, end in zip(found, began[:-1], began[1:], strict=True)
    ]


def _attributes(observed: Observed, status: Mapping[str, Any]) -> dict[str, str | int]:
    progress = status.get("progress") or {}
    counts: dict[str, str | int] = {
        f"fpj.images.{name}": int(progress.get(name, 0))
        for name in ("completed", "skipped", "failed")
    }
    return counts | {
        "k8s.namespace.name": observed.key.namespace,
        "fpj.job": observed.key.name,
        "fpj.job.uid": observed.uid,
        "fpj.phase": str(status["phase"]),
        "fpj.reason": condition(status, "Ready")["reason"],
        "fpj.attempts": attempt_from(status).number,
    }


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
