"""Gathers what a checker compares: by the operating system, by Pillow,
and from the database as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.installation import Site
from e2e.photographs import LITTLE
from PIL import Image, ImageChops, ImageOps, ImageStat
from pymongo import MongoClient
from pymongo.database import Database
from world import Document

from chaos.checker import Facts, File, Row, Run, Shard
from chaos.injections import OF_JOBS, unfinished_children
from chaos.place import Collection

_TAG = "CACHEDIR.TAG"
_SMALL = (16, 12)
_COUNTED = ("completed", "skipped", "failed")


@contextmanager
def database(url: str, patience: float = 20.0) -> Iterator[Database[Document]]:
    """The store's database, not through fpj's code."""
    milliseconds = int(patience * 1_000)
    client: MongoClient[Document] = MongoClient(
        url,
        directConnection=True,
        serverSelectionTimeoutMS=milliseconds,
        socketTimeoutMS=milliseconds,
    )
    with client:
        yield client.get_default_database()


def facts(site: Site, store: Database[Document], collection: Collection, rerun: str) -> Facts:
    """Of a collection whose job has ended, and was followed by another run, ``rerun``."""
    name = f"{site.namespace}.{collection.name}"
    sources = {key: _opened(collection.folder / key) for key in collection.keys}
    keys = {each["ordinal"]: each["key"] for each in store.images.find({"collection": name})}
    rows = [
        Row(
            keys[each["ordinal"]],
            each["tier"],
            each["path"],
            (each["width"], each["height"]),
            each["bytes"],
        )
        for each in store.derivatives.find({"collection": name})
    ]
    shown = {row.path: row.key for row in rows}
    files = {
        path: _file(site.out / path, sources.get(shown.get(path, "")))
        for path in _files(site.out, name)
    }
    return Facts(
        sources={key: picture.size for key, picture in sources.items()},
        boxes=LITTLE,
        job=_run(site, store, collection.name),
        rerun=_run(site, store, rerun),
        rows=rows,
        files=files,
        changed=frozenset(collection.changed),
        gone=frozenset(collection.gone),
        left=left(site, store),
    )


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _files(out: Path, collection: str) -> Iterator[str]:
    for path in (out / collection).rglob("*"):
        if path.is_file() and path.name != _TAG:
            yield str(path.relative_to(out))


def _file(path: Path, source: Image.Image | None) -> File:
    try:
        picture = _opened(path)
    except (OSError, SyntaxError):  # what Pillow raises over broken files
        return File(path.stat().st_size, None)
    distance = None if source is None else _distance(picture, source)
    return File(path.stat().st_size, picture.size, distance)


def _distance(one: Image.Image, other: Image.Image) -> float:
    small = [each.resize(_SMALL, Image.Resampling.BOX) for each in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*small)).mean) / 3


def _run(site: Site, store: Database[Document], name: str) -> Run:
    found = site.get(name) or {"metadata": {"uid": "", "generation": 0}}
    uid = found["metadata"]["uid"]
    job: dict[str, Any] = store.jobs.find_one({"_id": uid}) or {}
    planned = store.job_shards.find({"job": uid, "attempt": job.get("planned_attempt", 0)}).sort(
        "index", 1
    )
    shards = [
        Shard(each["start"], each["stop"], each["cursor"], each["state"], _sum(each["counts"]))
        for each in planned
    ]
    return Run(
        name,
        found.get("status", {}),
        found["metadata"]["generation"],
        shards,
        _sum(job.get("base", {})),
    )


def _sum(counts: Document) -> int:
    return sum(counts.get(each, 0) for each in _COUNTED)


def left(site: Site, store: Database[Document]) -> list[str]:
    """What should not be there once all jobs have ended."""
    return [*_held(site, store), *_alive(site)]


def _held(site: Site, store: Database[Document]) -> Iterator[str]:
    """Leases that are held."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{site.namespace}/leases"
    for lease in site.fpj.api.items(path):
        if holder := lease["spec"].get("holderIdentity"):
            yield f"lease {lease['metadata']['name']} is held by {holder}"
    uids = {each["metadata"]["uid"] for each in jobs_of(site)}
    for document in store.leases.find({"expires_at": {"$gt": time.time()}}):
        if document.get("holder") in uids:
            yield f"the store's lease {document['_id']} is held by {document['holder']}"


def _alive(site: Site) -> Iterator[str]:
    yield from (f"pod {pod['metadata']['name']} has not ended" for pod in site.alive(OF_JOBS))
    yield from (
        f"child Job {job['metadata']['name']} has not ended" for job in unfinished_children(site)
    )
    for job in jobs_of(site):
        if finalizers := job["metadata"].get("finalizers"):
            yield f"{job['metadata']['name']} has finalizers: {', '.join(finalizers)}"


def jobs_of(site: Site) -> list[Document]:
    return site.fpj.api.items(
        f"/apis/fpj.dev/v1alpha1/namespaces/{site.namespace}/fileprocessingjobs"
    )
