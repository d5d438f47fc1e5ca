"""Output paths. They are made from ids alone, so no name in a source can steer where a file is written."""

from __future__ import annotations

import re

from fpj_core.errors import ErrorType, ImageError

_COMPONENT = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?", re.ASCII)
_IMAGE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DERIVATIVE = re.compile(r"[a-z0-9._-]+/[a-z0-9._-]+/([0-9a-f]{2})/\1[0-9a-f]{30}\.[a-z0-9]{1,5}", re.ASCII)
_EXTENSION = re.compile(r"[a-z0-9]{1,5}", re.ASCII)


def is_derivative(path: str) -> bool:
    """Whether it looks like one that `derivative_path` made."""
    return _DERIVATIVE.fullmatch(path) is not None


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
        raise ImageError(ErrorType.PATH_VIOLATION, f"not ids: {collection!r} {tier!r} {image!r} {extension!r}")
    return f"{collection}/{tier}/{image[:2]}/{image}.{extension}"
