"""`fpj stats --verify` and `--repair`."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from unit.worker.fakes import FULL, MemoryFolder
from unit.worker.test_shard import derivative, have

from fpj_cli.recorded import stats
from fpj_core.model import Folder, ImageRecord
from fpj_core.store import open_store


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store of three images that says five."""
    path = str(tmp_path / "store.db")
    store = open_store(path)
    store.upsert_folder(Folder("cache", "/cache"))
    store.upsert_images(
        [ImageRecord("album", n, f"id{n}", f"{n}.jpg", 10, "v1") for n in range(3)], 0
    )
    with store._connection.write() as db:  # type: ignore[attr-defined]
        db.execute("UPDATE image_counters SET files = 5")
    store.close()
    return path


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(stats, [*arguments, "--store", url])


def test_what_is_wrong_is_shown_repaired_and_then_right(url: str) -> None:
    found = run(url, "--verify")
    assert found.exit_code == 1
    assert "album" in found.output and "(images)" in found.output
    assert json.loads(run(url, "-o", "json").output)["collections"][0]["images"] == 5
    repaired = run(url, "--repair", "-o", "json")
    assert repaired.exit_code == 0
    recorded, counted = {"files": 5, "bytes": 30}, {"files": 3, "bytes": 30}
    drift = {
        "collection": "album",
        "folder": "",
        "tier": "",
        "recorded": recorded,
        "counted": counted,
    }
    assert json.loads(repaired.stdout) == {"drifts": [drift], "busy": [], "repaired": True}
    assert run(url, "--verify").exit_code == 0
    assert json.loads(run(url, "-o", "json").output)["collections"][0]["images"] == 3


def test_a_cache_folder_shows_what_it_holds_while_a_job_runs(url: str) -> None:
    with closing(open_store(url)) as store:
        have(store, MemoryFolder(), derivative(1, FULL), derivative(2, FULL))
    size = derivative(1, FULL).bytes + derivative(2, FULL).bytes
    (folder,) = json.loads(run(url, "-o", "json").output)["folders"]
    assert (folder["files"], folder["bytes"], folder["collections"]) == (2, size, 1)
