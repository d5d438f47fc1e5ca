"""What a job's pods get in their environment is in no row and no document of the store,
from the plan to the end.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from unit.operator.leases_world import health_of
from unit.operator.world import SETTINGS, World, folder_resource
from unit.worker_pod.conftest import photo

from fpj_core.kube.names import lease_name
from fpj_core.model import Phase
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1.workertemplate import WorkerTemplate
from fpj_operator.jobs.children import collection_of, index_job, shards_job
from fpj_operator.jobs.execute import Executor
from fpj_operator.jobs.state import Attempt, Observed, Plan, RecordEnd, RecordJob
from fpj_worker.pod.index import run_index
from fpj_worker.pod.shard import run_shard
from fpj_worker.pod.task import read_task
from fpj_worker.stopping import Stop

SECRETS = {
    "VIPS_TOKEN": "hunter2-given-as-value",
    "OMP_TOKEN": "hunter3-out-of-a-secret",
    "FPJ_STORE": "mongodb://fpj:hunter5-password@store",
}
SOURCE = "hunter4-name-of-the-secret"
TEMPLATE = {
    "env": [
        {"name": "VIPS_TOKEN", "value": SECRETS["VIPS_TOKEN"]},
        {"name": "OMP_TOKEN", "valueFrom": {"secretKeyRef": {"name": SOURCE, "key": "token"}}},
    ]
}


def environment_of(child: dict[str, Any], root: Path) -> dict[str, str]:
    """As a kubelet makes it of the pod's template."""
    (container,) = child["spec"]["template"]["spec"]["containers"]
    given = {
        each["name"]: each["value"].replace("$$", "$")
        if "value" in each
        else SECRETS.get(each["name"], "pod-0")
        for each in container["env"]
    }
    assert (
        given["VIPS_TOKEN"] == SECRETS["VIPS_TOKEN"] and given["OMP_TOKEN"] == SECRETS["OMP_TOKEN"]
    )
    return given | {"FPJ_SOURCE_ROOT": str(root / "source"), "FPJ_CACHE_ROOT": str(root / "cache")}


def observed() -> Observed:
    world = World()
    world.add(workerTemplate=TEMPLATE)
    found = world.observe("photos")
    assert found.job is not None and isinstance(found.job.spec.worker_template, WorkerTemplate)
    return found


def work_through(store: Store, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, attempt, folder = observed(), Attempt(number=1, fence=1), folder_resource()
    settings = replace(SETTINGS, worker_reports=False)
    unused: Any = None
    executor = Executor(unused, store, health_of(store), unused)

    def record(*steps: RecordJob | RecordEnd) -> None:
        asyncio.run(executor.carry_out(seen, Plan(steps_first=steps)))

    def enter(child: dict[str, Any]) -> Any:
        environment = environment_of(child, root)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return read_task(environment)

    store.acquire_lease(lease_name(collection_of(seen)), seen.uid, 300, 1.0)
    record(RecordJob(Phase.INDEXING, "", "", 1))
    run_index(enter(index_job(seen, folder, attempt, settings)), store, Stop())
    record(RecordJob(Phase.RUNNING, "", "", 1))
    run_shard(enter(shards_job(seen, folder, attempt, settings, 0, 1)), store, Stop())
    record(RecordJob(Phase.COMPLETED, "AllImagesDone", "", 1), RecordEnd())
    job = store.get_job(seen.uid)
    assert job is not None and job.finished_at and job.total == 3
    assert [failure.key for failure in store.failures(seen.uid)] == ["broken.jpg"]


def everything_in(url: str) -> Iterator[str]:
    """Every row or document of the store, and of SQLite the bytes of its files besides."""
    if url.startswith("mongodb"):
        with MongoClient[dict[str, Any]](url) as client:
            database = client.get_default_database()
            for name in database.list_collection_names():
                yield from (repr(document) for document in database[name].find())
        return
    with closing(sqlite3.connect(url)) as db:
        for (table,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall():
            yield from (repr(row) for row in db.execute(f"SELECT * FROM {table}"))
    for path in Path(url).parent.glob(Path(url).name + "*"):
        yield path.read_bytes().decode("latin-1")


def test_no_variable_of_a_jobs_pods_gets_into_the_store(
    store: Store, store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "cache").mkdir()
    for number in range(2):
        (tmp_path / "source" / f"{number}.jpg").write_bytes(photo(number))
    (tmp_path / "source" / "broken.jpg").write_bytes(photo(2)[:900])
    work_through(store, tmp_path, monkeypatch)
    found = "\n".join(everything_in(store_url))
    assert "claimName" in found and "broken.jpg" in found, (
        "the manifest and the failures are looked at, too"
    )
    assert "hunter" not in found
