"""``/healthz``: red when the event loop or the work stands still. A watch that dies ends the process by itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from fpj_operator.workqueue import Workqueue

_MOST_LAG_SECONDS = 60.0


class Health:
    """What the probe sees. ``queues`` are given once this process leads; one that waits to lead is healthy."""

    def __init__(self) -> None:
        self.queues: Sequence[Workqueue[Any]] = ()
        self._runner: web.AppRunner | None = None

    async def serve(self, port: int) -> None:
        """Answer on ``port``. The answer comes from the event loop itself: when that hangs, so does the probe."""
        application = web.Application()
        application.router.add_get("/healthz", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=port).start()

    async def close(self) -> None:
        """Stop answering."""
        if self._runner is not None:
            await self._runner.cleanup()

    def problem(self) -> str | None:
        """What is wrong, or None."""
        for queue in self.queues:
            silent = time.monotonic() - queue.handled_at
            if queue.depth and silent > _MOST_LAG_SECONDS:
                return f"{queue.depth} jobs wait, and nothing was finished for {silent:.0f} s"
        return None

    async def _answer(self, _request: web.Request) -> web.Response:
        problem = self.problem()
        return web.Response(text=(problem or "ok") + "\n", status=500 if problem else 200)
