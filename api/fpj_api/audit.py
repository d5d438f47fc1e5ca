"""A line in the log for each change, or attempt at one: who, what, which job, and what came of it."""

from __future__ import annotations

import logging

from fpj_api.reviews import User

log = logging.getLogger("fpj.api.audit")


def note(user: User, action: str, namespace: str, job: str, outcome: str) -> None:
    """``outcome`` is ``done``, ``nothing to do``, or why it was not done."""
    log.info(
        "change", extra={"user": user.name, "action": action, "namespace": namespace, "job": job, "outcome": outcome}
    )
