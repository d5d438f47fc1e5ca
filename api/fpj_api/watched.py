"""All that is watched, and whether it can be relied on."""

from __future__ import annotations

from collections.abc import Sequence

from fpj_api.hub import Hub
from fpj_api.informer import Informer
from fpj_api.problems import unavailable
from fpj_api.table import JobTable
from fpj_core.kube.api import Cluster


class Watched:
    """The table of jobs with what fills it; an informer per namespace, or one for all."""

    def __init__(self, cluster: Cluster, namespaces: Sequence[str]) -> None:
        self.hub = Hub()
        self._table = JobTable(self.hub)
        self.informers = [
            Informer(cluster, namespace, self._table) for namespace in namespaces or (None,)
        ]

    @property
    def table(self) -> JobTable:
        """The jobs. Raises a problem (503) before they were listed."""
        if not all(informer.listed or informer.refused for informer in self.informers):
            raise unavailable("the jobs are not listed yet")
        return self._table

    def problem(self) -> str | None:
        """Why no requests should come here, or None.

        A namespace that may not be read stops no other.
        """
        served = [each for each in self.informers if not each.refused] or self.informers
        return next((problem for each in served if (problem := each.problem())), None)
