"""What a child says, read as a stranger's words: a decoder that was taken over may say anything.

Pickle can call any function by its name. Only the types that answers are made of are let in here,
so the worst that an answer can do is to be wrong. An error's type is sent by its value: some
versions of Python pickle a member of an enumeration as a call of ``getattr``, which must not be let
in.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import Any

from typing_extensions import override

from fpj_core.errors import ErrorType, FpjError
from fpj_worker.pool.protocol import ADMIT, DONE, ERROR, READY, UNBEGUN

_MOST_BYTES = 16 * 2**20
_ERROR_TYPES = frozenset(each.value for each in ErrorType)
_KINDS = frozenset({READY, DONE, ERROR, ADMIT, UNBEGUN})


class GarbledError(FpjError):
    """A child said what no child of ours says."""


class Replies:
    """Reads answers that hold values of ``types`` beside numbers, texts, tuples,
    lists and dictionaries.
    """

    def __init__(self, types: Iterable[type]) -> None:
        self._types = {(each.__module__, each.__qualname__): each for each in types}

    def read(self, pipe: Connection) -> tuple[str, Any, float, int]:
        """(kind, content, seconds taken, number of the task).

        Raises `GarbledError`; EOFError and OSError as the pipe does.
        """
        data = pipe.recv_bytes(_MOST_BYTES)
        try:
            kind, content, elapsed, number = _Unpickler(data, self._types).load()
        except Exception as error:
            raise GarbledError(f"not an answer: {error}") from error
        numbers = type(elapsed) is float and type(number) is int
        if kind not in _KINDS or not numbers or not _fits(kind, content):
            raise GarbledError("not an answer")
        return (
            kind,
            (ErrorType(content[0]), *content[1:]) if kind == ERROR else content,
            elapsed,
            number,
        )


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, types: dict[tuple[str, str], type]) -> None:
        super().__init__(io.BytesIO(data))
        self._types = types

    @override
    def find_class(self, module: str, name: str) -> type:
        try:
            return self._types[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong in an answer") from None


def _fits(kind: str, content: Any) -> bool:
    if kind == ADMIT:
        return type(content) is int and content >= 0
    if kind == READY:
        return isinstance(content, dict)
    if kind == ERROR:
        error_type, message, environment = (
            content if isinstance(content, tuple) and len(content) == 3 else [None] * 3
        )
        texts = type(error_type) is str and error_type in _ERROR_TYPES and type(message) is str
        return texts and type(environment) is bool
    return True
