"""Which of the namespaces that the operator is to watch it can watch.

The rights to a namespace go with it when it is deleted. kopf ends over the first list that it is
refused, so one deleted namespace would stop the work in all others: what cannot be read is left
out, and asked for again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from fpj_core.errors import FpjError
from fpj_core.kube.api import Cluster
from fpj_core.kube.errors import ClusterError

log = logging.getLogger("fpj.watched")


async def readable(cluster: Cluster, namespaces: Sequence[str]) -> tuple[str, ...]:
    """Those whose jobs we may list.

    Raises `FpjError` if there are none, or the resources are unknown.
    """
    found = []
    for namespace in namespaces:
        try:
            await cluster.check_listable("FileProcessingJob", namespace)
            found.append(namespace)
        except ClusterError as error:
            if error.status == 404:
                raise FpjError(
                    "the API server does not know FileProcessingJobs: apply the CRDs"
                ) from error
            if error.status != 403:
                raise
            log.error(
                "namespace %s is left out until the operator may read it: %s", namespace, error
            )
    if not found:
        raise FpjError(f"the operator may not read any of the namespaces: {', '.join(namespaces)}")
    return tuple(found)


async def until_more(
    cluster: Cluster, namespaces: Sequence[str], served: Sequence[str], seconds: float
) -> None:
    """Return when a namespace that was left out can be read; asked every so many seconds.

    Never if none was.
    """
    missing = [namespace for namespace in namespaces if namespace not in served]
    while True:
        await asyncio.sleep(seconds)
        for namespace in missing:
            try:
                await cluster.check_listable("FileProcessingJob", namespace)
            except ClusterError:
                continue
            log.warning("namespace %s can be read now: restarting", namespace)
            return
