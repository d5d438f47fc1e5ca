"""What a decision wants people to hear of, as an event."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Emit:
    """Write a Kubernetes event; the same ``unique`` is written once."""

    reason: str
    message: str
    warning: bool = False
    unique: str = ""
