"""Cache folders on a real control plane: they are checked, they are evicted, and they say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from world import World, world_in

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)

Document = dict[str, Any]
MARKER = ".fpj-folder"


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        yield world


def status_of(world: World, name: str = "cache") -> Document:
    found = world.runner.api.get(world.path(name, "cachefolders"))
    assert found
    return dict(found.get("status") or {})


def conditions_of(world: World, name: str = "cache") -> dict[str, tuple[str, str]]:
    return {
        each["type"]: (each["status"], each["reason"])
        for each in status_of(world, name).get("conditions", [])
    }


def wait_ready(world: World, name: str = "cache", status: str = "True") -> None:
    world.until(
        lambda: conditions_of(world, name).get("Ready", ("", ""))[0] == status,
        f"Ready of {name} is {status}",
    )


def annotate(world: World, value: str, name: str = "cache") -> None:
    said = f"fpj.dev/cleanup-requested-at={value}"
    world.kube("annotate", "cachefolder", name, said, "--overwrite")


def ended(world: World, name: str = "cache") -> int:
    """Number of the latest run, if it has ended; else 0."""
    run = status_of(world, name).get("run") or {}
    return int(run["number"]) if run.get("endTime") else 0


def test_a_new_folder_is_checked_and_shown(world: World) -> None:
    world.operator()
    world.cache_folder(maxBytes="10Mi")
    wait_ready(world)
    assert conditions_of(world) == {
        "Ready": ("True", "Checked"),
        "WithinQuota": ("True", "WithinQuota"),
        "Evicting": ("False", "Idle"),
        "Drifted": ("False", "Checked"),
        "Unreachable": ("False", "Checked"),
    }
    assert json.loads((world.out / MARKER).read_text())["store"] == world.store.identity()
    listed = world.kube("get", "cachefolders").splitlines()
    assert listed[0].split() == [
        *("NAME", "READY", "USED", "QUOTA", "POLICY", "FILES", "BYTES", "AGE")
    ]
    assert listed[1].split()[:7] == ["cache", "True", "0%", "10Mi", "Cost", "0", "0"]
    (job,) = world.items("jobs", "apis/batch/v1")
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("CacheFolder", "cache")
    annotate(world, "tonight")
    world.until(lambda: ended(world) == 2, "the clean-up that was asked for has ended")
    run = status_of(world)["run"]
    assert (run["cause"], run["requestedBy"], run["result"]) == (
        "Requested",
        "tonight",
        "Succeeded",
    )
    world.cache_folder(maxBytes="20Mi")
    world.until(lambda: ended(world) == 3, "what was edited is checked again")
    assert status_of(world)["run"]["cause"] == "Changed"


def test_a_folder_of_another_store_is_never_touched(world: World) -> None:
    marker = json.dumps({"id": "x", "store": "0" * 32, "folder": "theirs"})
    (world.out / MARKER).write_text(marker)
    (world.out / "precious.jpg").write_bytes(b"theirs")
    world.operator()
    world.cache_folder(maxBytes="1Ki")
    wait_ready(world, status="False")
    found = conditions_of(world)
    assert (found["Drifted"], found["Unreachable"]) == (
        ("True", "OtherStore"),
        ("False", "Checked"),
    )
    assert (world.out / MARKER).read_text() == marker
    assert (world.out / "precious.jpg").read_bytes() == b"theirs"
    (world.out / "precious.jpg").unlink()
    (world.out / MARKER).write_text("")
    annotate(world, "it is ours")
    wait_ready(world)


def test_a_folder_that_cannot_be_used_is_unreachable_until_it_can(world: World) -> None:
    (world.out / "taken").write_bytes(b"not a folder")
    world.operator()
    claim = {"claimName": "cache", "path": "taken/below"}
    world.cache_folder("bad", storage={"persistentVolumeClaim": claim})
    wait_ready(world, "bad", status="False")
    assert conditions_of(world, "bad")["Unreachable"] == ("True", "CacheFolderUnusable")
    (world.out / "taken").unlink()
    annotate(world, "now", "bad")
    wait_ready(world, "bad")


def test_a_folder_whose_pod_cannot_start_is_unknown(world: World) -> None:
    world.runner.hold()
    world.operator()
    world.cache_folder()
    world.until(lambda: bool(status_of(world).get("run")), "a run is shown")
    assert conditions_of(world)["Ready"][0] == "Unknown"
    world.kube("delete", "cachefolder", "cache")
    world.until(lambda: not world.items("jobs", "apis/batch/v1"), "its Job goes with it")


def test_a_folder_above_its_watermark_is_evicted_and_says_so(world: World) -> None:
    """Two collections are made; then the folder may hold less."""
    world.cache_folder()
    world.operator()
    for name in ("first", "second"):
        world.photos(name, 8)
        world.job(name, name, jobType="Thumbnail")
        world.wait_end(name)
    held = sum(path.stat().st_size for path in world.out.rglob("*.jpg"))
    world.cache_folder(maxBytes=held * 3 // 4)
    world.until(lambda: bool(status_of(world).get("lastEviction")), "it is evicted")
    world.until(
        lambda: conditions_of(world).get("WithinQuota") == ("True", "WithinQuota"), "there is room"
    )
    files = [path for path in world.out.rglob("*.jpg") if path.is_file()]
    left = sum(path.stat().st_size for path in files)
    status = status_of(world)
    last = status["lastEviction"]
    assert left <= held * 3 // 4 * 80 // 100
    assert (last["bytes"], last["files"]) == (held - left, 16 - len(files))
    assert last["byReason"] == {"OverQuota": 16 - len(files)}
    assert (last["usedBefore"], last["usedAfter"]) == (held, left)
    assert (status["totalBytes"], status["totalFiles"]) == (left, len(files))
    assert sum(each["files"] for each in status["collections"]) == len(files)
