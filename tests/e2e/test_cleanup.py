"""`fpj run --max-bytes` and `fpj cleanup`: a folder keeps to its limit, and says why."""

from __future__ import annotations

import json
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.conftest import Fpj, files_in, photo

from fpj_core.folders.ownership import MARKER
from fpj_core.store import open_store
from fpj_core.store.protocol import nothing

IMAGES = 12


def photographs(folder: Path) -> Path:
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number}.jpg").write_bytes(photo(number, 400, 300))
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return photographs(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return photographs(tmp_path / "new")


def held(fpj: Fpj) -> int:
    """Bytes of derivatives that are there."""
    names = files_in(fpj.out)
    return sum((fpj.out / name).stat().st_size for name in names if MARKER not in name)


def recorded(fpj: Fpj) -> int:
    return int(fpj("stats", "-o", "json").json["folders"][0]["bytes"])


def cleaned(fpj: Fpj, *options: object, code: int = 0) -> dict[str, Any]:
    done = fpj("cleanup", "--json", *options)
    assert done.code == code, done.stderr
    (folder,) = json.loads(done.stdout)["folders"]
    return dict(folder)


def test_a_run_evicts_another_collection_to_keep_the_limit(fpj: Fpj, old: Path, new: Path) -> None:
    assert fpj.run(old).counts == (IMAGES, 0, 0)
    whole, originals = held(fpj), files_in(old)
    done = fpj.run(new, "--max-bytes", whole * 3 // 2)
    assert done.counts == (IMAGES, 0, 0)
    assert done.json["removed"]["byReason"]["OverQuota"] > 0
    assert recorded(fpj) == held(fpj) <= whole * 3 // 2
    assert files_in(old) == originals
    by_name = {
        each["collection"].partition("-")[0]: each["tiers"]
        for each in fpj("stats", "-o", "json").json["collections"]
    }
    assert [each["files"] for each in by_name["new"].values()] == [IMAGES, IMAGES]


def test_a_collection_above_the_limit_is_suspended_and_continues_when_it_is_raised(
    fpj: Fpj, old: Path
) -> None:
    full = fpj("run", old, "--out", fpj.out, "--max-bytes", "30Ki", "--wait-for-environment", "1s")
    assert full.code == 6
    assert "is full" in full.stderr
    assert recorded(fpj) == held(fpj) <= 30 * 1024
    assert fpj.job()["reason"] == "CacheFolderFull"
    again = fpj.run(old, "--wait-for-environment", "1s")
    assert again.code == 6, "the limit is kept for later runs"
    assert fpj.run(old, "--max-bytes", "none").code == 0
    assert len(fpj.listed("outputs")) == 2 * IMAGES


def test_a_dry_run_says_what_would_go_and_changes_nothing(fpj: Fpj, old: Path) -> None:
    fpj.run(old)
    whole, before = held(fpj), files_in(fpj.out)
    planned = cleaned(fpj, "--dry-run", "--max-bytes", whole // 2)
    assert {each["reason"] for each in planned["planned"]} == {"OverQuota"}
    assert planned["removed"] is None
    files = sum(each["files"] for each in planned["planned"])
    size = sum(each["bytes"] for each in planned["planned"])
    assert whole - size <= whole // 2 * 0.8
    assert files_in(fpj.out) == before
    said = fpj("cleanup", "--dry-run", "--max-bytes", whole // 2)
    assert "Would remove" in said.stderr
    assert "OverQuota" in said.stdout
    done = cleaned(fpj, "--max-bytes", whole // 2)
    assert done["removed"] == {"files": files, "bytes": size, "byReason": {"OverQuota": files}}
    assert recorded(fpj) == held(fpj) == whole - size
    assert fpj.run(old).code == 0, "made again"
    assert files_in(fpj.out) == before


def test_what_each_file_cost_is_recorded(fpj: Fpj, old: Path) -> None:
    fpj.run(old)
    with closing(open_store(fpj.store)) as store:
        (folder,) = store.folders()
        ((collection, _), *_) = store.folder_amounts(folder.name)
        costs = [each.cost_ms for each in store.contents(folder.name, collection, nothing)]
    assert len(costs) == 2 * IMAGES
    assert all(1 <= each < 10_000 for each in costs)


def test_what_is_older_goes_by_tier(fpj: Fpj, old: Path) -> None:
    fpj.run(old)
    assert cleaned(fpj, "--older-than", "1h")["removed"]["files"] == 0
    done = cleaned(fpj, "--older-than", "0.01s", "--tier", "thumbnail")
    assert done["removed"]["byReason"] == {"Expired": IMAGES}
    assert {each["tier"] for each in fpj.listed("outputs")} == {"full"}


def test_a_policy_of_a_manifest_counts(fpj: Fpj, old: Path, tmp_path: Path) -> None:
    folder = {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "CacheFolder",
        "metadata": {"name": "cache"},
        "spec": {
            "storage": {"local": {"path": str(fpj.out)}},
            "maxBytes": "1Mi",
            "policy": {"tiers": [{"name": "full", "maxBytes": "20Ki"}]},
        },
    }
    job = {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "FileProcessingJob",
        "metadata": {"name": "photos"},
        "spec": {
            "jobType": "Both",
            "collection": {"source": {"local": {"path": str(old)}}},
            "cacheFolder": "cache",
        },
    }
    manifest = tmp_path / "job.yaml"
    manifest.write_text(yaml.safe_dump_all([folder, job]))
    assert fpj("run", manifest).code == 0
    done = cleaned(fpj)
    assert set(done["removed"]["byReason"]) == {"OverTierQuota"}
    assert sum(each["bytes"] for each in fpj.listed("outputs") if each["tier"] == "full") <= 20480


def test_wrong_input(fpj: Fpj, old: Path) -> None:
    fpj.run(old)
    assert fpj("cleanup", "--folder", "nosuch").code == 2
    assert fpj("cleanup", "--max-bytes", "much").code == 2
    nothing = fpj("cleanup")
    assert (nothing.code, "No cache folder has a limit" in nothing.stderr) == (0, True)
    assert fpj("cleanup", "--store", fpj.out / "nosuch.db").code == 2
    everything = fpj("cleanup", "--older-than", "0.01s")
    assert (everything.code, "would remove everything" in everything.stderr) == (2, True)
    assert len(fpj.listed("outputs")) == 2 * IMAGES


def test_runs_and_clean_ups_at_the_same_time_keep_the_limit(fpj: Fpj, tmp_path: Path) -> None:
    """Four collections, one after another evictable, are made by two runs at a time, with a
    clean-up beside them: at no moment does the folder hold more than its limit and what each
    worker process has in hand.
    """
    folders = [photographs(tmp_path / f"album-{n}") for n in range(4)]
    fpj.run(folders[0])
    whole = held(fpj)
    limit, image = 2 * whole, whole // IMAGES
    most = [0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            with suppress(FileNotFoundError):  # one that has gone meanwhile
                most[0] = max(most[0], held(fpj))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for pair in ((1, 2), (3, 0), (1, 2)):
            started = [
                fpj.start(
                    *("run", folders[n], "--out", fpj.out, "--max-bytes", limit),
                    *("--wait-for-environment", "5s", "--workers", 2),
                )
                for n in pair
            ]
            while any(each.poll() is None for each in started):
                assert fpj("cleanup").code in {0, 1, 3}
            codes = [each.communicate(timeout=60) and each.returncode for each in started]
            assert set(codes) <= {0, 6}, codes
    finally:
        over.set()
        watcher.join(60)
    assert most[0] <= limit + 4 * image
    assert recorded(fpj) == held(fpj)
    verified = fpj("verify", "--json")
    assert verified.code == 0, verified.stdout
