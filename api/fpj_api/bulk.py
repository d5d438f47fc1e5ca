"""One action for many jobs: all of it is allowed, or nothing is done.

Then each job has its own result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

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
    many = Many()

    async def one(namespace: str, name: str) -> Result:
        problem = await many.do(lambda: actions.act(user, action, namespace, name))
        return Result(namespace=namespace, name=name, done=problem is None, problem=problem)

    return list(await asyncio.gather(*(one(*job) for job in jobs)))


class Many:
    """Work for many, a few at a time, until the cluster is away or the time is up."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._until = time.monotonic() + _SECONDS
        self._stopped: str | None = None

    async def do(self, work: Callable[[], Awaitable[object]]) -> str | None:
        """Why it was not done, or None."""
        async with self._turns:
            return await self._do(work)

    async def _do(self, work: Callable[[], Awaitable[object]]) -> str | None:
        if self._stopped is None and time.monotonic() > self._until:
            self._stopped = "the time limit was reached"
        if self._stopped is not None:
            return f"not tried: {self._stopped}"
        try:
            await work()
        except (ProblemError, FpjError) as error:
            if isinstance(error, ClusterError) and error.status == 0:
                self._stopped = problem_of(error).detail
            return translated(error).detail
        return None
