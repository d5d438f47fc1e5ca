"""Runs that are stopped, killed, or lose a worker:
the next one ends with the same files and the same counts.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from e2e.conftest import (
    Finished,
    Fpj,
    files_in,
    injecting,
    kill_with_children,
    manifest,
    photo,
    wait_for,
)

SPEC: dict[str, Any] = {"sharding": {"shardSize": 12, "batchSize": 4}}
"""Five shards and many batches, so that there is much to interrupt."""

KILLS = (
    ("Index", 1, 30),
    ("Index", 31, 60),
    ("Check", 1, 1),
    ("Plan", 1, 10),
    ("Plan", 11, 20),
    ("Process", 1, 10),
    ("Process", 80, 100),  # beyond the end of a shard
    ("Process", 1, 20),
    ("Process", 1, 20),
    ("Finish", 1, 5),
    ("Finish", 6, 12),
)
"""Stages, and between which of their SQL statements the run is killed, one run after another."""

SLOW = injecting("decoder") | {"PYTHON_TEST_SLOWNESS": "0.03"}
"""Seconds more for each image, so that a fast machine is not done before it can be interrupted."""


@dataclass
class Undisturbed:
    """60 photos, and what one run that nobody disturbs makes of them."""

    photos: Path
    files: dict[str, str]
    bytes_written: int


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    root = tmp_path_factory.mktemp("undisturbed")
    photos = root / "photos"
    photos.mkdir()
    for number in range(60):
        (photos / f"{number}.jpg").write_bytes(photo(number))
    fpj = Fpj(str(root / "fpj.db"), root / "out")
    finished = fpj("run", manifest(root / "job.yaml", photos, **SPEC), "--out", fpj.out, "--json")
    assert finished.counts == (60, 0, 0), finished.stderr
    files = files_in(fpj.out)
    assert len(files) == 120
    return Undisturbed(photos, files, finished.json["progress"]["bytesWritten"])


@dataclass
class Disturbed:
    """A run of the same job with a store and a cache folder of its own."""

    fpj: Fpj
    manifest: Path
    undisturbed: Undisturbed

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """In a process group of its own, as a shell starts it."""
        self.fpj.environment = environment or SLOW
        command = arguments or ("run", self.manifest, "--out", self.fpj.out)
        return self.fpj.start(*command, "--workers", 2, "--json", start_new_session=True)

    def run(self) -> Finished:
        self.fpj.environment = {}
        return self.fpj("run", self.manifest, "--out", self.fpj.out, "--json")

    def made(self) -> int:
        """So many files are there."""
        return sum(name.endswith(".jpg") for _, _, names in os.walk(self.fpj.out) for name in names)

    def check_same(self, finished: Finished) -> None:
        """As if nothing had happened: byte for byte, image for image, over one job."""
        assert finished.code == 0, finished.stderr
        progress = finished.json["progress"]
        assert (
            progress["completed"],
            progress["skipped"],
            progress["failed"],
            progress["total"],
        ) == (60, 0, 0, 60)
        assert progress["bytesWritten"] == self.undisturbed.bytes_written
        assert files_in(self.fpj.out) == self.undisturbed.files, (
            "the same files and no temporary one"
        )
        assert len(self.fpj.listed("get")) == 1, "all attempts belong to one job"
        rows = self.fpj.listed("outputs")
        assert {row["path"] for row in rows} == {
            str(self.fpj.out / path) for path in self.undisturbed.files
        }
        assert self.run().counts == (0, 60, 0)


@pytest.fixture
def disturbed(fpj: Fpj, undisturbed: Undisturbed, tmp_path: Path) -> Disturbed:
    return Disturbed(fpj, manifest(tmp_path / "job.yaml", undisturbed.photos, **SPEC), undisturbed)


@pytest.fixture(params=["sqlite", "mongodb"])
def in_each_store(request: pytest.FixtureRequest, disturbed: Disturbed) -> Disturbed:
    if request.param == "mongodb":
        server = request.getfixturevalue("mongodb_server")
        disturbed.fpj.store = f"{server}/e2e_{os.getpid()}_{os.urandom(4).hex()}"
    return disturbed


# Ctrl-C and SIGTERM -------------------------------------------------------------------------------


def interrupt(process: subprocess.Popen[str], number: signal.Signals) -> Finished:
    """Signal the whole process group, as a terminal does, and let it end."""
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=60)
    return Finished(process.returncode, stdout, stderr)


def check_suspended(disturbed: Disturbed, stopped: Finished) -> None:
    assert stopped.code == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert stopped.json["phase"] == "Suspended"
    assert stopped.json["reason"] == "Interrupted"
    assert stopped.counts[1:] == (0, 0)
    assert "Run the same command again to continue." in stopped.stderr
    assert disturbed.fpj.job()["phase"] == "Suspended"
    assert set(files_in(disturbed.fpj.out)) <= set(disturbed.undisturbed.files), "no temporary file"


def has_more(disturbed: Disturbed, files: int) -> bool:
    return disturbed.made() > files


def read_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"the run ended before it said {words!r}")


def test_interrupts_at_random_moments(in_each_store: Disturbed) -> None:
    """Several times on one job: at once, while workers start, and in the midst of it.

    None costs a finished image.
    """
    chance = random.Random(3)
    before = 0
    moments: tuple[str | int, ...] = ("Making images", 6, "Listing images", "Making images", 12)
    for turn, moment in enumerate(
        moments if "mongodb" not in in_each_store.fpj.store else moments[:3]
    ):
        process = in_each_store.start()
        if isinstance(moment, str):
            read_until(process, moment)
            time.sleep(chance.uniform(0, 0.15))
        else:
            wait_for(partial(has_more, in_each_store, 2 * before + moment), "more files")
        stopped = interrupt(process, (signal.SIGINT, signal.SIGTERM)[turn % 2])
        check_suspended(in_each_store, stopped)
        completed = stopped.counts[0]
        assert before <= completed < 60
        before = completed
    in_each_store.check_same(in_each_store.run())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_midst_of_it(disturbed: Disturbed, number: signal.Signals) -> None:
    process = disturbed.start()
    wait_for(lambda: disturbed.made() > 20, "20 files")
    stopped = interrupt(process, number)
    check_suspended(disturbed, stopped)
    recorded = {row["path"] for row in disturbed.fpj.listed("outputs")}
    on_disk = {str(disturbed.fpj.out / path) for path in files_in(disturbed.fpj.out)}
    assert recorded == on_disk, "what is finished is recorded"
    assert 9 < stopped.counts[0] < 60
    disturbed.check_same(disturbed.run())


def test_a_second_interrupt_ends_it_at_once(
    disturbed: Disturbed, marks: dict[str, str], tmp_path: Path
) -> None:
    """The first waits for a decoder that hangs; the second does not even write a summary."""
    (tmp_path / "slow").mkdir()
    for name in ("hangs.jpg", "other.jpg"):
        (tmp_path / "slow" / name).write_bytes(photo(1))
    process = disturbed.start("run", tmp_path / "slow", "--out", disturbed.fpj.out, **marks)
    hanging = started(marks, "hangs")
    os.killpg(process.pid, signal.SIGINT)
    wait_for(lambda: not pending_signals(process.pid), "the first interrupt to arrive")
    time.sleep(0.1)
    assert process.poll() is None
    assert psutil.pid_exists(hanging), "the first interrupt leaves it some time"
    ended = interrupt(process, signal.SIGINT)
    assert ended.code == 130, ended.stderr
    error = {"exitCode": 130, "type": "Interrupted", "message": "interrupted"}
    assert json.loads(ended.stdout) == {"error": error}, "no summary"
    assert ended.stderr.endswith("Interrupted.\n")
    wait_for(lambda: not disturbed.fpj.processes(), "the end of the decoder that hangs")
    assert disturbed.fpj.job()["phase"] == "Stale"


def pending_signals(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)


@pytest.fixture
def marks(tmp_path: Path) -> dict[str, str]:
    """The environment in which some decoders hang and leave their process ids."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return injecting("decoder") | {"PYTHON_TEST_MARKS": str(folder)}


def started(marks: dict[str, str], name: str) -> int:
    """The process in which an image of this name is being decoded."""
    mark = Path(marks["PYTHON_TEST_MARKS"], name)
    wait_for(mark.exists, f"the decoder of {name}")
    return int(mark.read_text())


# kill -9 ------------------------------------------------------------------------------------------


def test_killed_again_and_again_in_every_stage(disturbed: Disturbed) -> None:
    """One job, killed before random statements, and between any two writes of files.

    Then left to end.
    """
    chance = random.Random(17)
    for stage, first, last in KILLS:
        statement = chance.randint(first, last)
        process = disturbed.start(**injecting("kill"), FPJ_TEST_KILL=f"{stage} {statement}")
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, f"{stage} {statement}: {stderr}"
        check_stale(disturbed, stage)
    disturbed.check_same(disturbed.run())


def test_killed_at_any_time(in_each_store: Disturbed) -> None:
    """From outside, while children are working; they end by
    themselves and leave no part of a file.
    """
    for most in (1, 25, 50, 75):
        process = in_each_store.start()
        wait_for(partial(has_more, in_each_store, most), f"{most} files")
        kill_with_children(process)
        check_stale(in_each_store, "Process")
    in_each_store.check_same(in_each_store.run())


def test_what_finished_out_of_order_is_kept(
    disturbed: Disturbed, marks: dict[str, str], tmp_path: Path
) -> None:
    """Killed while the first image hangs: it alone, and what was not recorded yet,
    is made after that.
    """
    source = tmp_path / "some"
    source.mkdir()
    (source / "hangs-at-first.jpg").write_bytes(photo(20))
    for number in range(20):
        (source / f"other-{number}.jpg").write_bytes(photo(number))
    job = manifest(tmp_path / "some.yaml", source, sharding={"batchSize": 4})
    process = disturbed.start("run", job, "--out", disturbed.fpj.out, **marks)
    wait_for(
        lambda: disturbed.made() == 38, "the files of all others but the one that waits behind it"
    )
    assert psutil.pid_exists(started(marks, "hangs-at-first"))
    kill_with_children(process)
    recorded = [Path(row["path"]) for row in disturbed.fpj.listed("outputs")]
    assert len(recorded) >= 2 * 12, "at most a batch and what was in flight is not recorded"
    times = [path.stat().st_mtime_ns for path in recorded]
    finished = disturbed.fpj("run", job, "--out", disturbed.fpj.out, "--json")
    assert finished.counts == (21, 0, 0), finished.stderr
    assert [path.stat().st_mtime_ns for path in recorded] == times
    assert len(files_in(disturbed.fpj.out)) == 42


def check_stale(disturbed: Disturbed, stage: str) -> None:
    wait_for(lambda: not disturbed.fpj.processes(), "the end of the children", 15)
    job = disturbed.fpj.job()
    assert job["phase"] == "Stale", stage
    progress = job["progress"]
    assert progress["completed"] + progress["skipped"] + progress["failed"] <= 60


def test_killed_after_its_end_is_recorded(disturbed: Disturbed) -> None:
    """The lease is still held by the dead process, and the next run is a new job with nothing to
    do.
    """
    process = disturbed.start(**injecting("kill"), FPJ_TEST_KILL="Completed")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert disturbed.fpj.job()["phase"] == "Completed"
    assert files_in(disturbed.fpj.out) == disturbed.undisturbed.files
    assert disturbed.run().counts == (0, 60, 0)


def test_resume_goes_on_after_a_kill(disturbed: Disturbed, tmp_path: Path) -> None:
    """Into the folder that the job wrote to, also when the store knows of others."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.jpg").write_bytes(photo(1, 80, 60))
    process = disturbed.start()
    wait_for(lambda: disturbed.made() > 20, "20 files")
    kill_with_children(process)
    disturbed.fpj("run", other, "--out", tmp_path / "out-of-other")
    shown = disturbed.fpj("get", "job").stdout
    assert "Stale" in shown
    resumed = disturbed.fpj("resume", "job", "--json")
    assert resumed.code == 0, resumed.stderr
    assert resumed.counts == (60, 0, 0)
    assert files_in(disturbed.fpj.out) == disturbed.undisturbed.files
    assert "Completed" in disturbed.fpj("get", "job").stdout


def test_resume_tries_failed_images_again(fpj: Fpj, tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    (source / "good.jpg").write_bytes(photo(1))
    (source / "bad.jpg").write_bytes(photo(2)[:3000])
    assert fpj.run(source).counts == (1, 0, 1)
    (source / "bad.jpg").write_bytes(photo(2))
    resumed = fpj("resume", "--json")
    assert resumed.counts == (2, 0, 0), resumed.stderr
    assert fpj.failures() == {}


# Workers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["worker", "fork server"])
def test_a_killed_worker_costs_one_retry(
    disturbed: Disturbed, marks: dict[str, str], tmp_path: Path, victim: str
) -> None:
    source = tmp_path / "some"
    source.mkdir()
    for number in range(20):
        (source / f"{number}.jpg").write_bytes(photo(number))
    (source / "hangs-at-first.jpg").write_bytes(photo(20))
    process = disturbed.start("run", source, "--out", disturbed.fpj.out, **marks)
    killed = psutil.Process(started(marks, "hangs-at-first"))
    (killed if victim == "worker" else killed.parent()).kill()  # type: ignore[union-attr]
    stdout, stderr = process.communicate(timeout=60)
    finished = Finished(process.returncode, stdout, stderr)
    assert finished.code == 0, stderr
    assert finished.counts == (21, 0, 0)
    assert finished.json["errorBreakdown"] == {}
    assert len(files_in(disturbed.fpj.out)) == 42
    assert started(marks, "hangs-at-first") != killed.pid, "another one has decoded it"
