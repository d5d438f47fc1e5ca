"""The verbs that clusters have, on this machine's store."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fpj_cli.context import UsageProblemError
from fpj_cli.local import StoreJobs
from fpj_cli.main import cli, main
from fpj_core.errors import NoStoreError
from fpj_core.kube.names import lease_name
from fpj_core.leases import local_holder
from fpj_core.model import Counts, Job, Phase, Shard
from fpj_core.store import open_store
from fpj_core.store.protocol import Store

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "fpj.db"))
    yield opened
    opened.close()


@pytest.fixture
def fpj(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.delenv("FPJ_CLUSTER", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fpj", *arguments, "--store", str(tmp_path / "fpj.db")])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def record(store: Store, job_id: str, phase: Phase, **values: object) -> Job:
    job = Job(
        job_id,
        "photos",
        "c",
        {"spec": {"jobType": "Both"}},
        "digest",
        phase=phase,
        created_at=time.time(),
    )
    for name, value in values.items():
        object.__setattr__(job, name, value)
    return store.create_job(job)


def test_a_record_has_the_shape_of_the_resource(store: Store) -> None:
    base = Counts(completed=6, skipped=3, failed=1, errors={"TooLarge": 1})
    record(
        store,
        "1111",
        Phase.COMPLETED_WITH_ERRORS,
        total=10,
        base=base,
        reason="ImagesFailed",
        message="1 failed",
    )
    job = StoreJobs(store).get("photos")
    assert (job.phase, job.collection, job.job_type, job.namespace) == (
        "CompletedWithErrors",
        "c",
        "Both",
        None,
    )
    assert (job.done, job.progress["percent"], job.errors) == (10, 100, {"TooLarge": 1})
    assert job.why == ("ImagesFailed", "1 failed")
    assert job.incomplete
    assert job.at_rest


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        (Phase.COMPLETED, 0),
        (Phase.COMPLETED_WITH_ERRORS, 1),
        (Phase.FAILED, 1),
        (Phase.SUSPENDED, 1),
        (Phase.RUNNING, 1),
    ],
)
def test_wait_and_watch_end_where_nothing_will_happen(
    store: Store, fpj: Command, phase: Phase, code: int
) -> None:
    record(store, "1111", phase, total=10, base=Counts(completed=5))
    assert fpj("wait")[0] == fpj("watch", "photos")[0] == code
    assert ("Stale" in fpj("wait")[1]) == (phase is Phase.RUNNING)


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.SUSPENDED])
def test_what_nobody_works_on_has_no_time_left(store: Store, fpj: Command, phase: Phase) -> None:
    store.put_shards(
        "1111", 1, [Shard("1111", 1, 0, "c", 0, 10, cursor=5, counts=Counts(completed=5))]
    )
    record(store, "1111", phase, total=10, active_seconds=10.0, stage="Process", planned_attempt=1)
    assert StoreJobs(store).get("photos").progress["etaSeconds"] is None
    assert fpj("get")[1].splitlines()[1].split()[7] == "-"


def test_suspend_ends_the_process_that_works(
    store: Store, fpj: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, "1111", Phase.RUNNING)
    code, _, error = fpj("suspend", "photos")
    assert (code, error) == (2, "Error: nothing on this machine works on photos\n")
    store.acquire_lease(lease_name("c"), local_holder("1111"), 60, time.time())
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))
    assert fpj("suspend", "photos")[:2] == (0, "photos suspended\n")
    assert killed == [(os.getpid(), 15)]


def test_suspend_leaves_strangers_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a process was signalled"))
    record(store, "1111", Phase.RUNNING)
    store.acquire_lease(lease_name("c"), local_holder("2222"), 60, time.time())
    jobs = StoreJobs(store)
    with pytest.raises(UsageProblemError, match="nothing on this machine"):
        jobs.suspend(jobs.get("photos"))


def test_what_only_a_cluster_has_is_not_offered(store: Store, fpj: Command) -> None:
    assert fpj("recover")[0] == 2
    assert "Nothing to recover" in fpj("recover", "--all")[2]
    assert fpj("watch")[2] == "No job is active.\n"


@pytest.mark.parametrize("text", ["x", "", "10x", "1m2h", "-5"])
def test_a_timeout_that_makes_no_sense(fpj: Command, text: str) -> None:
    code, _, error = fpj("wait", "--timeout", text)
    assert code == 2
    assert "write for example 90s, 1h30m or 30d" in error


def test_what_does_not_exist_is_no_empty_answer(store: Store, fpj: Command) -> None:
    record(store, "1111", Phase.COMPLETED)
    code, out, err = fpj("stats", "nosuch")
    assert (code, out) == (2, "") and "no collection named 'nosuch'" in err
    code, out, err = fpj("failures", "--type", "Corupt")
    assert (code, out) == (2, "") and "'Corupt' is not one of NotFound, AccessDenied, " in err
    assert fpj("find", "dawn") == (
        1,
        "",
        "Nothing is named dawn. A pattern finds more, such as '*dawn*'.\n",
    )
    assert fpj("find", "d?wn") == (1, "", "Nothing is named d?wn.\n")


def test_failures_are_told_to_programs_in_one_style_and_whole(store: Store, fpj: Command) -> None:
    record(
        store,
        "1111",
        Phase.COMPLETED_WITH_ERRORS,
        total=150,
        base=Counts(failed=150, errors={"TooLarge": 150}),
    )
    with store._connection.write() as db:  # type: ignore[attr-defined]
        db.executemany(
            "INSERT INTO failures VALUES ('1111', ?, 'c', 'i', ?, 'TooLarge', 'big', 1, 1.5)",
            [(number, f"{number}.jpg") for number in range(150)],
        )
    listed = json.loads(fpj("failures", "-o", "json")[1])
    assert len(listed) == 150
    assert (listed[0]["errorType"], listed[0]["at"]) == ("TooLarge", "1970-01-01T00:00:01Z")
    _, out, err = fpj("failures", "--type", "toolarge")
    assert len(out.splitlines()) == 101 and "50 more" in err


@pytest.mark.parametrize(
    "command",
    [
        ("get",),
        ("get", "photos"),
        ("describe",),
        ("failures",),
        ("watch",),
        ("wait", "photos"),
        ("suspend", "photos"),
        ("resume",),
        ("recover", "--all"),
        ("stats",),
        ("stats", "--repair"),
        ("outputs",),
        ("find", "a.jpg"),
        ("export",),
    ],
)
def test_only_run_makes_a_store(fpj: Command, tmp_path: Path, command: tuple[str, ...]) -> None:
    code, out, err = fpj(*command)
    assert (code, out) == (2, "")
    assert f"no store at {tmp_path / 'fpj.db'}" in err and "fpj run" in err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "fpj.db").touch()  # as `touch` makes one: no store either
    assert fpj(*command)[0] == 2
    assert (tmp_path / "fpj.db").stat().st_size == 0


def test_where_nothing_ever_ran_there_are_no_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for variable in ("FPJ_STORE", "FPJ_CLUSTER"):
        monkeypatch.delenv(variable, raising=False)
    listed = CliRunner().invoke(cli, ["get"], catch_exceptions=False)
    assert (listed.exit_code, listed.stdout) == (0, "") and "No jobs yet" in listed.stderr
    assert CliRunner().invoke(cli, ["get", "-o", "json"]).stdout == "[]\n"
    assert json.loads(CliRunner().invoke(cli, ["stats", "-o", "json"]).stdout) == {
        "collections": [],
        "folders": [],
    }
    assert isinstance(CliRunner().invoke(cli, ["describe"]).exception, NoStoreError)
    assert list(tmp_path.iterdir()) == []


def test_a_store_on_a_network_file_system_is_reported(
    store: Store, fpj: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Warning" not in fpj("get")[2]
    monkeypatch.setattr("fpj_cli.context.shared_type", lambda _path: "nfs4")
    code, out, err = fpj("get", "-o", "json")
    assert (code, out) == (0, "[]\n")
    assert f"Warning: the store {store.location} is on a network file system (nfs4)" in err
    assert "one host at a time" in err and "mongodb://" in err
