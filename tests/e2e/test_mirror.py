"""`fpj run --layout mirror`: files under the source's own names, safe wherever they go,
whatever happens on the way.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import pytest
from e2e.conftest import Fpj, files_in, injecting, kill_with_children, photo, wait_for

from fpj_core.store import open_store

ODD = [
    "dot..jpg",
    "a:b?.jpg",
    "CON.jpg",
    "2019/Ä \u202e<x>.jpg",
    "shots.jpg/%41#1.jpg",
    "deep/dot./x.jpg",
]
SLOW = injecting("decoder") | {"PYTHON_TEST_SLOWNESS": "0.05"}


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Twelve photographs whose names collide in every way, and some that are not safe."""
    folder = tmp_path / "album"
    for number, name in enumerate(
        ["a.jpg", "A.jpg", "a.jpeg", "sub/é.jpg", "sub/e\u0301.jpg", "sub/z.jpg", *ODD]
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo(number, 120, 80))
    return folder


def paths(fpj: Fpj) -> dict[str, list[str]]:
    """By source, the paths of its files within the cache folder."""
    rows = [json.loads(line) for line in fpj("export").stdout.splitlines()]
    return {row["source"]: sorted(tier["path"] for tier in row["tiers"].values()) for row in rows}


def test_files_are_where_their_sources_names_say(fpj: Fpj, album: Path) -> None:
    finished = fpj.run(album, "--layout", "mirror")
    assert finished.counts == (12, 0, 0), finished.stderr
    found = paths(fpj)
    assert found["sub/z.jpg"] == ["full/sub/z.jpg", "thumbnail/sub/z.jpg"]
    assert found["2019/Ä \u202e<x>.jpg"][0] == "full/2019/Ä __x_.jpg"
    assert found["shots.jpg/%41#1.jpg"][0] == "full/shots.jpg_/_41_1.jpg"
    made = files_in(fpj.out)
    assert sorted(made) == sorted(path for both in found.values() for path in both), (
        "each its own, and nothing else"
    )
    assert len({path.casefold() for path in made}) == 24
    assert len(set(made.values())) == 24, "no picture under another's name"
    assert sorted(os.listdir(fpj.out)) == [".fpj-folder", "CACHEDIR.TAG", "full", "thumbnail"]
    for row in map(json.loads, fpj("export", "--base-url", "/").stdout.splitlines()):
        for candidate in row["srcset"].split(", "):
            path = unquote(candidate.rpartition(" ")[0])
            assert (fpj.out / path.lstrip("/")).is_file()
    assert fpj("find", fpj.out / "thumbnail/sub/z.jpg").stdout.count("sub/z.jpg") >= 2
    assert fpj.run(album).counts == (0, 12, 0), "its layout is known"


def test_a_killed_run_goes_on_under_the_same_names(fpj: Fpj, album: Path, tmp_path: Path) -> None:
    undisturbed = Fpj(str(tmp_path / "other.db"), tmp_path / "other")
    undisturbed.run(album, "--layout", "mirror", "--collection", "album")
    fpj.environment = SLOW
    process = fpj.start(
        "run",
        album,
        "--out",
        fpj.out,
        "--layout",
        "mirror",
        "--collection",
        "album",
        "--workers",
        2,
    )
    wait_for(
        lambda: sum(path.suffix == ".jpg" for path in fpj.out.rglob("*")) > 4, "the first files"
    )
    kill_with_children(process)
    with closing(open_store(fpj.store, make=False)) as store:
        part = fpj.out / "thumbnail" / ".tmp" / f"{store.identity()}-part-of-a-file"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    fpj.environment = {}
    # It comes between, and takes nobody's name.
    (album / "a.png").write_bytes(photo(99, 120, 80, "PNG"))
    assert fpj.run(album, "--collection", "album").code == 0
    new = paths(fpj)["a.png"]
    made = files_in(fpj.out)
    assert new[0].startswith("full/a--")
    assert {path: made[path] for path in made if path not in new} == files_in(undisturbed.out), (
        "no part of a file"
    )


def test_a_folder_keeps_its_layout_and_its_collection(
    fpj: Fpj, album: Path, tmp_path: Path
) -> None:
    fpj.run(album / "sub", "--layout", "mirror")
    before = files_in(fpj.out)
    for target, *options in ((album, "--dry-run"), (album / "sub", "--layout", "hashed")):
        refused = fpj.run(target, *options)
        assert (refused.code, refused.json["error"]["type"]) == (2, "CacheFolder")
        assert "mirrors the collection sub-" in refused.stderr
        assert "it keeps its layout: choose another folder" in refused.stderr
    other_store = Fpj(str(tmp_path / "other.db"), fpj.out)
    assert "mirrors the collection" in other_store.run(album / "sub").stderr, (
        "the marker says so to everybody"
    )
    assert files_in(fpj.out) == before


def test_a_manifest_says_the_layout_of_its_folder(fpj: Fpj, album: Path, tmp_path: Path) -> None:
    documents = [
        {
            "apiVersion": "fpj.dev/v1alpha1",
            "kind": "FileProcessingJob",
            "metadata": {"name": "album"},
            "spec": {
                "jobType": "Thumbnail",
                "cacheFolder": "site",
                "collection": {"source": {"local": {"path": str(album / "sub")}}},
            },
        },
        {
            "apiVersion": "fpj.dev/v1alpha1",
            "kind": "CacheFolder",
            "metadata": {"name": "site"},
            "spec": {"layout": "Mirror", "storage": {"local": {"path": str(fpj.out)}}},
        },
    ]
    path = tmp_path / "album.yaml"
    path.write_text("\n---\n".join(map(json.dumps, documents)))
    refused = fpj("run", path, "--layout", "hashed")
    assert refused.code == 2
    assert "spec.layout" in refused.stderr
    assert fpj("run", path, "--json").counts == (3, 0, 0)
    assert (fpj.out / "thumbnail" / "z.jpg").is_file()
    shutil.rmtree(fpj.out / "thumbnail")
    assert fpj("resume", "album", "--json").code == 0, "by what is recorded of the folder"
    assert (fpj.out / "thumbnail" / "z.jpg").is_file()
