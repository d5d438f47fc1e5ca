"""Output paths.

No name in a source steers where a file is written: they are made from ids, or from names made safe.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import Layout

_COMPONENT = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?", re.ASCII)
_IMAGE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DERIVATIVE = re.compile(
    r"[a-z0-9._-]+/[a-z0-9._-]+/([0-9a-f]{2})/\1[0-9a-f]{30}\.[a-z0-9]{1,5}", re.ASCII
)
_EXTENSION = re.compile(r"[a-z0-9]{1,5}", re.ASCII)
_NAME = re.compile(r"(?![. ])[^\x00-\x1f\x7f\"*:<>?\\|%#/\ud800-\udfff]+(?<![. ])")
EXTENSIONS = frozenset(("avif", "gif", "jpg", "png", "tif", "webp"))
"""Of all formats that are written."""
_MOST_NAME = 240
"""Bytes of a component without its extension."""


def is_derivative(path: str) -> bool:
    """Whether it looks like one that `derivative_path` made."""
    return _DERIVATIVE.fullmatch(path) is not None


def could_be_ours(path: str, layout: Layout) -> bool:
    """Whether fpj could have given a file this path: its form, with an extension that it writes."""
    if path.rpartition(".")[2] not in EXTENSIONS:
        return False
    if layout is Layout.HASHED:
        return is_derivative(path)
    tier, _, name = path.rpartition(".")[0].partition("/")
    named = _COMPONENT.fullmatch(tier) is not None and _is_safe(name)
    return named and unicodedata.is_normalized("NFC", name)


def derivative_path(collection: str, tier: str, image: str, extension: str) -> str:
    """``<collection>/<tier>/<2 hex>/<image id>.<extension>``, relative to the cache folder.

    Raises `ImageError` (PathViolation) for anything that is not an id: a bug, or an attack.
    """
    valid = (
        _COMPONENT.fullmatch(collection)
        and _COMPONENT.fullmatch(tier)
        and _IMAGE.fullmatch(image)
        and _EXTENSION.fullmatch(extension)
    )
    if not valid:
        raise ImageError(
            ErrorType.PATH_VIOLATION, f"not ids: {collection!r} {tier!r} {image!r} {extension!r}"
        )
    return f"{collection}/{tier}/{image[:2]}/{image}.{extension}"


def mirror_path(tier: str, name: str, extension: str) -> str:
    """``<tier>/<folders>/<name>.<extension>``, relative to the cache folder.

    Names are those of `folders.mirror`.

    Raises `ImageError` (PathViolation) for anything that could lead elsewhere: a bug, or an attack.
    """
    valid = _COMPONENT.fullmatch(tier) and _EXTENSION.fullmatch(extension) and _is_safe(name)
    if not valid:
        raise ImageError(
            ErrorType.PATH_VIOLATION, f"not an output's name: {tier!r} {name!r} {extension!r}"
        )
    return f"{tier}/{name}.{extension}"


def _is_safe(name: str) -> bool:
    """Whether a name with its folders leads nowhere else, and no part of it is too long."""
    parts = name.split("/")
    return all(_NAME.fullmatch(part) and len(part.encode()) <= _MOST_NAME for part in parts)


def own_folders(layout: Layout, collection: str, tiers: Sequence[str]) -> tuple[str, ...]:
    """The folders right below the cache folder that hold all outputs of a collection in these
    tiers.
    """
    return tuple(tiers) if layout is Layout.MIRROR else (collection,)
