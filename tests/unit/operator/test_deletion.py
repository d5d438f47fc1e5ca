"""Whose files stay when a job is deleted, and what of a collection is left to remove."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fpj_core.kube import names
from fpj_core.model import (
    Counts,
    Derivative,
    Folder,
    ImageRecord,
    RemovalReason,
    Shard,
    ShardBatch,
)
from fpj_core.store import open_store
from fpj_core.store.protocol import Store, nothing
from fpj_operator.jobs.deletion import (
    Left,
    OtherNotUnderstoodError,
    is_doomed,
    left_of,
    removing_status,
    tiers_of_others,
    why_files_stay,
)

ALBUM = "team.album"
Document = dict[str, Any]


def spec(*tiers: str, collection: str | None = "album", **more: Any) -> Document:
    source = {"persistentVolumeClaim": {"claimName": "photos"}}
    named: Document = {"source": source} | ({"id": collection} if collection else {})
    made: Document = {"jobType": "Cache", "collection": named}
    return made | {"cache": {"tiers": [{"name": tier} for tier in tiers]}} | more


def job(name: str = "photos", *tiers: str, deleting: bool = False, **more: Any) -> Document:
    metadata: Document = {"name": name, "namespace": "team", "uid": f"uid-of-{name}"}
    if deleting:
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": spec(*(tiers or ("full",)), **more)}


def doomed(**annotations: str) -> Document:
    made = job(deleting=True, deletionPolicy="Delete")
    made["metadata"] |= {"finalizers": [names.FILES_FINALIZER], "annotations": annotations}
    return made | {"status": {"attempt": {"number": 1}}}


def schedule(name: str = "nightly", *tiers: str, deleting: bool = False, **more: Any) -> Document:
    made = job(name, deleting=deleting)
    template = {"spec": spec(*(tiers or ("full",)), **more)}
    return made | {"spec": {"schedule": "@daily", "jobTemplate": template}}


# Whether files stay -------------------------------------------------------------------------------


def test_only_a_deleted_job_with_the_finalizer_waits_for_its_files() -> None:
    assert is_doomed(doomed())
    assert not is_doomed(job(deleting=True))
    waiting = doomed()
    del waiting["metadata"]["deletionTimestamp"]
    assert not is_doomed(waiting)


def test_files_of_a_job_with_the_policy_are_removed() -> None:
    assert why_files_stay(doomed(), [schedule()]) == ""


@pytest.mark.parametrize("policy", ["Retain", None])
def test_the_policy_may_be_switched_until_the_end(policy: str | None) -> None:
    made = doomed()
    made["spec"]["deletionPolicy"] = policy
    assert "Retain" in why_files_stay(made, [])


def test_an_annotation_lets_the_job_go() -> None:
    assert names.KEEP_FILES_ANNOTATION in why_files_stay(
        doomed(**{names.KEEP_FILES_ANNOTATION: ""}), []
    )
    assert why_files_stay(doomed(**{names.KEEP_FILES_ANNOTATION: "false"}), []) == ""


def test_a_job_that_never_began_removes_nothing() -> None:
    assert why_files_stay(doomed() | {"status": {"phase": "Cancelled"}}, [])


def test_jobs_of_a_schedule_remove_nothing_while_it_exists() -> None:
    made = doomed()
    made["metadata"]["labels"] = names.schedule_labels("nightly", "uid-of-nightly")
    assert "schedule" in why_files_stay(made, [schedule()])
    assert why_files_stay(made, [schedule("other")]) == ""
    assert why_files_stay(made, [schedule(deleting=True)]) == ""
    assert why_files_stay(made, []) == ""


# What others ask for ------------------------------------------------------------------------------


def test_tiers_of_other_jobs_and_schedules_of_the_collection_stay() -> None:
    others = [
        job("other", "medium"),
        job("elsewhere", "huge", collection="another"),
        job("going", "small", deleting=True),
        doomed(),
    ]
    assert tiers_of_others(doomed(), others, []) == ("medium",)
    nightly = schedule("nightly", "tiny")
    assert tiers_of_others(doomed(), others, [nightly]) == ("medium", "tiny")
    assert tiers_of_others(doomed(), [doomed()], []) == ()


def test_a_collection_without_an_id_has_the_name_of_its_job_or_schedule() -> None:
    named = job("album", "medium", collection=None)
    nightly = schedule("album", "tiny", collection=None)
    assert tiers_of_others(doomed(), [named], [nightly]) == ("medium", "tiny")


@pytest.mark.parametrize("where", ["job", "schedule"])
def test_what_is_not_understood_may_ask_for_anything(where: str) -> None:
    odd = job("odd") if where == "job" else schedule("odd")
    of_odd = odd["spec"] if where == "job" else odd["spec"]["jobTemplate"]["spec"]
    of_odd["jobType"] = "Hologram"
    with pytest.raises(OtherNotUnderstoodError, match="odd"):
        tiers_of_others(doomed(), [odd] if where == "job" else [], [] if where == "job" else [odd])


# What is left -------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/store.db")) as opened:
        for name in ("team.cache", "team.spare", "other.cache"):
            opened.upsert_folder(Folder(name, f"/{name}"))
        yield opened


def make(store: Store, *tiers: str, folder: str = "team.cache", live: bool = True) -> None:
    """One image with a file in each tier."""
    store.upsert_images([ImageRecord(ALBUM, 0, "image", "a.jpg", 1, "v")], 0)
    store.put_shards("job", 1, [Shard("job", 1, 0, ALBUM, 0, 1, 0)])
    claimed = store.claim_shard("job", 1, "pod", 1.0)
    assert claimed
    made = tuple(
        Derivative("image", t, ALBUM, 0, "d", "v", folder, f"{t}.jpg", 4, 3, 10, "job", 1.0)
        for t in tiers
    )
    batch = ShardBatch("job", 1, 0, ALBUM, claimed.epoch, 0, 0, 1, Counts(completed=1), made)
    store.flush(batch, 2.0)
    if not live:
        store.mark_deleted(ALBUM, [0], 0)


def left(store: Store, *keep: str) -> Left:
    return left_of(store, ALBUM, "team", ["full"], keep, nothing)


def test_nothing_is_left_where_nothing_was_made(store: Store) -> None:
    assert not left(store)


@pytest.mark.parametrize("live", [True, False])
def test_what_is_left_are_tiers_that_nobody_else_asks_for(store: Store, live: bool) -> None:
    make(store, "full", "medium", live=live)
    assert left(store, "medium").tiers == ("full",)
    assert not left(store, "full", "medium")


def test_tiers_that_no_job_asks_for_any_more_are_left_too(store: Store) -> None:
    make(store, "full", "medium")
    assert left(store) == Left(("full", "medium"))


def test_removals_that_began_are_left_in_the_folders_of_the_namespace(store: Store) -> None:
    make(store, "full", folder="team.spare")
    store.start_removals(ALBUM, [(0, "full")], RemovalReason.DELETED, 0)
    assert left(store) == left(store, "medium") == Left((), ("team.spare",))
    store.end_removals(list(store.removals(ALBUM, "team.spare")))
    assert not left(store)


def test_what_others_pods_are_to_remove_is_theirs_while_there_are_others(store: Store) -> None:
    make(store, "full")
    store.start_removals(ALBUM, [(0, "full")], RemovalReason.SUPERSEDED, 0)
    assert not left(store, "full")
    assert left(store) == Left((), ("team.cache",))


def test_folders_of_another_namespace_are_not_looked_at(store: Store) -> None:
    make(store, "full", folder="other.cache")
    store.start_removals(ALBUM, [(0, "full")], RemovalReason.DELETED, 0)
    assert not left(store)


def test_status_says_how_far_it_is_beside_what_was_said() -> None:
    made = doomed()
    made["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    status = removing_status(made, ("Removing", "a pod"), 0.0)
    assert [each["type"] for each in status["conditions"]] == ["Ready", "FilesRemoved"]
    assert status["conditions"][1]["status"] == "False"
    again = removing_status(made | {"status": status}, ("Queued", "later"), 9.0)
    assert [each["type"] for each in again["conditions"]] == ["Ready", "FilesRemoved"]
    assert again["conditions"][1]["lastTransitionTime"] == "1970-01-01T00:00:00Z"
