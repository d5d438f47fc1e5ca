"""From a manifest to a job for this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.v1alpha1.documents import folder as folder_document
from unit.v1alpha1.documents import job as job_document

from fpj_core.errors import CacheFolderError, ManifestError
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.kube.records import folder_record
from fpj_core.manifest import parse_resource
from fpj_core.model import Folder, ImageLimits, Layout, Phase
from fpj_core.objects import Bucket
from fpj_core.sources.filters import Filter
from fpj_core.sources.local import LocalSourceConfig
from fpj_core.sources.s3 import S3SourceConfig
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import CacheFolder, FileProcessingJob
from fpj_worker.localjob import LocalJob, local_job, unfinished_job
from fpj_worker.places import (
    Place,
    folder_config,
    place_by_rules,
    place_for_path,
    place_of_record,
    source_config,
    source_identity,
    with_cache_control,
)
from fpj_worker.resources import usable_cores

PLACE = Place(Folder("cache", "/cache"), LocalFolderConfig("/cache"))


def resource(source: dict[str, Any] | None = None, **spec: Any) -> FileProcessingJob:
    given = {"collection": {"source": source}} if source else {}
    parsed = parse_resource(job_document(**given | spec))
    assert isinstance(parsed, FileProcessingJob)
    return parsed


def cache_folder(name: str, path: str, **spec: Any) -> CacheFolder:
    document = folder_document(storage={"local": {"path": path}}, **spec) | {
        "metadata": {"name": name}
    }
    parsed = parse_resource(document)
    assert isinstance(parsed, CacheFolder)
    return parsed


def request(place: Place = PLACE, **spec: Any) -> LocalJob:
    return local_job(resource(**spec), place, workers=None)


def test_a_filter_is_part_of_what_a_run_can_go_on_with() -> None:
    plain, filtered = (
        request(),
        request(collection={"source": {"local": {"path": "/p"}}, "exclude": ["old/"]}),
    )
    assert filtered.source.filter == Filter(exclude=("old/",))
    assert (
        request(collection={"source": {"local": {"path": "/p"}}}).job.digest != filtered.job.digest
    )
    root = plain.source.root  # type: ignore[attr-defined]
    assert repr(plain.source) == f"LocalSourceConfig(root={root!r})", (
        "digests of earlier versions stay"
    )


def test_a_pattern_that_is_none_is_named_by_its_field() -> None:
    with pytest.raises(ManifestError, match=r"spec\.collection\.exclude.*'!' is not a pattern"):
        request(collection={"source": {"local": {"path": "/p"}}, "exclude": ["!"]})


# Settings -----------------------------------------------------------------------------------------


def test_defaults_are_resolved() -> None:
    made = request()
    assert [tier.name for tier in made.tiers] == ["full", "thumbnail"]
    assert made.limits == ImageLimits()
    assert (made.workers, made.batch_size) == (usable_cores(), 100)
    assert (made.check_files, made.force, made.deadline_seconds) == (True, False, None)
    assert made.max_failed(1_000) is None
    assert [made.shard_size(pending) for pending in (0, 16_000, 10**9)] == [100, 1_000, 10_000]
    assert (made.job.name, made.job.collection, made.job.phase) == ("it", "it", Phase.PENDING)
    assert (made.folder, made.folder_record) == (PLACE.config, PLACE.record)


def test_what_is_given_is_taken() -> None:
    made = local_job(
        resource(
            sharding={"batchSize": 7, "shardSize": 9},
            limits={"maxAttemptsPerImage": 1},
            maxFailedImages="10%",
            activeDeadlineSeconds=60,
            skipCheck="Record",
            force=True,
        ),
        PLACE,
        workers=3,
    )
    assert (made.workers, made.batch_size, made.shard_size(10**6)) == (3, 7, 9)
    assert (made.max_failed(50), made.deadline_seconds, made.limits.max_attempts) == (5, 60, 1)
    assert (made.check_files, made.force) == (False, True)


def test_a_recorded_manifest_makes_the_same_job_again() -> None:
    made = request(cache={"tiers": [{"name": "a", "maxWidth": 64}]}, maxFailedImages=3)
    again = parse_resource(dict(made.job.manifest))
    assert isinstance(again, FileProcessingJob)
    assert local_job(again, PLACE, workers=None).job.digest == made.job.digest


def test_digests_tell_jobs_apart() -> None:
    elsewhere = Place(PLACE.record, LocalFolderConfig("/cache2"))
    elsewhere = replace(elsewhere, record=replace(PLACE.record, location="/cache2"))
    digests = [
        request().job.digest,
        request(jobType="Cache").job.digest,
        request(thumbnail={"width": 64}).job.digest,
        request(cache={"tiers": [{"name": "other"}]}).job.digest,
        request(source={"local": {"path": "/other"}}).job.digest,
        request(source={"s3": {"bucket": "photos"}}).job.digest,
        request(source={"s3": {"bucket": "photos", "endpoint": "http://minio"}}).job.digest,
        request(elsewhere).job.digest,
    ]
    assert len(set(digests)) == len(digests)
    assert (
        request().job.digest
        == request(priority=5, limits={"maxPixels": 9}).job.digest
        == digests[0]
    )


# Sources ------------------------------------------------------------------------------------------


def test_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    for path, real in (
        ("/a/../b", "/b"),
        ("~/p", "/home/me/p"),
        ("photos", str(tmp_path / "photos")),
    ):
        assert source_config(resource({"local": {"path": path}}), None) == LocalSourceConfig(real)
    s3 = {"bucket": "photos", "prefix": "/2026/", "endpoint": "http://minio", "region": "eu"}
    assert source_config(resource({"s3": s3}), None) == S3SourceConfig(
        Bucket("photos", "2026", "http://minio", "eu")
    )


def test_a_claim_is_found_below_a_folder_of_this_machine(tmp_path: Path) -> None:
    claim = {"claimName": "scans", "path": "/paintings/"}
    config = source_config(resource({"persistentVolumeClaim": claim}), tmp_path)
    assert config == LocalSourceConfig(str(tmp_path / "paintings"))
    whole = source_config(resource({"persistentVolumeClaim": {"claimName": "scans"}}), tmp_path)
    assert Path(str(whole.root)) == tmp_path  # type: ignore[attr-defined]
    with pytest.raises(ManifestError, match=r"scans exists only in a cluster; .* --claim-root DIR"):
        source_config(resource({"persistentVolumeClaim": claim}), None)


# Cache folders ------------------------------------------------------------------------------------


def test_a_path_is_a_cache_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    place = place_for_path(Path("out"))
    assert place.record.location == place.config.location == str(tmp_path / "out")
    assert place.record.name.startswith("out-")
    assert place_for_path(tmp_path / "out") == place
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert place_for_path(tmp_path / "link").record == place.record, "by its real path"


def test_a_path_is_laid_out_as_asked_else_as_it_is_else_as_usual(tmp_path: Path) -> None:
    new = place_for_path(tmp_path).record
    assert new.layout is Layout.HASHED
    known = [replace(new, layout=Layout.MIRROR)]
    assert place_for_path(tmp_path, known).record.layout is Layout.MIRROR
    assert place_for_path(tmp_path, known, usual=Layout.HASHED).record.layout is Layout.MIRROR
    assert place_for_path(tmp_path, known, Layout.HASHED).record.layout is Layout.HASHED
    assert place_for_path(tmp_path, [], usual=Layout.MIRROR).record.layout is Layout.MIRROR
    mirrored = local_job(
        resource({"local": {"path": str(tmp_path)}}), place_for_path(tmp_path, known), workers=1
    )
    assert mirrored.folder_record.mirrored == mirrored.job.collection


def test_no_folder_is_named_and_none_is_asked_for(tmp_path: Path) -> None:
    known = [Folder("old", str(tmp_path))]
    assert place_by_rules(resource(), [], known, None) is None, (
        "a job writes only into the folders that it names"
    )


def test_folders_of_the_manifest_are_chosen_by_priority(tmp_path: Path) -> None:
    given = [
        cache_folder("low", str(tmp_path / "low"), priority=1),
        cache_folder("high", str(tmp_path), priority=2),
    ]
    place = place_by_rules(resource(), given, [], None)
    assert place
    assert (place.record.name, place.record.priority) == ("high", 2)
    named = place_by_rules(resource(cacheFolder="low"), given, [], None)
    assert named
    assert named.config == LocalFolderConfig(str(tmp_path / "low"))


def test_a_folder_is_found_by_name_in_the_store_too(tmp_path: Path) -> None:
    known = [Folder("old", str(tmp_path / "old"), 3), Folder("moved", "/before")]
    place = place_by_rules(resource(cacheFolder="old"), [], known, None)
    assert place == Place(known[0], LocalFolderConfig(str(tmp_path / "old")))
    moved = place_by_rules(
        resource(cacheFolder="moved"), [cache_folder("moved", str(tmp_path))], known, None
    )
    assert moved
    assert moved.record.location == str(tmp_path), "the manifest says where it is now"
    with pytest.raises(
        CacheFolderError, match=r"unknown cache folder 'none' \(known: moved, old\)"
    ):
        place_by_rules(resource(cacheFolder="none"), [], known, None)


def test_a_full_folder_is_passed_over(tmp_path: Path) -> None:
    """What it holds is known from the store: a manifest says only what it may hold."""
    given = [
        cache_folder("full", str(tmp_path / "full"), priority=2, maxBytes="1Gi"),
        cache_folder("room", str(tmp_path / "room"), priority=1),
    ]
    known = [Folder("full", str(tmp_path / "full"), 2, 2**30, files=9, bytes=2**30, collections=1)]
    place = place_by_rules(resource(), given, known, None)
    assert place
    assert place.record.name == "room"


def test_what_a_manifest_says_of_caches_is_sent_with_each_object() -> None:
    storage = {"s3": {"bucket": "cache"}}
    manifest = {"metadata": {"name": "c"}, "spec": {"storage": storage}}
    plain, said = (
        CacheFolder.model_validate(manifest | {"spec": {"storage": storage} | more})
        for more in ({}, {"cacheControl": "no-store"})
    )
    assert folder_config(plain, None) == S3FolderConfig(Bucket("cache"))
    assert folder_config(said, None) == S3FolderConfig(Bucket("cache"), "no-store")


def test_recorded_places_come_back() -> None:
    assert place_of_record(Folder("a", "/a")).config == LocalFolderConfig("/a")
    assert place_of_record(Folder("b", "s3://cache/a/b")).config == S3FolderConfig(
        Bucket("cache", "a/b")
    )
    assert place_of_record(Folder("b", "s3://cache")).config.location == "s3://cache"
    bucket = {"bucket": "cache", "prefix": "a/b", "endpoint": "http://minio:9000", "region": "eu-1"}
    document = folder_document(storage={"s3": bucket}, cacheControl="no-store") | {
        "metadata": {"name": "b"}
    }
    parsed = parse_resource(document)
    assert isinstance(parsed, CacheFolder)
    place = place_by_rules(resource(), [parsed], [], None)
    assert place
    assert place.config == S3FolderConfig(
        Bucket("cache", "a/b", "http://minio:9000", "eu-1"), "no-store"
    )
    assert place_of_record(place.record) == place
    assert place_of_record(replace(folder_record(parsed), name="b")).config == place.config, (
        "as a cluster records it"
    )
    other = with_cache_control(place, "private, max-age=5")
    assert place_of_record(other.record) == other
    assert other.config == replace(place.config, cache_control="private, max-age=5")


def test_two_buckets_of_one_name_are_two_places() -> None:
    one = Place(Folder("one", "s3://cache"), S3FolderConfig(Bucket("cache", endpoint="http://one")))
    two = Place(Folder("two", "s3://cache"), S3FolderConfig(Bucket("cache", endpoint="http://two")))
    assert request(one).job.digest != request(two).job.digest


# Going on -----------------------------------------------------------------------------------------


def test_an_unfinished_job_with_the_same_settings_is_gone_on_with(store: Store) -> None:
    made = request().job
    assert unfinished_job(store, made) is None
    earlier = store.create_job(replace(made, id="earlier", created_at=1.0))
    assert unfinished_job(store, made) == earlier
    assert unfinished_job(store, request(thumbnail={"width": 64}).job) is None, "other settings"
    finished = store.update_job(replace(earlier, phase=Phase.COMPLETED))
    assert unfinished_job(store, made) is None
    store.update_job(replace(finished, phase=Phase.SUSPENDED))
    store.create_job(replace(made, id="newer", created_at=2.0, digest="other"))
    assert unfinished_job(store, made) is None, "only the newest of the collection"


# The identity of a source -------------------------------------------------------------------------


def identity(
    source: dict[str, Any], namespace: str | None = None, claim_root: Path | None = None
) -> str:
    wanted = resource(source)
    return source_identity(wanted, source_config(wanted, claim_root), namespace)


def test_a_folder_is_the_same_however_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    names = {
        identity({"local": {"path": f"{tmp_path}/{each}"}})
        for each in ("photos", "link", "./photos/", "link/.")
    }
    assert names == {f"folder {tmp_path}/photos"}
    claim = {"persistentVolumeClaim": {"claimName": "c", "path": "photos"}}
    assert identity(claim, claim_root=tmp_path) == f"folder {tmp_path}/photos"


def test_a_claim_and_a_bucket_are_known_by_their_names() -> None:
    mount = Path("/source")
    for path in ("a/.b", "/a/.b/", "a//.b"):
        claim = {"persistentVolumeClaim": {"claimName": "c", "path": path}}
        assert identity(claim, "team", mount) == "claim team/c, folder /a/.b"
    assert (
        identity({"persistentVolumeClaim": {"claimName": "c"}}, "team", mount)
        == "claim team/c, folder /"
    )
    bucket = {"bucket": "pics", "prefix": "/2026/"}
    assert identity({"s3": bucket}, "team") == identity({"s3": bucket}) == "bucket s3://pics/2026"
    there = bucket | {"endpoint": "https://S3.example/"}
    assert identity({"s3": there}) == "bucket s3://pics/2026 at https://s3.example"
