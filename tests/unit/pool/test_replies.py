"""What a child sends when an image fails, and what the supervisor reads of it."""

from __future__ import annotations

import multiprocessing
import pickle
import pickletools
from collections import deque
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from unit.pool.handlers import factory

from fpj_core.errors import ErrorType, ImageError
from fpj_worker.pool import ProcessPool
from fpj_worker.pool.child import _Child, _pickled
from fpj_worker.pool.protocol import ADMIT, DONE, ERROR, GRANT, READY, UNBEGUN
from fpj_worker.pool.replies import GarbledError, Replies


def sent(error_type: ErrorType) -> bytes:
    def fail(_task: object, _admit: object) -> NoReturn:
        raise ImageError(error_type, "because")

    settings: Any = SimpleNamespace(heavy_budget=None, memory_limit=None, stop=None, stopwatch=None)
    unused: Any = None
    return _pickled(*_Child(unused, fail, settings)._run(None), 0.1, 7)


def read(data: bytes) -> tuple[str, Any, float, int]:
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        theirs.send_bytes(data)
        return Replies(()).read(ours)


@pytest.mark.parametrize("error_type", ErrorType)
def test_an_error_arrives_and_names_nothing_to_be_called(error_type: ErrorType) -> None:
    """Some versions of Python pickle a member of an enumeration as a call of getattr,
    which no answer may name.
    """
    data = sent(error_type)
    assert not {opcode.name for opcode, _, _ in pickletools.genops(data)} & {
        "GLOBAL",
        "STACK_GLOBAL",
        "REDUCE",
    }
    assert read(data) == (ERROR, (error_type, "because", False), 0.1, 7)


@pytest.mark.parametrize(
    "content",
    [
        ("Corupt", "a", False),
        ("CorruptImage", 1, False),
        ("CorruptImage", "a"),
        ("CorruptImage", "a", 1),
    ]
    + ["CorruptImage", (ErrorType.INTERNAL, "a", False)],
)
def test_no_error_of_ours(content: object) -> None:
    with pytest.raises(GarbledError):
        read(pickle.dumps((ERROR, content, 0.1, 7)))


@pytest.mark.parametrize(
    ("ready", "tasks", "kind"),
    [
        (True, [], DONE),
        (True, [], ADMIT),
        (True, [], UNBEGUN),
        (False, ["task"], DONE),
        (True, ["task"], READY),
    ],
)
def test_an_answer_that_nobody_asked_for_ends_its_child(
    monkeypatch: pytest.MonkeyPatch, *, ready: bool, tasks: list[str], kind: str
) -> None:
    """Whatever a hijacked decoder says, it is no longer a decoder,
    and the supervisor lives on.
    """
    pool: ProcessPool[Any, Any] = ProcessPool(factory, workers=0, timeout=1.0)
    buried: list[ImageError] = []
    monkeypatch.setattr(pool, "_bury", lambda _child, error: buried.append(error))
    ours, theirs = multiprocessing.Pipe()
    with pool, ours, theirs:
        theirs.send((kind, {} if kind == READY else 1, 0.0, 0))
        child: Any = SimpleNamespace(pipe=ours, ready=ready, tasks=deque(tasks), answered=0)
        pool._receive(child)
        assert [(error.error_type, "not asked for" in error.message) for error in buried] == [
            (ErrorType.WORKER_CRASHED, True)
        ]
        assert pool.poll(0) == [] and list(child.tasks) == tasks


def test_the_clock_of_an_image_stands_while_it_waits_for_memory() -> None:
    pool: ProcessPool[Any, Any] = ProcessPool(factory, workers=0, timeout=1.0, heavy_budget=10)
    ours, theirs = multiprocessing.Pipe()
    with pool, ours, theirs:
        clock: list[str] = []
        child: Any = SimpleNamespace(
            pipe=ours,
            ready=True,
            tasks=deque(["task"]),
            answered=0,
            holds=0,
            head_since=1.0,
            stop_clock=lambda: clock.append("stops"),
        )
        pool._heavy_used = 10
        theirs.send((ADMIT, 4, 0.0, 0))
        pool._receive(child)
        assert clock == ["stops"] and list(pool._admission) == [child] and child.head_since == 1.0
        pool._heavy_used = 0
        pool._grant()
        assert child.head_since > 1.0 and child.holds == 4 and theirs.recv() == (GRANT, None)
