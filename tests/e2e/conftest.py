"""Whole runs of the `fpj` command, as a user starts it: another process, real files,
real decoders.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

BOUND = 90.0
"""Seconds that no run here may reach; a bound, not a measurement."""

INJECTED = Path(__file__).parent / "injected"


@dataclass
class Finished:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.stdout, f"exit code {self.code}: {self.stderr}"
        return dict(json.loads(self.stdout))

    @property
    def counts(self) -> tuple[int, int, int]:
        """(completed, skipped, failed)."""
        progress = self.json["progress"]
        return progress["completed"], progress["skipped"], progress["failed"]


@dataclass
class Fpj:
    """The command, with a store and a cache folder of its own."""

    store: str
    out: Path
    environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        command = [*self.prefix, sys.executable, "-m", "fpj_cli.main", *map(str, arguments)]
        given = {
            "FPJ_STORE": self.store,
            "PYTHON_TEST_OUT": str(self.out),
            "PYTHONWARNINGS": "error",
        }
        environment = os.environ | given | self.environment
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, **(pipes | options))

    def __call__(self, *arguments: object, **options: Any) -> Finished:
        process = self.start(*arguments, **options)
        try:
            stdout, stderr = process.communicate(timeout=BOUND)
        finally:
            process.kill()
        return Finished(process.returncode, stdout, stderr)

    def run(self, target: Path, *arguments: object) -> Finished:
        """`fpj run` into the cache folder, with a JSON summary."""
        return self("run", target, "--out", self.out, "--json", *arguments)

    def listed(self, *arguments: object) -> list[dict[str, Any]]:
        """What a command lists as JSON."""
        finished = self(*arguments, "-o", "json")
        assert finished.stdout, f"exit code {finished.code}: {finished.stderr}"
        return list(json.loads(finished.stdout))

    def job(self) -> dict[str, Any]:
        """The newest job, as `fpj get` shows it."""
        return self.listed("get")[0]

    def processes(self) -> list[psutil.Process]:
        """What still runs of all that was started here:
        children keep what begins as Python's own variables do.
        """
        return [process for process in psutil.process_iter() if self._started(process)]

    def _started(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("PYTHON_TEST_OUT") == str(self.out)
        except psutil.Error:
            return False

    def failures(self) -> dict[str, tuple[str, str]]:
        """Image to (error type, reason) of the newest job."""
        return {
            failure["key"]: (failure["errorType"], failure["message"])
            for failure in self.listed("failures")
        }


@pytest.fixture
def fpj(tmp_path: Path) -> Iterator[Fpj]:
    made = Fpj(str(tmp_path / "fpj.db"), tmp_path / "out")
    yield made
    wait_for(lambda: not made.processes(), "the end of every process of the runs", 15)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """60 JPEG files of 800x600, every one different."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}.jpg").write_bytes(photo(number))
    return folder


def photo(
    seed: int, width: int = 800, height: int = 600, image_format: str = "JPEG", **options: Any
) -> bytes:
    """A smooth picture with grain."""
    chance = np.random.default_rng(seed)
    coarse = Image.fromarray(chance.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (width, height), 3
    )
    noisy = np.asarray(coarse, np.int16) + chance.integers(-9, 10, (height, width, 3), np.int16)
    target = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(target, image_format, **options)
    return target.getvalue()


def files_in(folder: Path) -> dict[str, str]:
    """Every file below a folder but the cache tag: relative path to a digest of its content."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("CACHEDIR.TAG", ".fpj-folder")
    }


def size_of(path: Path) -> tuple[int, int]:
    """Dimensions, after decoding all of it."""
    with Image.open(path) as image:
        image.load()
        return image.size


def wait_for(condition: Callable[[], object], what: str, seconds: float = BOUND) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.005)


def injecting(name: str) -> dict[str, str]:
    """The environment in which `injected/<name>/sitecustomize.py` is loaded by each Python that
    starts.
    """
    paths = [str(INJECTED / name), os.environ.get("PYTHONPATH")]
    # What is injected leaves marks and harms files that the sandbox would keep it from.
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "FPJ_SANDBOX": "off"}


def without_privileges() -> tuple[str, ...]:
    """A prefix for commands that takes away root's right to ignore permissions.

    Nobody else needs any.

    The user stays the same: the interpreter may lie where another one cannot even reach it.
    """
    if os.geteuid() != 0:
        return ()
    rights = "-dac_override,-dac_read_search"
    prefix = ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")
    if (
        not shutil.which("setpriv")
        or subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("root reads and writes everything, and setpriv cannot prevent it here")
    return prefix


def kill_with_children(process: subprocess.Popen[str]) -> None:
    """SIGKILL the supervisor alone; its children must then end by themselves."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=BOUND)
    wait_for(
        lambda: not any(map(is_alive, children)),
        "the end of the children of a killed supervisor",
        15,
    )


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def manifest(path: Path, source: Path, **spec: Any) -> Path:
    """A FileProcessingJob in a file, as JSON, which is YAML too."""
    collection = {"id": "photos", "source": {"local": {"path": str(source)}}}
    document: Mapping[str, Any] = {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "FileProcessingJob",
        "metadata": {"name": path.stem},
        "spec": {"jobType": "Both", "collection": collection} | spec,
    }
    path.write_text(json.dumps(document))
    return path
