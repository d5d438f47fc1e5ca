"""The dashboard's files, read once from this package:
nothing that a request says becomes a path on the disk.
"""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request
from starlette.responses import Response

from fpj_api.problems import ProblemError

INDEX = "index.html"
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
}
_MOST_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is served."""

    content: bytes
    media_type: str
    etag: str


def pages() -> dict[str, Page]:
    """Path below ``static/`` to file; none where the dashboard is not part of the installation."""
    root = files("fpj_api") / "static"
    return _below(root, "", 0) if root.is_dir() else {}


def page_routes(found: dict[str, Page]) -> APIRouter:
    """``/``, what the dashboard's own links lead to, and ``/assets/…``."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    @router.get("/caches")
    @router.get("/caches/{rest:path}")
    @router.get("/jobs")
    @router.get("/jobs/{rest:path}")
    async def index(request: Request) -> Response:
        return _serve(found, INDEX, request)

    @router.get("/assets/{path:path}")
    async def asset(path: str, request: Request) -> Response:
        return _serve(found, f"assets/{path}", request)

    return router


def _serve(found: dict[str, Page], path: str, request: Request) -> Response:
    page = found.get(path)
    if page is None:
        raise ProblemError(
            404,
            "the dashboard has no such file" if found else "the dashboard is not installed here",
        )
    headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
    known = {
        each.strip().removeprefix("W/")
        for each in request.headers.get("if-none-match", "").split(",")
    }
    if page.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(page.content, media_type=page.media_type, headers=headers)


def _below(folder: Traversable, prefix: str, depth: int) -> dict[str, Page]:
    found: dict[str, Page] = {}
    for each in folder.iterdir():
        if each.is_file():
            found[prefix + each.name] = _page(each.name, each.read_bytes())
        elif depth < _MOST_DEPTH:
            found |= _below(each, f"{prefix}{each.name}/", depth + 1)
    return found


def _page(name: str, content: bytes) -> Page:
    suffix = f".{name.rpartition('.')[2]}"
    guessed = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Page(content, guessed, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
