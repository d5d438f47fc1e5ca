"""Where the time goes in a cluster: the same images by `fpj run` and by pods on a real
node.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import mongodb_server

from bench.cache import cache_folder
from bench.files import linked_folder
from bench.jobs import fpj_run
from bench.photographs import photographs
from bench.plane import NODE_HOST, Document, Plane, control_plane, load, until
from bench.result import Benchmark, Row, Scale, SkippedError, at_most
from fpj_core.store import open_store

_HACK = Path(__file__).resolve().parents[3] / "hack"
_IMAGE = "localhost/fpj:bench"
_WORKERS = {"parallelism": 2, "workersPerPod": 2}
_FINISHED = frozenset({"Completed", "CompletedWithErrors", "Failed"})


def stages(scale: Scale) -> Iterator[Row]:
    """One index pod, then two worker pods of two processes; `fpj run` with four processes does the
    same.
    """
    images = scale.pick(100, 1_000)
    with ExitStack() as stack:
        stack.enter_context(_only_node())
        home = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="stages-", dir=cache_folder()))
        )
        source = linked_folder(home / "source", photographs("12 MP", 12), images)
        tar = _image()
        store, plane = stack.enter_context(_node_plane(home))
        plane.cluster.import_image(tar)
        story = _story(plane, store, source, home / "cache", images)
        local = fpj_run(source, home, "--workers", "4")
    yield from _rows(story, images)
    yield Row("all of it, on the cluster", story.ended - story.created, "s", note=load())
    yield Row("fpj run, all of it", local.cost.wall, "s", note=f"{local.cost.cpu:.0f} s of CPU")
    ratio = (story.ended - story.created) / local.cost.wall
    yield Row(
        "cluster / fpj run",
        ratio,
        "",
        note="the node's own components share the cores with the workers",
    )


@dataclass
class _Story:
    """Times of day, in seconds since the epoch."""

    created: float
    taken_up: float = 0.0
    ended: float = 0.0
    pods: dict[str, dict[str, float]] = field(default_factory=dict)
    """By name: when each was made, bound, and seen running."""
    lines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Their logs."""
    first_images: dict[str, float] = field(default_factory=dict)

    def see_job(self, _kind: str, found: Document, _now: float) -> None:
        if found.get("status", {}).get("phase") in _FINISHED and not self.ended:
            self.ended = time.time()

    def see_child(self, kind: str, _found: Document, _now: float) -> None:
        if kind == "ADDED" and not self.taken_up:
            self.taken_up = time.time()

    def see_pod(self, _kind: str, found: Document, _now: float) -> None:
        times = self.pods.setdefault(found["metadata"]["name"], {})
        if found["spec"].get("nodeName"):
            times.setdefault("bound", time.time())
        for container in found.get("status", {}).get("containerStatuses", []):
            state = container["state"]
            if started := (state.get("running") or state.get("terminated") or {}).get("startedAt"):
                times.setdefault("started", datetime.fromisoformat(started).timestamp())

    def at(self, pod: str, message: str) -> float:
        """When a pod logged something."""
        line = next(line for line in self.lines[pod] if line["message"] == message)
        return datetime.fromisoformat(line["time"]).timestamp()


def _rows(story: _Story, images: int) -> Iterator[Row]:
    index = next(name for name in story.pods if "-index-" in name)
    workers = [name for name in story.pods if "-w0-" in name]
    planned, starts = (
        story.at(index, "planned"),
        [story.at(name, "shard started") for name in workers],
    )
    done = [story.at(name, "shard done") for name in workers]
    at = story.pods
    yield Row("take up: created to the index Job", story.taken_up - story.created, "s")
    yield Row("schedule: index Job to its pod bound", at[index]["bound"] - story.taken_up, "s")
    yield Row(
        "pod start: bound to its process",
        at[index]["started"] - at[index]["bound"],
        "s",
        note="to the second",
    )
    yield Row(
        "import: process to the stage's begin",
        story.at(index, "indexed") - at[index]["started"],
        "s",
        note=f"and listing {images:,} images",
    )
    yield Row("index: plan and shards", planned - story.at(index, "indexed"), "s")
    yield Row(
        "between: planned to the worker pods bound",
        min(at[name]["bound"] for name in workers) - planned,
        "s",
    )
    yield Row(
        "pod start: bound to its process, worst",
        max(at[name]["started"] - at[name]["bound"] for name in workers),
        "s",
        note="to the second",
    )
    yield Row(
        "import: process to the shard's begin, worst",
        max(b - at[n]["started"] for b, n in zip(starts, workers, strict=True)),
        "s",
    )
    first = max(story.first_images[name] - at[name]["started"] for name in workers)
    yield Row("worker's start to its first image, worst", first, "s", at_most(3), load())
    yield Row(
        "process: first start to last done",
        max(done) - min(starts),
        "s",
        note=f"{images:,} images",
    )
    yield Row("finish: last shard done to Completed", story.ended - max(done), "s")


def _story(plane: Plane, url: str, source: Path, cache: Path, images: int) -> _Story:
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)  # pods are another user
    for name, folder in (("photographs", source), ("cache", cache)):
        plane.volume(name, folder)
    plane.cache_folder()
    with plane.operator(worker_image=_IMAGE, image_pull_policy="Never") as _operator:
        story = _Story(0.0)

        pods = plane.path("pods", group="api/v1")
        with (
            plane.watching(plane.jobs, story.see_job),
            plane.watching(plane.children, story.see_child),
            plane.watching(pods, story.see_pod),
        ):
            tiers = [{"name": "full", "maxWidth": 1920, "maxHeight": 1440}]
            sharding = _WORKERS | {"shardSize": images // 2}
            story.created = time.time()
            plane.create("stages", sharding=sharding, cache={"tiers": tiers})
            until(lambda: story.ended, "the job's end", 900)
        phase = plane.api.call("GET", plane.path("fileprocessingjobs", "stages"))["status"]["phase"]
        if phase != "Completed":
            raise RuntimeError(f"the job ended as {phase}")
        for name in story.pods:
            story.lines[name] = _log(plane, f"{pods}/{name}/log")
        _add_first_images(story, plane, url, images)
    return story


def _add_first_images(story: _Story, plane: Plane, url: str, images: int) -> None:
    with closing(open_store(url)) as store:
        made = store.derivatives(f"{plane.namespace}.stages", 0, images, ["full"])
    for name in story.pods:
        if "-w0-" in name:
            shard = next(line for line in story.lines[name] if line["message"] == "shard started")
            own = [
                each.created_at for each in made if shard["cursor"] <= each.ordinal < shard["stop"]
            ]
            story.first_images[name] = min(own)


def _log(plane: Plane, path: str) -> list[dict[str, Any]]:
    text = plane.api._pool.request("GET", plane.api.url + path).data.decode()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@contextmanager
def _node_plane(home: Path) -> Iterator[tuple[str, Plane]]:
    """A cluster with a node, and a store that its pods reach; the store's address."""
    port = mongodb_server.free_port()
    storage = home / "mongodb"
    storage.mkdir()
    server = mongodb_server.start_server(storage, port, "--sync-on-commit", "--host", "0.0.0.0")
    url = f"mongodb://{NODE_HOST}:{port}/fpj_bench?directConnection=true"
    try:
        with control_plane(url, node=True) as plane:
            yield url, plane
    finally:
        server.kill()
        server.wait()


@contextmanager
def _only_node() -> Iterator[None]:
    """A machine can be one node at a time, and only root can make it one. Raises `SkippedError`."""
    if os.geteuid() != 0:
        raise SkippedError("a node needs root")
    with (cache_folder() / "node.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SkippedError("this machine is the node of another benchmark") from None
        yield


def _image() -> Path:
    """The worker image as it is now."""
    tar = cache_folder() / "fpj-image.tar"
    built = subprocess.run(
        [_HACK / "image.sh", "--tag", _IMAGE, tar], check=False, capture_output=True, text=True
    )
    if built.returncode:
        raise SkippedError(f"the image cannot be built: {built.stderr[-300:]}")
    return tar


BENCHMARKS = (Benchmark("op-road", "A job in a cluster, stage by stage", stages),)
