"""Which collection a purge means, and who holds it; over a real store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from contract.records import image

from fpj_core.kube.names import lease_name
from fpj_core.model import Job
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_operator.purges.controller import _known
from fpj_operator.purges.state import Known


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(str(tmp_path / "store.db"))) as store:
        for collection in ("team.photos", "team.team.photos", "other.photos"):
            store.upsert_images([image(0, collection=collection)], 0)
        yield store


@pytest.mark.parametrize(
    ("namespace", "given", "meant"),
    [
        ("team", "photos", "team.photos"),
        ("other", "other.photos", "other.photos"),
        ("team", "team.photos", "team.team.photos"),  # as its jobs name it comes first
        ("team", "other.photos", ""),
        ("other", "team.photos", ""),
        ("tea", "m.photos", ""),
        ("team", "none", ""),
    ],
)
def test_only_collections_of_the_namespace_are_meant(
    store: Store, namespace: str, given: str, meant: str
) -> None:
    assert _known(store, namespace, given) == Known(meant, "")


def test_the_holder_is_named(store: Store) -> None:
    name = lease_name("team.photos")
    store.create_job(Job("uid", "holidays", "team.photos", {}, "digest", created_at=1.0))
    lease = store.acquire_lease(name, "uid", 60, store.now())
    assert _known(store, "team", "photos") == Known("team.photos", "job holidays")
    store.release_lease(lease)
    assert _known(store, "team", "photos").holder == ""
    store.acquire_lease(name, "evict-x local elsewhere 5 7", 60, store.now())
    assert _known(store, "team", "photos").holder == "another process"
    assert _known(store, "team", "team.photos").holder == ""


def test_a_lease_that_has_expired_holds_nothing(store: Store) -> None:
    store.acquire_lease(lease_name("team.photos"), "uid", 60, store.now() - 61)
    assert _known(store, "team", "photos").holder == ""
