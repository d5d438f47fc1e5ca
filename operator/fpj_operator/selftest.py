"""``python -m fpj_operator.selftest``: whether an installation works, seen as the operator.

`helm test` runs it.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable

from fpj_core.errors import FpjError
from fpj_core.kube import names
from fpj_core.kube.api import Cluster
from fpj_core.store import open_store
from fpj_operator.settings import namespaces_from

_PATIENCE_SECONDS = 30.0
_AGAIN_SECONDS = 1.0
_ANSWER_SECONDS = 5.0


class _NotYetError(Exception):
    """What does not work, for a person."""


async def check(
    cluster: Cluster,
    namespace: str,
    store_url: str,
    api_url: str = "",
    *,
    patience: float = _PATIENCE_SECONDS,
) -> list[str]:
    """All that should work, a line each: ``ok`` or what is wrong.

    Each check has ``patience`` seconds to come true.

    Without ``api_url`` there is no API to ask.
    """
    checks: dict[str, Callable[[], Awaitable[None]]] = {
        "an operator leads": Leads(cluster, namespace),
        "the resources can be listed": lambda: _listed(cluster),
        "the store answers": lambda: _answers(store_url),
    }
    if api_url:
        checks["the API is ready"] = lambda: _is_ready(api_url)
    return [f"{name}: {await within(patience, one)}" for name, one in checks.items()]


async def within(patience: float, one: Callable[[], Awaitable[None]]) -> str:
    """``ok``, or what was still wrong after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            await one()
        except (_NotYetError, FpjError) as error:
            if time.monotonic() > deadline:
                return str(error)
            await asyncio.sleep(_AGAIN_SECONDS)
        else:
            return "ok"


class Leads:
    """Whether the leader renews its Lease before our eyes: its clock need not agree with ours."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._renewed: set[object] = set()

    async def __call__(self) -> None:
        """Ask once more. Raises a reason for people, and `ClusterError`."""
        lease = await self._cluster.get("Lease", self._namespace, names.MANAGER)
        spec = lease["spec"] if lease else {}
        if not spec.get("holderIdentity"):
            raise _NotYetError(f"nobody holds the Lease {names.MANAGER} in {self._namespace}")
        self._renewed.add(spec.get("renewTime"))
        if len(self._renewed) < 2:
            raise _NotYetError(
                f"{spec['holderIdentity']} no longer leads: its Lease is not renewed"
            )


async def _listed(cluster: Cluster) -> None:
    for place in namespaces_from() or (None,):
        for kind in ("FileProcessingJob", "FileProcessingSchedule", "CacheFolder", "CachePurge"):
            await cluster.check_listable(kind, place)


async def _answers(store_url: str) -> None:
    def ask() -> None:
        store = open_store(store_url)
        try:
            store.folders()
        finally:
            store.close()

    await asyncio.to_thread(ask)


async def _is_ready(api_url: str) -> None:
    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{api_url}/readyz", timeout=_ANSWER_SECONDS):  # noqa: S310 - the chart's own
                pass
        # An answer that says no is an OSError.
        except (OSError, http.client.HTTPException) as error:
            raise _NotYetError(f"{api_url}/readyz: {error}") from None

    await asyncio.to_thread(ask)


async def _main() -> int:
    cluster = await Cluster.connect()
    try:
        own, store, api = (
            os.environ["FPJ_OWN_NAMESPACE"],
            os.environ["FPJ_STORE"],
            os.environ.get("FPJ_API_URL", ""),
        )
        lines = await check(cluster, own, store, api)
    finally:
        await cluster.close()
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if all(line.endswith(": ok") for line in lines) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
