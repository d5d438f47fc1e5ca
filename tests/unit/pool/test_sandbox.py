"""What a child process that a decoder took over can reach:
every attempt is made from inside one.
"""

from __future__ import annotations

import ast
import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from unit.pool import attacks
from unit.pool.handlers import factory

from fpj_core.errors import ErrorType
from fpj_worker.pool import ProcessPool, landlock, seccomp
from fpj_worker.pool.sandbox import Mode, Reach, clean_environment
from fpj_worker.resources import usable_memory

Pool = ProcessPool[Any, Any]
BOUND = 60.0

complete = pytest.mark.skipif(
    landlock.version() < 6 or not seccomp.available(),
    reason="this kernel cannot confine in everything",
)


def outcome(pool: Pool, task: object) -> Any:
    pool.submit(task)
    (found,) = pool.poll(BOUND)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("source", "cache/own", "cache/other", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "source" / "a.jpg").write_bytes(b"image")
    (tmp_path / "elsewhere" / "token").write_text("secret")
    (tmp_path / "cache" / "other" / "b.jpg").write_bytes(b"theirs")
    return tmp_path


def reach(place: Path, **changes: Any) -> Reach:
    return Reach(read=(str(place / "source"),), write=(str(place / "cache" / "own"),), **changes)


@pytest.fixture
def pool(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setenv("FPJ_STORE", "mongodb://user:secret@store")
    with ProcessPool[Any, Any](
        attacks.factory, workers=1, timeout=BOUND, reach=reach(place)
    ) as pool:
        yield pool


@complete
def test_everything_that_a_hostile_child_tries_fails(pool: Pool, place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = {"place": str(place), "parent": os.getpid(), "port": server.getsockname()[1]}
        found = outcome(pool, where)
    assert found.error is None, found.error
    succeeded = {name: how for name, how in found.result.items() if how != "refused"}
    assert succeeded == dict.fromkeys(attacks.ALLOWED, "done")
    assert len(found.result) >= 40


def test_a_child_has_nothing_of_the_supervisors_environment() -> None:
    environment = {
        "FPJ_STORE": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "KUBERNETES_SERVICE_HOST": "c",
        "HOME": "d",
    }
    environment |= {"FPJ_TEST_MONGODB_URI": "e"}  # no name of a test's is known to the product
    assert clean_environment(environment | {"LANG": "C", "PYTHONPATH": "x"}) == {
        "LANG": "C",
        "PYTHONPATH": "x",
    }


def test_no_process_of_the_pool_was_started_with_a_secret(pool: Pool) -> None:
    """What a process was started with stays in its memory, whatever it removes later:
    the fork server's is clean.
    """
    assert outcome(pool, {"echo": 1}).result == 1
    assert os.environ["FPJ_STORE"] == "mongodb://user:secret@store", "the supervisor keeps its own"
    processes = psutil.Process().children(recursive=True)
    started_with = [found for each in processes if (found := environment_of(each))]
    # An earlier test's fork server serves all pools of this process, and never had the variable.
    assert len(started_with) >= 2
    assert not any(b"secret" in environment for environment in started_with)


def environment_of(process: psutil.Process) -> bytes:
    """What it was started with; nothing for one of an earlier test that has ended meanwhile."""
    try:
        return Path(f"/proc/{process.pid}/environ").read_bytes()
    except (ProcessLookupError, FileNotFoundError):
        return b""


SUPERVISOR = """
import os, subprocess
from unit.pool.attacks import factory
from fpj_worker.pool import ProcessPool
from fpj_worker.pool.sandbox import Reach

def readable():
    command = ["cat", f"/proc/{os.getpid()}/environ"]
    return subprocess.run(command, capture_output=True).returncode == 0

before = readable()
with ProcessPool(factory, workers=1, timeout=60, reach=Reach()) as pool:
    pool.submit({"echo": 1})
    pool.poll(60)
    print(before, readable())
"""


def give_up_capabilities() -> None:
    """Root may read everything; this is root without that, as any other user is."""
    for capability in range(64):
        # PR_CAPBSET_DROP: nothing is left after the next exec.
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def test_the_supervisors_environment_is_closed_to_its_own_user(tmp_path: Path) -> None:
    """Without Landlock, too: a process that nothing confines tries."""
    run = subprocess.run(
        [sys.executable, "-c", SUPERVISOR],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "FPJ_STORE": "the-secret"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
        preexec_fn=give_up_capabilities,
    )
    assert run.stdout.split() == ["True", "False"], run.stderr


WITHOUT_LANDLOCK = """
import sys
from fpj_worker.pool import landlock, sandbox
landlock._CREATE_RULESET = 1_000_000
reach = sandbox.Reach(mode=sandbox.Mode(sys.argv[1]))
print({part.value: reason for part, reason in sandbox.confine(reach).items()})
"""


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.REQUIRE])
def test_a_kernel_without_landlock(mode: Mode) -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_LANDLOCK, mode.value],
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    if mode is Mode.AUTO:
        assert run.returncode == 0, run.stderr
        found = ast.literal_eval(run.stdout)
        assert {part: found.get(part) for part in ("files", "network", "signals")} == dict.fromkeys(
            ("files", "network", "signals"), "the kernel has no Landlock"
        )
    else:
        assert "SandboxError: files: the kernel has no Landlock" in run.stderr


def test_results_of_foreign_types_are_refused() -> None:
    """Unpickling them could run anything in the supervisor."""
    with ProcessPool[Any, Any](factory, workers=1, timeout=BOUND) as pool:
        found = outcome(pool, ("evil", None))
        assert found.error.error_type is ErrorType.WORKER_CRASHED
        assert not os.environ.get("FPJ_TEST_PWNED")
        assert outcome(pool, ("echo", 1)).result == 1


@complete
def test_a_memory_limit_holds_in_a_confined_child(place: Path) -> None:
    """It is measured where /proc cannot be opened any more."""
    confined: list[Any] = []
    limit = usable_memory() // 2
    with ProcessPool[Any, Any](
        attacks.factory,
        workers=1,
        timeout=BOUND,
        memory_limit=limit,
        reach=reach(place, mode=Mode.REQUIRE),
        on_confined=confined.append,
    ) as pool:
        assert outcome(pool, {"echo": 3}).result == 3
    assert confined == [{}]
