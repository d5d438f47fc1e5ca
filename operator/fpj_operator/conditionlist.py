"""Conditions as a status lists them: those of jobs and those of schedules. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fpj_core.formatting import moment

_MOST_MESSAGE = 512


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of that type as a status has it; empty where there is none."""
    return next((each for each in status.get("conditions", []) if each["type"] == kind), {})


def condition_list(
    status: Mapping[str, Any],
    wanted: Sequence[tuple[str, bool, tuple[str, str]]],
    generation: int,
    now: float,
) -> list[dict[str, Any]]:
    """The conditions (type, whether it holds, (reason, message)).

    What holds since before keeps its time.
    """
    before = {condition["type"]: condition for condition in status.get("conditions", [])}
    return [
        restated(before.get(name), name, holds, words, generation, moment(now))
        for name, holds, words in wanted
    ]


def restated(
    before: Mapping[str, Any] | None,
    name: str,
    holds: bool,
    words: tuple[str, str],
    generation: int,
    now: str,
) -> dict[str, Any]:
    """One condition, which keeps its ``lastTransitionTime`` unless its status changes."""
    return restate(before or {}, name, "True" if holds else "False", words, generation, now)


def restate(
    before: Mapping[str, Any],
    name: str,
    status: str,
    words: tuple[str, str],
    generation: int,
    now: str,
) -> dict[str, Any]:
    """As `restated`, of a condition that may also be Unknown; ``before`` may be empty."""
    unchanged = before.get("status") == status
    return {
        "type": name,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if unchanged else now,
        "reason": words[0],
        "message": words[1][:_MOST_MESSAGE],
    }
