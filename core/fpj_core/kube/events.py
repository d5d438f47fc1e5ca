"""What Kubernetes events report about a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fpj_core.formatting import seconds_of


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was reported about a job. ``at`` is seconds since the epoch."""

    at: float
    warning: bool
    reason: str
    message: str
    count: int


def event_of(found: Mapping[str, Any]) -> Event:
    """From an Event object of either API version, counted or in a series."""
    series = found.get("series") or {}
    at = series.get("lastObservedTime") or found.get("lastTimestamp") or found.get("eventTime")
    return Event(
        at=seconds_of(at or found["metadata"].get("creationTimestamp")),
        warning=found.get("type") == "Warning",
        reason=str(found.get("reason", "")),
        message=str(found.get("message", "")),
        count=int(series.get("count") or found.get("count") or 1),
    )
