"""What ended jobs have left: rights of their workers, child Jobs that have not ended.

An operator that died in between leaves them, or one of an older version. Finished jobs are not
reconciled without a cause. So after the start, and then every hour, each job is that still has one
of them; active jobs have both. A collection's Lease that a finished job still holds is found by
`fpj_operator.jobs.vanished`, which reads those anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from fpj_core.kube import names
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_operator.jobs.marks import child_marks_of

_SECONDS = 3_600.0
_PAGE, _MOST = 250, 50_000
_ENDED = frozenset({"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"})
"""Conditions of a child Job that has ended, or starts no more pods."""

log = logging.getLogger("fpj.leftovers")


async def look_for_leftovers(
    cluster: Cluster, namespaces: Sequence[str], look_at: Callable[[str, str], None]
) -> None:
    """Forever.

    ``look_at`` gets the namespace and the name of a job; without ``namespaces`` those of the
    cluster.
    """
    while True:
        for namespace in namespaces or (None,):
            for kind, is_left in {"ServiceAccount": _any, "Job": _has_not_ended}.items():
                try:
                    await _look_in(cluster, kind, namespace, is_left, look_at)
                except ClusterError as error:
                    log.warning(
                        "%ss cannot be listed in %s: %s", kind, namespace or "the cluster", error
                    )
        await asyncio.sleep(_SECONDS)


async def _look_in(
    cluster: Cluster,
    kind: str,
    namespace: str | None,
    is_left: Callable[[Document], bool],
    look_at: Callable[[str, str], None],
) -> None:
    async for page in cluster.pages(
        kind, namespace, size=_PAGE, most=_MOST, labels=names.LABEL_UID
    ):
        for found in filter(is_left, page):
            metadata = found["metadata"]
            for owner in metadata.get("ownerReferences", ()):
                if owner.get("kind") == "FileProcessingJob":
                    look_at(metadata["namespace"], owner["name"])


def _any(_account: Document) -> bool:
    return True


def _has_not_ended(child: Document) -> bool:
    deleting, _failed_pods, conditions = child_marks_of(child)
    return not deleting and not conditions & _ENDED
