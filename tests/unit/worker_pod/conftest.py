"""Pods as real processes over a SQLite store: what the operator would record and set,
and what Kubernetes would see.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typing_extensions import override

from fpj_core.kube.names import lease_name
from fpj_core.model import Counts, Job, Shard, ShardState
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_worker.pod.index import run_index
from fpj_worker.pod.task import read_task
from fpj_worker.stopping import Stop

BOUND = 60.0
"""Seconds that nothing here may take; a bound, not a measurement."""

UID = "5f0c1f6e-0000-4000-8000-000000000001"
COLLECTION = "team.photos"
SLOW_DECODER = Path(__file__).parents[2] / "e2e" / "injected" / "decoder"


def photo(seed: int) -> bytes:
    """A JPEG of 320x240, every one different."""
    chance = np.random.default_rng(seed)
    coarse = Image.fromarray(chance.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (320, 240), Image.Resampling.BICUBIC
    )
    target = io.BytesIO()
    coarse.save(target, "JPEG")
    return target.getvalue()


def job_manifest(**spec: Any) -> dict[str, Any]:
    """A FileProcessingJob as the API server has it, but for its status."""
    claim = {"claimName": "originals", "path": "/album/"}
    return {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "FileProcessingJob",
        "metadata": {"name": "job", "namespace": "team", "uid": UID},
        "spec": {
            "jobType": "Both",
            "collection": {"id": "photos", "source": {"persistentVolumeClaim": claim}},
            "sharding": {"shardSize": 10, "batchSize": 3, "workersPerPod": 2},
        }
        | spec,
    }


def folder_manifest(**storage: Any) -> dict[str, Any]:
    return {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "CacheFolder",
        "metadata": {"name": "main", "namespace": "team"},
        "spec": {
            "storage": storage
            or {"persistentVolumeClaim": {"claimName": "cache", "path": "derived"}}
        },
    }


@dataclass
class Pod:
    """A process that plays a pod."""

    name: str
    process: subprocess.Popen[str]
    termination_log: Path
    stderr: str = ""

    def wait(self) -> int:
        """The exit code."""
        try:
            _, self.stderr = self.process.communicate(timeout=BOUND)
        finally:
            self.process.kill()
        return self.process.returncode

    @property
    def message(self) -> dict[str, str]:
        return dict(json.loads(self.termination_log.read_text()))

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its log; every line must be JSON."""
        return [json.loads(line) for line in self.stderr.splitlines()]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@dataclass
class Cluster:
    """A job, its volumes and its store. ``attempt`` is the one that pods are started for."""

    root: Path
    attempt: int = 1
    spec: dict[str, Any] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)

    @property
    def store_path(self) -> str:
        return str(self.root / "store.db")

    @property
    def album(self) -> Path:
        return self.root / "source" / "album"

    @property
    def derived(self) -> Path:
        return self.root / "cache" / "derived"

    def add_photos(self, count: int, start: int = 0) -> None:
        self.album.mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            (self.album / f"{number:03}.jpg").write_bytes(photo(number))

    def task(self, **changes: Any) -> str:
        task = {
            "job": job_manifest(**self.spec),
            "folder": folder_manifest(),
            "collection": COLLECTION,
            "attempt": self.attempt,
            "fence": 1,
            "shards": "0-999",
            "report": False,
        }
        return json.dumps(task | changes)

    def environment(self, **changes: str) -> dict[str, str]:
        name = f"pod-{len(self.pods)}"
        given = {
            "FPJ_STORE": self.store_path,
            "FPJ_TASK": self.task(),
            "FPJ_SOURCE_ROOT": str(self.root / "source"),
            "FPJ_CACHE_ROOT": str(self.root / "cache"),
            "FPJ_TERMINATION_LOG": str(self.root / f"{name}.termination"),
            "FPJ_GRACE_SECONDS": "30",
            "POD_NAME": name,
            "PYTHONWARNINGS": "error",
        }
        return os.environ | given | changes

    def start(self, command: str, index: int = 0, /, **changes: str) -> Pod:
        environment = self.environment(JOB_COMPLETION_INDEX=str(index), **changes)
        process = subprocess.Popen(
            [sys.executable, "-m", "fpj_worker.pod", command],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pods.append(
            Pod(environment["POD_NAME"], process, Path(environment["FPJ_TERMINATION_LOG"]))
        )
        return self.pods[-1]

    def run(self, command: str, index: int = 0, /, **changes: str) -> Pod:
        """To its end, which must be a good one."""
        pod = self.start(command, index, **changes)
        assert pod.wait() == 0, pod.stderr
        return pod

    # The store, as the operator uses it -----------------------------------------------------------

    def opened(self) -> closing[Store]:
        return closing(open_store(self.store_path))

    def record(self) -> Job:
        """What the operator records before it starts the index pod."""
        job = Job(
            UID, "job", COLLECTION, job_manifest(**self.spec), "digest", created_at=time.time()
        )
        with self.opened() as store:
            store.acquire_lease(lease_name(COLLECTION), UID, 3_600, time.time())
            return store.create_job(job)

    def prepare(self, photos: int = 0, **spec: Any) -> None:
        """A job with its photos, recorded and planned."""
        self.spec = self.spec | spec
        self.add_photos(photos)
        self.record()
        self.plan()

    def plan(self) -> None:
        """What the index pod does, without a process."""
        with self.opened() as store:
            run_index(read_task(self.environment()), store, Stop())

    @property
    def job(self) -> Job:
        with self.opened() as store:
            job = store.get_job(UID)
        assert job
        return job

    @property
    def shards(self) -> list[Shard]:
        with self.opened() as store:
            return store.shards(UID, self.job.planned_attempt)

    @property
    def states(self) -> list[ShardState]:
        return [shard.state for shard in self.shards]

    @property
    def counts(self) -> Counts:
        """Of the whole job."""
        with self.opened() as store:
            return self.job.base + store.job_counts(UID, self.job.planned_attempt)[0]

    def files(self) -> dict[str, bytes]:
        """Every derivative by its path."""
        return {
            str(path.relative_to(self.derived)): path.read_bytes()
            for path in sorted(self.derived.rglob("*"))
            if path.is_file() and path.name not in ("CACHEDIR.TAG", ".fpj-folder")
        }

    def wait_until(self, condition: Callable[[Cluster], object], what: str) -> None:
        deadline = time.monotonic() + BOUND
        while not condition(self):
            assert time.monotonic() < deadline, f"{what}: not within {BOUND:g} s"
            time.sleep(0.02)


def slow(seconds: float) -> dict[str, str]:
    """The environment of a pod whose decoders take so much longer for each image."""
    # They may leave marks that the sandbox would keep them from.
    return {
        "PYTHONPATH": str(SLOW_DECODER),
        "PYTHON_TEST_SLOWNESS": str(seconds),
        "FPJ_SANDBOX": "off",
    }


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    for name in ("source", "cache"):
        (tmp_path / name).mkdir()
    yield made
    for pod in made.pods:
        pod.process.kill()
        if pod.process.stderr and not pod.process.stderr.closed:
            pod.process.communicate(timeout=BOUND)


@pytest.fixture
def denying_bucket() -> Iterator[str]:
    """The endpoint of an S3 service that refuses everybody."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, *_arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
