"""Source or cache folder stop working in the middle of a run: no image is charged, and it goes on once they heal."""

from __future__ import annotations

import signal
import subprocess
import threading
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
        self.process = fpj.start("run", photos, "--out", fpj.out, "--workers", 2, "--json", *arguments)
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
def sick(fpj: Fpj, photos: Path, break_it: Callable[[Path], Callable[[], object]], *arguments: object) -> Iterator[Run]:
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
