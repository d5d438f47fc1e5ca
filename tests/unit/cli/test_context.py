"""How the commands find the store and a job, and what they call one that nobody works on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fpj_cli.context import (
    UsageProblemError,
    default_store,
    find_job,
    opened_store,
    print_json,
    shown_phase,
)
from fpj_core.kube.names import lease_name
from fpj_core.leases import local_holder
from fpj_core.model import Job, Phase
from fpj_core.store.protocol import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened_store(str(tmp_path / "fpj.db"), make=True) as opened:
        yield opened


def job(job_id: str, name: str, created_at: float, phase: Phase = Phase.RUNNING) -> Job:
    return Job(job_id, name, "c", {}, "digest", phase=phase, created_at=created_at)


def test_the_store_is_where_users_data_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_store() == "/data/fpj/fpj.db"
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_store() == "/home/me/.local/share/fpj/fpj.db"


def test_jobs_are_found_by_name_and_by_the_start_of_their_id(store: Store) -> None:
    for number, name in enumerate(["a", "b", "a"]):
        store.create_job(job(f"{number}{number}{number}{number}-rest", name, float(number)))
    assert find_job(store, None).id == "2222-rest", "the newest"
    assert find_job(store, "a").id == "2222-rest", "the newest of its name"
    assert find_job(store, "b").id == "1111-rest"
    assert find_job(store, "0000").id == find_job(store, "0000-rest").id == "0000-rest"
    for unknown in ("c", "000", ""):
        with pytest.raises(UsageProblemError, match=r"no job named .* \(newest: a, b\)"):
            find_job(store, unknown)


def of_folder(job_id: str, path: str, created_at: float) -> Job:
    manifest = {"spec": {"collection": {"source": {"local": {"path": path}}}}}
    return Job(
        job_id, f"slug-{job_id}", f"slug-{job_id}", manifest, "digest", created_at=created_at
    )


def test_jobs_are_found_by_their_folder(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, path in enumerate(["/a/Anna & Björn", "/b/photos", "/c/photos"]):
        store.create_job(of_folder(f"{number}{number}{number}{number}", path, float(number)))
    assert find_job(store, "Anna & Björn").id == find_job(store, "Anna & Björn/").id == "0000"
    assert find_job(store, "/b/photos").id == "1111"
    with pytest.raises(
        UsageProblemError, match=r"'photos' may be any of: slug-2222 \(2222\), slug-1111 \(1111\)"
    ):
        find_job(store, "photos")


def test_an_empty_store_says_what_to_do(store: Store) -> None:
    with pytest.raises(
        UsageProblemError, match=r"no jobs in .* yet; make one with: fpj run FOLDER"
    ):
        find_job(store, None)
    with pytest.raises(UsageProblemError, match=r"\(newest: none\)"):
        find_job(store, "a")


def test_a_job_that_nobody_works_on_is_stale(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("time.time", lambda: now)
    running = job("1111", "a", 1.0)
    assert shown_phase(store, running) == "Stale", "no lease at all"
    lease = store.acquire_lease(lease_name("c"), local_holder("1111"), 60, now)
    assert shown_phase(store, running) == "Running"
    assert shown_phase(store, replace(running, id="2222")) == "Stale", (
        "another job holds the collection"
    )
    now += 61
    assert shown_phase(store, running) == "Stale", "the lease ran out"
    store.renew_lease(lease, 60, now)
    monkeypatch.setattr("fpj_cli.context.is_dead", lambda _holder: True)
    assert shown_phase(store, running) == "Stale", "its process ended"


@pytest.mark.parametrize(
    "phase", [p for p in Phase if p.finished] + [Phase.SUSPENDED, Phase.PENDING]
)
def test_a_job_that_waits_or_ended_is_not_stale(store: Store, phase: Phase) -> None:
    assert shown_phase(store, job("1111", "a", 1.0, phase)) == phase.value


def test_json_is_one_document_with_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"key": "ä", "path": Path("/x")})
    text = capsys.readouterr().out
    assert json.loads(text) == {"key": "ä", "path": "/x"}
    assert "ä" in text
    assert text.endswith("}\n")
