"""Logs of processes that nobody watches: one JSON object a line on standard error.

What a line is about (job, shard, image) is said once, around the work, by `about`; every line
logged meanwhile has it, also those of libraries. A thread that is to go on with it is started in a
copy of the context.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from typing_extensions import override

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about")


@contextmanager
def about(**facts: object) -> Iterator[None]:
    """Every line logged within also says these, beside what is said around it."""
    token = _ABOUT.set({**_ABOUT.get({}), **facts})
    try:
        yield
    finally:
        _ABOUT.reset(token)


class _JsonLines(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, what it is about, what was given as ``extra``,
        and a traceback.
        """
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= _ABOUT.get({})
        if record.name.startswith("fpj"):  # what libraries attach is theirs, and can be large
            entry |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def log_as_json(level: int = logging.INFO) -> None:
    """Send everything that is logged from ``level`` on to standard error.

    Of libraries, warnings only.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("fpj").setLevel(level)
