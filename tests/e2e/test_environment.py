"""Source or cache folder stop working in the middle of a run: no image is charged,
and it goes on once they heal.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.conftest import Finished, Fpj, files_in, injecting, photo, wait_for
from unit.sources.surroundings import small_disk

NUMBER = 30


class Run:
    """A run whose words are read while it goes on."""

    def __init__(self, fpj: Fpj, photos: Path, *arguments: object) -> None:
        self.process = fpj.start(
            "run", photos, "--out", fpj.out, "--workers", 2, "--json", *arguments
        )
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        self._said.extend(iter(self.process.stderr.readline, ""))

    @property
    def said(self) -> str:
        return "".join(self._said)

    def wait_until_it_waits(self) -> None:
        wait_for(lambda: "Waiting," in self.said or self.process.poll() is not None, "it waits")
        assert self.process.poll() is None, self.said

    def end(self) -> Finished:
        assert self.process.stdout
        stdout = self.process.stdout.read()
        code = self.process.wait(60)
        self.close()
        return Finished(code, stdout, self.said)

    def close(self) -> None:
        self.process.kill()
        self._reader.join()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(NUMBER):
        (folder / f"{number}.jpg").write_bytes(photo(number, 320, 240))
    return folder


def moved_away(photos: Path) -> Callable[[], object]:
    away = photos.with_name("away")
    photos.rename(away)
    return lambda: away.rename(photos)


def unreadable(photos: Path) -> Callable[[], object]:
    mark = photos.parent / "eio"
    mark.touch()
    return mark.unlink


FAULTS = [moved_away, unreadable]


@contextmanager
def sick(
    fpj: Fpj, photos: Path, break_it: Callable[[Path], Callable[[], object]], *arguments: object
) -> Iterator[Run]:
    """A run whose source breaks when some images are made; it heals at the end."""
    fpj.environment = injecting("eio") | {"PYTHON_TEST_EIO": str(photos.parent / "eio")}
    run = Run(fpj, photos, *arguments)
    wait_for(lambda: len(files_in(fpj.out)) >= 8, "some images are made")
    heal = break_it(photos)
    try:
        yield run
    except BaseException:
        run.close()
        raise
    finally:
        heal()


def check_all_made(fpj: Fpj, finished: Finished) -> None:
    assert finished.code == 0, finished.stderr
    progress = finished.json["progress"]
    assert progress["completed"] + progress["skipped"] == progress["total"] == NUMBER
    assert progress["failed"] == 0
    assert fpj.failures() == {}
    assert len(files_in(fpj.out)) == 2 * NUMBER


@pytest.mark.parametrize("break_it", FAULTS)
def test_a_source_that_breaks_is_waited_for(
    fpj: Fpj, photos: Path, break_it: Callable[..., Callable[[], object]]
) -> None:
    with sick(fpj, photos, break_it) as run:
        run.wait_until_it_waits()
        assert fpj.job()["phase"] == "Running"
        assert fpj.job()["progress"]["failed"] == 0
    check_all_made(fpj, run.end())


def test_a_source_that_does_not_heal_in_time_suspends_the_job(fpj: Fpj, photos: Path) -> None:
    with sick(fpj, photos, moved_away, "--wait-for-environment", "1s") as run:
        finished = run.end()
    assert finished.code == 6, finished.stderr
    assert (finished.json["phase"], finished.json["reason"]) == ("Suspended", "EnvironmentFault")
    assert "the source" in finished.json["message"]
    assert finished.json["progress"]["failed"] == 0
    assert fpj.failures() == {}
    fpj.environment = {}
    check_all_made(fpj, fpj("resume", "--json"))


def test_ctrl_c_while_it_waits_loses_nothing(fpj: Fpj, photos: Path) -> None:
    with sick(fpj, photos, moved_away) as run:
        run.wait_until_it_waits()
        run.process.send_signal(signal.SIGINT)
        finished = run.end()
    assert finished.code == 130
    assert finished.json["progress"]["failed"] == 0
    fpj.environment = {}
    check_all_made(fpj, fpj.run(photos))


def test_a_full_disk_is_waited_for(fpj: Fpj, photos: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "300k") as disk:
        fpj.out = disk
        run = Run(fpj, photos)
        try:
            run.wait_until_it_waits()
            assert "No space left" in run.said
            assert fpj.job()["progress"]["failed"] == 0
            assert 0 < len(files_in(disk)) < 2 * NUMBER
            assert not [path for path in disk.rglob("*") if "probe" in path.name]
            subprocess.run(["mount", "-o", "remount,size=40m", disk], check=True)
            check_all_made(fpj, run.end())
        finally:
            run.close()


# Before the first image ---------------------------------------------------------------------------


def known(fpj: Fpj, photos: Path) -> None:
    """A run that made all, and one image more since, which the next one has to list and make."""
    assert fpj.run(photos).code == 0
    (photos / "new.jpg").write_bytes(photo(99, 320, 240))


@pytest.mark.parametrize("error", ["ENOENT", "ESTALE"])
def test_a_source_that_cannot_be_listed_is_waited_for(fpj: Fpj, photos: Path, error: str) -> None:
    known(fpj, photos)
    mark = photos.parent / "unlistable"
    mark.touch()
    fpj.environment = injecting("unlistable") | {
        "PYTHON_TEST_MARK": str(mark),
        "PYTHON_TEST_ERRNO": error,
    }
    run = Run(fpj, photos)
    try:
        run.wait_until_it_waits()
        assert fpj.job()["phase"] == "Indexing"
        mark.unlink()
        finished = run.end()
    finally:
        run.close()
    assert finished.code == 0, finished.stderr
    assert finished.counts == (1, NUMBER, 0)
    assert finished.stderr.count("Listing images") == 1


def test_resume_and_recover_wait_and_accept_as_run_does(fpj: Fpj, photos: Path) -> None:
    known(fpj, photos)
    photos.rename(photos.with_name("away"))
    for command in (("resume",), ("recover", "photos", "--yes")):
        finished = fpj(*command, "--wait-for-environment", "0")
        assert finished.code == 6, finished.stderr
    assert fpj.job()["reason"] == "EnvironmentFault"
    photos.mkdir()
    refused = fpj("resume")
    assert (refused.code, "--accept-vanished" in refused.stderr) == (2, True)
    finished = fpj("recover", "photos", "--yes", "--accept-vanished")
    assert finished.code == 0, finished.stderr
    assert fpj.job()["progress"]["total"] == 0


def test_resume_accepts_a_source_that_was_moved(fpj: Fpj, photos: Path) -> None:
    assert fpj.run(photos, "--collection", "mine").code == 0
    first = fpj.job()["jobId"]
    moved = photos.rename(photos.with_name("moved"))
    assert fpj.run(moved, "--collection", "mine", "--accept-source").code == 0
    shutil.copytree(moved, photos)
    refused = fpj("resume", first)
    assert (refused.code, "--accept-source" in refused.stderr) == (2, True)
    assert fpj("resume", first, "--accept-source").code == 0


def test_what_one_run_accepts_is_not_accepted_for_ever(fpj: Fpj, photos: Path) -> None:
    assert fpj.run(photos, "--accept-vanished", "--accept-source").code == 0
    photos.rename(photos.with_name("away"))
    photos.mkdir()
    refused = fpj("resume", fpj.job()["jobId"])
    assert (refused.code, "--accept-vanished" in refused.stderr) == (2, True)


@pytest.mark.parametrize("command", ["resume", "recover"])
def test_a_cluster_is_told_by_its_manifest_what_to_accept(fpj: Fpj, command: str) -> None:
    refused = fpj(command, "photos", "--cluster", "--accept-vanished")
    assert refused.code == 2
    assert "spec.collection.acceptVanished" in refused.stderr


# The temporary folder -----------------------------------------------------------------------------


def test_a_temporary_folder_may_have_a_longer_path_than_a_socket(
    fpj: Fpj, photos: Path, tmp_path: Path
) -> None:
    """Sockets' paths may have 107 bytes, and those of folders 4,095."""
    long = tmp_path.joinpath(*["temporary files of a build that names its folders well"] * 8)
    long.mkdir(parents=True)
    fpj.environment = {"TMPDIR": str(long)}
    finished = fpj.run(photos)
    assert (finished.code, finished.counts[2]) == (0, 0), finished.stderr
    assert list(long.iterdir()) == []


def test_a_full_temporary_folder_is_waited_for(fpj: Fpj, tmp_path: Path) -> None:
    """Large members of archives are unpacked there.

    Another's files fill it; no image is to blame.
    """
    source = tmp_path / "album"
    source.mkdir()
    with zipfile.ZipFile(source / "large.zip", "w") as archive:
        for number in range(2):
            archive.writestr(f"{number}.bmp", photo(number, 2_048, 1_536, "BMP"))
    (source / "small.jpg").write_bytes(photo(3))
    with small_disk(tmp_path / "tmp", "32m") as disk:
        filler = disk / "filler"
        filler.write_bytes(bytes(26 * 2**20))
        fpj.environment = {"TMPDIR": str(disk)}
        run = Run(fpj, source)
        try:
            run.wait_until_it_waits()
            assert f"temporary files cannot be kept in {disk}: No space left" in run.said
            assert fpj.job()["progress"]["failed"] == 0
            filler.unlink()
            finished = run.end()
        finally:
            run.close()
    assert (finished.code, finished.counts) == (0, (3, 0, 0)), finished.stderr


# The store ----------------------------------------------------------------------------------------


def test_a_store_on_a_read_only_file_system_is_shown_and_refuses_a_run(
    fpj: Fpj, photos: Path, tmp_path: Path
) -> None:
    folder, mounted = tmp_path / "store", tmp_path / "mounted"
    folder.mkdir()
    mounted.mkdir()
    fpj.store = str(folder / "fpj.db")
    assert fpj.run(photos).code == 0
    name = fpj.job()["name"]
    if subprocess.run(
        ["mount", "--bind", folder, mounted], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting needs root's rights")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
        fpj.store = str(mounted / "fpj.db")
        for command in (
            "get",
            "find 3.jpg",
            f"stats {name}",
            f"export {name}",
            f"outputs {name}",
            f"failures {name}",
        ):
            shown = fpj(*command.split())
            assert (shown.code, "Error" in shown.stderr) == (0, False), command
        commands: tuple[tuple[str | Path, ...], ...] = (
            ("run", photos, "--out", fpj.out),
            ("resume",),
        )
        for arguments in commands:
            refused = fpj(*arguments)
            assert refused.code == 4, refused.stderr
            assert refused.stderr.startswith(f"Error: the store {fpj.store} cannot be written:")
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)
