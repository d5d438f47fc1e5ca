"""Following jobs through whatever the API server does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from unit.api.clusters import FakeCluster, event, job, listed

from fpj_api.hub import Hub
from fpj_api.informer import Informer
from fpj_api.table import JobTable, held_of
from fpj_core.kube.errors import ClusterError, NoAnswerError
from fpj_core.kube.jobresource import JobResource


class Scene:
    def __init__(self, namespace: str | None = None) -> None:
        self.cluster, self.hub, self.now = FakeCluster(), Hub(), 0.0
        self.table = JobTable(self.hub)
        self.reported = self.hub.subscribe()
        self.informer = Informer(self.cluster, namespace, self.table, lambda: self.now)  # type: ignore[arg-type]

    @property
    def names(self) -> list[str]:
        return sorted(f"{each.namespace}/{each.name}" for each in self.table.newest_first())

    def changes(self) -> list[tuple[str, str]]:
        found = []
        while (change := self.reported.take()) is not None:
            found.append((change.kind, change.uid))
        return found

    def play(self, condition: Callable[[], bool]) -> None:
        async def run() -> None:
            task = asyncio.create_task(self.informer.run())
            for _ in range(5_000):
                if condition() or task.done():
                    break
                await asyncio.sleep(0)
            assert not task.done(), task.exception()
            task.cancel()
            assert condition()

        asyncio.run(run())


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    real = asyncio.sleep

    async def sleep(_seconds: float) -> None:
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)


def waits(scene: Scene, watch: str) -> Callable[[], bool]:
    """Whether it has come to this watch, which has nothing to tell."""
    return lambda: scene.cluster.calls[-1:] == [f"watch {watch}"] and not scene.cluster.watches


def test_pages_then_a_watch_from_where_they_ended() -> None:
    scene = Scene()
    scene.cluster.lists = [listed(7, job("a", 1), after="more"), listed(7, job("b", 2))]
    scene.cluster.watches = [
        [
            event("ADDED", job("c", 8)),
            event("MODIFIED", job("a", 9, phase="Running")),
            event("BOOKMARK", {"metadata": {"resourceVersion": "12"}}),
            event("DELETED", job("b", 13)),
        ]
    ]
    scene.play(waits(scene, "13"))
    assert scene.cluster.calls == ["list all", "list all more", "watch 7", "watch 13"]
    assert scene.names == ["team/a", "team/c"]
    assert scene.changes()[-1] == ("gone", "uid-team-b")
    assert {each.phase for each in scene.table.newest_first()} == {"Running", "Pending"}


def test_a_watch_that_breaks_goes_on_where_it_was() -> None:
    scene = Scene()
    scene.cluster.lists = [ClusterError(0, "away"), listed(7)]
    scene.cluster.watches = [
        [event("ADDED", job("a", 8)), NoAnswerError()],
        [ClusterError(500, "broken")],
    ]
    scene.play(lambda: scene.cluster.calls.count("watch 8") == 2)
    assert scene.cluster.calls == ["list all", "list all", "watch 7", "watch 8", "watch 8"]
    assert scene.names == ["team/a"]


@pytest.mark.parametrize("during", ["watch", "event", "list"])
def test_history_that_is_gone_is_listed_anew_and_the_difference_told(during: str) -> None:
    scene = Scene()
    gone = ClusterError(410, "too old")
    before = [job("same", 1), job("gone", 2), job("twice", 3, uid="old")]
    after = [job("same", 1), job("new", 20), job("twice", 21, uid="young")]
    scene.cluster.lists = [
        listed(7, *before),
        *([gone] if during == "list" else []),
        listed(30, *after),
    ]
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    scene.cluster.watches = [[bookmark, gone] if during == "event" else [gone]]
    scene.play(waits(scene, "30"))
    assert scene.names == ["team/new", "team/same", "team/twice"]
    heard = scene.changes()
    assert [each for each in heard if each[1] == "uid-team-same"] == [("job", "uid-team-same")], (
        "once, at the start"
    )
    assert heard[-4:] == [
        ("gone", "uid-team-gone"),
        ("job", "uid-team-new"),
        ("gone", "old"),
        ("job", "young"),
    ]


def test_what_does_not_show_is_not_told() -> None:
    scene = Scene()
    scene.cluster.lists = [listed(7, job("a", 1))]
    scene.cluster.watches = [[event("MODIFIED", job("a", 8)), event("MODIFIED", job("a", 9))]]
    scene.play(waits(scene, "9"))
    assert scene.changes() == [("job", "uid-team-a")]


def test_labels_are_kept_up_to_date_and_not_sent() -> None:
    scene = Scene()
    changed = job("a", 2)
    changed["metadata"]["labels"] = {"team": "web"}
    for document, sent in ((job("a", 1), [("job", "uid-team-a")]), (changed, [])):
        scene.table.put(held_of(JobResource(document)))
        assert scene.changes() == sent
    assert [each.labels for each in scene.table.newest_first()] == [{"team": "web"}]


def test_a_job_that_cannot_be_understood_hides_no_other() -> None:
    scene = Scene()
    broken: Any = job("broken", 1, progress={"total": "many"})
    scene.cluster.lists = [listed(7, broken, job("fine", 2))]
    scene.play(waits(scene, "7"))
    assert scene.names == ["team/fine"]


def test_only_its_own_namespace_is_replaced() -> None:
    scene = Scene("team")
    other = Informer(scene.cluster, "other", scene.table, lambda: 0.0)  # type: ignore[arg-type]
    scene.cluster.lists = [listed(7, job("a", 1, namespace="other"))]
    asyncio.run(other._list())
    scene.cluster.lists = [listed(8, job("b", 2))]
    scene.play(waits(scene, "8"))
    assert scene.names == ["other/a", "team/b"]
    assert scene.table.namespaces == {"other", "team"}


def test_what_may_not_be_read_is_not_shown_from_memory() -> None:
    scene = Scene("team")
    scene.cluster.lists = [listed(7, job("a", 1)), ClusterError(403, "no"), listed(9, job("a", 1))]
    scene.cluster.watches = [[ClusterError(403, "no")]]
    scene.play(lambda: scene.informer.refused)
    assert scene.names == []
    assert scene.informer.problem() == "the API may not read the jobs of namespace team"
    scene.cluster.watches = []
    scene.play(waits(scene, "9"))
    assert scene.names == ["team/a"]
    assert scene.informer.problem() is None


def test_readiness() -> None:
    scene = Scene()
    assert scene.informer.problem() == "the jobs of all namespaces are not listed yet"
    scene.cluster.lists = [listed(7)]
    scene.play(waits(scene, "7"))
    assert scene.informer.problem() is None
    scene.now = 241.0
    assert scene.informer.problem() == "nothing was heard of all namespaces for 241 s"
    scene.cluster.watches = [[event("BOOKMARK", {"metadata": {"resourceVersion": "9"}})]]
    scene.play(waits(scene, "9"))
    assert scene.informer.problem() is None


def test_a_list_alone_is_no_success() -> None:
    """Where jobs may be listed but not watched, the list is not asked for again and again."""
    scene = Scene()
    scene.cluster.lists = [listed(7)] * 8
    scene.cluster.watches = [[ClusterError(403, "no")]] * 8
    scene.play(lambda: scene.informer._failures == 8)


def test_the_pause_grows_and_is_bounded() -> None:
    scene = Scene()
    pauses = []
    for _ in range(20):
        scene.informer._note(ClusterError(0, "away"))
        pauses.append(scene.informer._pause())
    assert all(0.25 <= pause <= 20 for pause in pauses)
    assert max(pauses[:2]) <= 1 and min(pauses[8:]) >= 10
