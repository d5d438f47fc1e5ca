"""Rights of workers whose job has ended, left by an operator that died in between, or by one of an older version.

Finished jobs are not reconciled without a cause. So after the start, and then every hour, each job is that still has an
account for its workers; an active one keeps it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from fpj_core import names
from fpj_core.cluster import Cluster, ClusterError

_SECONDS = 3_600.0
_PAGE, _MOST = 250, 50_000

log = logging.getLogger("fpj.leftovers")


async def look_for_rights(cluster: Cluster, namespaces: Sequence[str], look_at: Callable[[str, str], None]) -> None:
    """Forever. ``look_at`` gets the namespace and the name of a job; without ``namespaces`` those of the cluster."""
    while True:
        for namespace in namespaces or (None,):
            try:
                await _look_in(cluster, namespace, look_at)
            except ClusterError as error:
                log.warning("accounts of workers cannot be listed in %s: %s", namespace or "the cluster", error)
        await asyncio.sleep(_SECONDS)


async def _look_in(cluster: Cluster, namespace: str | None, look_at: Callable[[str, str], None]) -> None:
    async for page in cluster.pages("ServiceAccount", namespace, size=_PAGE, most=_MOST, labels=names.LABEL_UID):
        for account in page:
            metadata = account["metadata"]
            for owner in metadata.get("ownerReferences", ()):
                if owner.get("kind") == "FileProcessingJob":
                    look_at(metadata["namespace"], owner["name"])
