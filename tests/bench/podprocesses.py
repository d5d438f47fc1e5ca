"""A job whose pods are plain processes over the real store,
with the settings that the operator would give them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.conftest import photo
from podrunner.process import ContainerProcess

from fpj_core.kube.names import lease_name
from fpj_core.model import Job, ShardState
from fpj_core.store.protocol import Store

_SLOW = Path(__file__).resolve().parents[1] / "e2e" / "injected" / "decoder"
_KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_NAMESPACE = "team"


class PodJob:
    """A job over ``images`` small pictures, planned into ``shards``.

    Each image takes ``slowness`` seconds at least.
    """

    def __init__(
        self,
        store: Store,
        url: str,
        folder: Path,
        *,
        images: int,
        shards: int,
        slowness: float = 0.0,
    ) -> None:
        self.uid = uuid.uuid4().hex
        self.store = store
        self._url = url
        self._folder = folder / self.uid
        self._slowness = slowness
        self._shards = shards
        self.collection = f"{_NAMESPACE}.{self.uid}"
        source = self._folder / "source"
        source.mkdir(parents=True)
        (self._folder / "cache").mkdir()
        for number in range(images):
            (source / f"{number:05}.jpg").write_bytes(_picture(number))
        now = time.time()
        store.create_job(Job(self.uid, "job", self.collection, {}, "", created_at=now))
        self._fence = store.acquire_lease(lease_name(self.collection), self.uid, 3_600, now).fence
        self._size = -(-images // shards)
        pod = self.start("index", 0)
        while not pod.wait(1):
            pass
        if pod.code:
            raise RuntimeError(f"the index pod ended with {pod.code}: {pod.log}")

    def start(self, role: str, index: int) -> ContainerProcess:
        """A pod: of role ``index``, or ``shard`` for a completion index."""
        home = Path(tempfile.mkdtemp(prefix="fpj-pod-"))
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {
            "FPJ_STORE": self._url,
            "FPJ_TASK": json.dumps(self._task(role)),
            "FPJ_SOURCE_ROOT": str(self._folder / "source"),
            "FPJ_CACHE_ROOT": str(self._folder / "cache"),
            "JOB_COMPLETION_INDEX": str(index),
            "POD_NAME": f"pod-{uuid.uuid4().hex[:8]}",
            "TMPDIR": str(home),
        }
        if self._slowness and role == "shard":
            environment |= {"PYTHONPATH": str(_SLOW), "PYTHON_TEST_SLOWNESS": str(self._slowness)}
        return ContainerProcess([sys.executable, "-m", "fpj_worker.pod", role], environment, home)

    @property
    def at_work(self) -> bool:
        """Whether each shard has a holder."""
        return all(shard.state is ShardState.RUNNING for shard in self.store.shards(self.uid, 1))

    def epoch(self, index: int) -> int:
        """Rises each time the shard is taken."""
        found = self.store.shard(self.uid, 1, index)
        assert found
        return found.epoch

    def _task(self, role: str) -> Mapping[str, Any]:
        claim = {"persistentVolumeClaim": {"claimName": "photographs"}}
        sharding = {"shardSize": self._size, "batchSize": 10, "workersPerPod": 1}
        spec = {
            "jobType": "Both",
            "collection": {"id": self.uid, "source": claim},
            "sharding": sharding,
        }
        cache = {"storage": {"persistentVolumeClaim": {"claimName": "cache"}}}
        task = {
            "job": _document("FileProcessingJob", "job", spec, self.uid),
            "folder": _document("CacheFolder", "cache", cache, ""),
            "collection": self.collection,
            "attempt": 1,
            "fence": self._fence,
            "report": False,
        }
        return task if role == "index" else task | {"shards": f"0-{self._shards - 1}"}


def kill(pod: ContainerProcess) -> None:
    """kill -9, for the pod's every process."""
    pod.signal_all(signal.SIGKILL)
    pod.wait(10)
    pod.end_rest()


def _document(kind: str, name: str, spec: Mapping[str, Any], uid: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": _NAMESPACE} | ({"uid": uid} if uid else {})
    return {"apiVersion": "fpj.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


_PICTURES: dict[int, bytes] = {}


def _picture(number: int) -> bytes:
    """A few small ones, over and over."""
    return _PICTURES.setdefault(number % 16, photo(number % 16, 160, 120))
