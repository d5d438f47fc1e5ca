"""Imports, in the fork server, what all children need; they inherit it.

A module that fails there must not end the fork server, whose words nobody reads. Its failure is
kept for the children to raise again: what they write is reported.
"""

from __future__ import annotations

import importlib
import os

from fpj_worker.pool.protocol import PRELOAD_VARIABLE

_failure: BaseException | None = None


def raise_failure() -> None:
    """Raise what went wrong in the fork server, if anything did."""
    if _failure is not None:
        raise _failure


def _import_all() -> None:
    global _failure  # noqa: PLW0603 - a child finds it in the memory it inherits
    for name in os.environ.get(PRELOAD_VARIABLE, "").split():
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            # Else a child, with the supervisor's path, may find it.
            if not f"{name}.".startswith(f"{error.name}."):
                _failure = error
        except BaseException as error:  # noqa: BLE001 - also one that leaves the interpreter
            _failure = error


_import_all()
