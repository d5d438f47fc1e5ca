"""Opaque cursors: what a page ended with, so that the next begins after it whatever came in
between.

A cursor says which list it is of; another list's is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fpj_api.problems import ProblemError

T = TypeVar("T")
MOST_CHARACTERS = 1_000
MOST_NUMBER = 2**63 - 1
"""What both stores can compare with."""

Part = str | int


def encode(of: str, *parts: Part) -> str:
    """The cursor of a list ``of`` something, after the item with these sort keys."""
    return (
        base64.urlsafe_b64encode(json.dumps([of, *parts], separators=(",", ":")).encode())
        .decode()
        .rstrip("=")
    )


def decode(of: str, cursor: str, *types: type[Part]) -> list[Any]:
    """The sort keys, each of its type. Raises a problem (400) for what `encode` has not made."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        kind, *parts = list(found)
    except (ValueError, TypeError, RecursionError):
        raise _bad() from None
    if kind != of or [type(part) for part in parts] != list(types) or not all(map(_is_sane, parts)):
        raise _bad()
    return list(parts)


def page(
    items: Sequence[T],
    of: str,
    keys: Callable[[T], tuple[str, ...]],
    limit: int,
    cursor: str | None,
    length: int,
) -> tuple[list[T], str | None]:
    """The part of a list, sorted by ``keys`` (``length`` texts each), that follows the cursor, and
    the next cursor.
    """
    if cursor is not None:
        last = tuple(decode(of, cursor, *[str] * length))
        items = [item for item in items if keys(item) > last]
    found = sorted(items, key=keys)
    chosen = found[:limit]
    return chosen, encode(of, *keys(chosen[-1])) if len(found) > limit else None


def _is_sane(part: Part) -> bool:
    """A number that a store can be asked with; a text that can be written."""
    if isinstance(part, int):
        return 0 <= part <= MOST_NUMBER
    return not any("\ud800" <= character <= "\udfff" for character in part)


def _bad() -> ProblemError:
    return ProblemError(
        400, "the cursor does not belong to this list", errors=[("cursor", "take it from `next`")]
    )
