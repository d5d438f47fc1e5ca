"""One action for many jobs: all of it is allowed, or nothing is done.

Then each job has its own result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence

from fpj_api.access import Access
from fpj_api.actions import Actions
from fpj_api.identities import User
from fpj_api.problems import ProblemError, problem_of, translated
from fpj_api.requests import Result
from fpj_core.errors import FpjError
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import JOBS
from fpj_core.kube.steering import Action

_AT_ONCE = 8
_SECONDS = 45.0
"""After this no further job is started; the client would have stopped waiting."""

Key = tuple[str, str]


async def authorize(access: Access, user: User, action: Action, namespaces: Iterable[str]) -> None:
    """Raise a problem unless the action is allowed for many jobs in every namespace."""
    where = set(namespaces)
    for verb in action.verbs_for_many:
        await access.require_all(user, verb, JOBS, where)


async def run(actions: Actions, user: User, action: Action, jobs: Sequence[Key]) -> list[Result]:
    """Do it, a few at a time; results in the order of ``jobs``.

    Nothing more is started once the cluster is away.
    """
    operation = _Operation(actions, user, action)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(namespace: str, name: str) -> Result:
        async with turns:
            problem = await operation.do(namespace, name)
        return Result(namespace=namespace, name=name, done=problem is None, problem=problem)

    return list(await asyncio.gather(*(one(*job) for job in jobs)))


class _Operation:
    def __init__(self, actions: Actions, user: User, action: Action) -> None:
        self._actions, self._user, self._action = actions, user, action
        self._until = time.monotonic() + _SECONDS
        self._stopped: str | None = None

    async def do(self, namespace: str, name: str) -> str | None:
        """Why it was not done, or None."""
        if self._stopped is None and time.monotonic() > self._until:
            self._stopped = "the time limit was reached"
        if self._stopped is not None:
            return f"not tried: {self._stopped}"
        try:
            await self._actions.act(self._user, self._action, namespace, name)
        except (ProblemError, FpjError) as error:
            if isinstance(error, ClusterError) and error.status == 0:
                self._stopped = problem_of(error).detail
            return translated(error).detail
        return None
