"""What a name on the command line means: an image, an output, or an id.

Pure, but for the job's source.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from urllib.parse import unquote, urlsplit

from fpj_cli.context import source_path
from fpj_core.store.protocol import Store

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)

Matches = Callable[[str, str, Sequence[str]], bool]
"""From an image's key, id and output paths to whether it is meant."""


def matcher(name: str, sources: Sequence[str], folders: Sequence[str]) -> Matches:
    """``sources`` and ``folders`` are the places whose names a whole path may begin with."""
    path = unquote(urlsplit(name).path).lstrip("/") if "://" in name else name
    stem = os.path.basename(path).partition(".")[0]
    if _ID.fullmatch(stem):
        return lambda _key, image, _outputs: image == stem
    if any(each in path for each in "*?["):
        return lambda key, _image, outputs: any(_is_like(each, path) for each in (key, *outputs))
    keys, made = _below(os.path.abspath(path), sources), _below(os.path.abspath(path), folders)
    if os.path.isabs(path):
        return lambda key, _image, outputs: key in keys or any(each in made for each in outputs)
    plain = os.path.normpath(path)
    ending = f"/{plain}"
    return lambda key, _image, outputs: (
        key in keys
        or any(each == plain or each in made or each.endswith(ending) for each in (key, *outputs))
    )


def source_roots(store: Store, collection: str) -> list[str]:
    """Where the collection's images are, as its newest job says; empty for a bucket."""
    return [
        path for job in store.jobs(collection=collection, limit=1) if (path := source_path(job))
    ]


def _is_like(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern) or fnmatch.fnmatchcase(text, f"*/{pattern}")


def _below(path: str, roots: Sequence[str]) -> set[str]:
    """The path as seen from each of the roots that it lies in."""
    forms = {os.path.normpath(path), os.path.realpath(path)}
    starts = [f"{root.rstrip('/')}/" for root in roots]
    return {
        form.removeprefix(start) for form in forms for start in starts if form.startswith(start)
    }
