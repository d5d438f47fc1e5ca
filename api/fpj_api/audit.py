"""A line in the log for each change or attempt at one, and for each refusal: who, what,
and the outcome.

The address and the id of the request are in every line that is logged while it is handled; see
`fpj_api.middleware`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fpj_api.buckets import Buckets
from fpj_api.identities import User

REFUSALS = frozenset({401, 403, 429})
_MOST_GROUPS = 50
_MOST_PATH = 500
_LINES, _LINES_A_SECOND = 100, 5.0
"""Of refusals of one user, or of all callers whom nobody knows: they cost nothing to cause."""
_MOST_USERS = 2_000

log = logging.getLogger("fpj.api.audit")


def note(
    user: User, action: str, namespace: str, name: str, outcome: str, kind: str = "job"
) -> None:
    """A change. ``outcome`` is ``done``, ``nothing to do``, or why it was not done.

    ``kind`` of ``name`` is job, folder or purge.
    """
    what = {"action": action, "namespace": namespace, kind: name, "outcome": outcome}
    log.info("change", extra=_who(user) | what)


class Refusals:
    """Notes refused requests; of each user only so many a second,
    and how many were left out in all.
    """

    def __init__(self) -> None:
        self._room = Buckets(_LINES, _LINES_A_SECOND, _MOST_USERS)
        self._left_out = 0

    def note(self, scope: Mapping[str, Any], status: int) -> None:
        """A request that was answered with a status of `REFUSALS`."""
        user: User | None = scope.get("fpj.user")
        if not self._room.of(user and user.name).take():
            self._left_out += 1
            return
        problem = scope.get("fpj.problem")
        what: dict[str, Any] = {
            "method": scope["method"][:20],
            "path": scope["path"][:_MOST_PATH],
            "status": status,
        }
        what["outcome"] = problem.detail if problem else ""
        if self._left_out:
            what["left_out"], self._left_out = self._left_out, 0
        log.info("refused", extra=what | (_who(user) if user else {}))


def _who(user: User) -> dict[str, Any]:
    return {"user": user.name, "uid": user.uid, "groups": list(user.groups[:_MOST_GROUPS])}
