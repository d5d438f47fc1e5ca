"""Whether a namespace is being deleted.

Kubernetes then deletes its pods first, and nothing else before they are gone. A failed pod of an
Indexed Job with a backoff limit per index is kept by the Job controller until its replacement
exists, and none can be made any more: the namespace would wait forever for a pod that waits
forever. So the operator deletes the active jobs of such a namespace, and their child Jobs with
them.
"""

from __future__ import annotations

import time

from fpj_core.kube.api import Cluster
from fpj_core.kube.errors import ClusterError


class Namespaces:
    """Asks once in ``seconds`` for each namespace that has an active job."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._asked: dict[str, tuple[float, bool]] = {}

    async def is_ending(self, namespace: str) -> bool:
        """Whether it is being deleted; False where we may not know. Raises `ClusterError`."""
        asked_at, ending = self._asked.get(namespace, (float("-inf"), False))
        if time.monotonic() - asked_at < self._seconds:
            return ending
        try:
            found = await self._cluster.get("Namespace", None, namespace)
        except ClusterError as error:
            if error.status != 403:
                raise
            found = None
        ending = found is not None and "deletionTimestamp" in found["metadata"]
        self._asked[namespace] = (time.monotonic(), ending)
        return ending
