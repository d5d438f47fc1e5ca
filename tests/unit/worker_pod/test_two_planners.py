"""Two index pods of one attempt: the first is cut off, the second stands in for it,
and the first wakes up.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
from unit.worker_pod.conftest import Cluster

from fpj_core.errors import FencedError
from fpj_core.store.protocol import Store
from fpj_worker.pod.index import run_index
from fpj_worker.pod.task import read_task
from fpj_worker.stopping import Stop


class Stalling:
    """A store whose caller sleeps before, or right after, it puts its shards,
    while another pod plans.
    """

    def __init__(self, cluster: Cluster, store: Store, when: str) -> None:
        self._cluster, self._store, self._when = cluster, store, when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_shards(self, *arguments: Any) -> int:
        if self._when == "before":
            self._cluster.plan()
        put = self._store.put_shards(*arguments)
        if self._when == "after":
            self._cluster.plan()
        return put


@pytest.mark.parametrize("when", ["before", "after"])
def test_who_planned_first_changes_nothing_of_the_second_ones_plan(
    cluster: Cluster, when: str
) -> None:
    cluster.add_photos(12)
    cluster.record()
    task = read_task(cluster.environment())
    with cluster.opened() as store:
        late = cast("Store", Stalling(cluster, store, when))
        with pytest.raises(FencedError):
            run_index(task, late, Stop())
    assert cluster.job.planned_attempt == 1
    assert cluster.job.planned_shards == len(cluster.shards) == 2
    planned = [(each.start, each.stop) for each in cluster.shards]
    assert planned == [(0, 10), (10, 12)]
