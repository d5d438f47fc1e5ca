"""What one pod asks of MongoDB, counted: the figures that the sizes in docs/guide/capacity.md rest
on.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from recording import OPENING, Commands, recorded_store
from unit.worker_pod.conftest import COLLECTION, UID, folder_manifest, job_manifest, photo

from fpj_core.model import Job
from fpj_core.store.protocol import Store
from fpj_worker.pod.index import run_index
from fpj_worker.pod.report import Reporter
from fpj_worker.pod.shard import run_shard
from fpj_worker.pod.task import Task, read_task
from fpj_worker.stopping import Stop

sys.path.append(str(Path(__file__).parents[2] / "hack"))
from fpj_fleet.figures import load

IMAGES, BATCH = 60, 20
FIGURES = load().commands
A_FEW = 2
"""By which what a pod asks once may differ before its figure has to follow:
beside its batches it counts for little.
"""


@pytest.fixture
def recorded(mongodb_server: str) -> Iterator[tuple[Store, Commands]]:
    url = f"{mongodb_server}/fpj-test-commands"
    with recorded_store(url) as found:
        yield found
    with MongoClient[dict[str, Any]](mongodb_server) as client:
        client.drop_database("fpj-test-commands")


def task(root: Path, **more: object) -> Task:
    job = job_manifest(sharding={"shardSize": IMAGES, "batchSize": BATCH, "workersPerPod": 1})
    document = {
        "job": job,
        "folder": folder_manifest(),
        "collection": COLLECTION,
        "attempt": 1,
        "fence": 0,
    } | more
    roots = {"FPJ_SOURCE_ROOT": str(root / "source"), "FPJ_CACHE_ROOT": str(root / "cache")}
    return read_task(roots | {"FPJ_TASK": json.dumps(document), "POD_NAME": "pod-0"})


def test_a_pod_sends_as_many_commands_as_the_capacity_page_says(
    recorded: tuple[Store, Commands], tmp_path: Path
) -> None:
    store, commands = recorded
    (tmp_path / "source" / "album").mkdir(parents=True)
    (tmp_path / "cache" / "derived").mkdir(parents=True)
    for number in range(IMAGES):
        (tmp_path / "source" / "album" / f"{number}.jpg").write_bytes(photo(number))
    store.create_job(Job(UID, "job", COLLECTION, {}, "d", created_at=time.time()))
    run_index(task(tmp_path), store, Stop())
    assert commands.each(OPENING) == pytest.approx(FIGURES["connect"], abs=A_FEW)

    for method in list(commands.sent):
        del commands.sent[method], commands.calls[method]
    run_shard(task(tmp_path, shards="0-0"), store, Stop())
    claimed = commands.of("get_job", "claim_shard")
    began, finished = commands.of("count_images"), commands.of("finish_shard", "silent_shards")
    for method in ("now", "heartbeat"):
        commands.sent.pop(method, None)  # by time: as many as the shard takes time
    assert commands.of("flush") == commands.calls["flush"] * FIGURES["flush"]
    assert claimed + began == pytest.approx(FIGURES["claim"] + FIGURES["begin"], abs=A_FEW)
    assert commands.of("images", "derivatives") == FIGURES["read"]
    known = {"get_job", "claim_shard", "count_images", "flush", "images", "derivatives"}
    known |= {"finish_shard", "silent_shards"}
    others = [name for name, sent in commands.sent.items() if sent and name not in known]
    assert commands.of(*others) <= A_FEW, others

    for method in list(commands.sent):
        del commands.sent[method]
    reporter = Reporter(store, UID, 1, "pod-0", lambda _status: None)
    reporter._report_last()
    finished += sum(sent.total() for sent in commands.sent.values())
    assert finished == pytest.approx(FIGURES["finish"], abs=A_FEW)
    shard = store.shard(UID, 1, 0)
    assert shard is not None and shard.counts.completed == IMAGES
    store.heartbeat(shard, time.time())
    assert commands.of("heartbeat") == 1
