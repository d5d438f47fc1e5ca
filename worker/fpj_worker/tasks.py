"""What a child process does for one image: open, make the derivatives, write the files.

The supervisor sends an `ImageTask` and gets an `ImageDone` back; pixels never cross between
processes.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from fpj_core.errors import ErrorType, ImageError
from fpj_core.folders.base import FolderConfig
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.model import ImageFacts, ImageLimits, Layout, TierSpec
from fpj_core.objects import Bucket
from fpj_core.paths import derivative_path, mirror_path, own_folders
from fpj_core.scratch import no_room, require_room
from fpj_core.sources.base import SourceConfig
from fpj_core.sources.local import LocalSourceConfig
from fpj_core.sources.s3 import S3SourceConfig
from fpj_worker.pool import Admit, Away, PoolError, ProcessPool, away
from fpj_worker.pool.sandbox import Mode, Part, Reach
from fpj_worker.resources import child_memory_limit, heavy_budget

_BUCKET_VARIABLES = (
    "AWS_",
    "SSL_CERT_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
_MOST_TEXT = 2_000

log = logging.getLogger("fpj.worker")


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One image and the names of the tiers it lacks."""

    ordinal: int
    image: str
    key: str
    size: int
    lacking: tuple[str, ...]
    name: str | None = None
    """In a folder of the layout Mirror, what its files are called,
    with folders and without an extension.
    """

    def path(self, collection: str, tier: str, extension: str) -> str:
        """Where a file of the image goes, within the cache folder.

        Raises `ImageError` (PathViolation).
        """
        if self.name is not None:
            return mirror_path(tier, self.name, extension)
        return derivative_path(collection, tier, self.image, extension)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A derivative's file as written. ``path`` is relative to the cache folder."""

    tier: str
    path: str
    width: int
    height: int
    bytes: int
    cost_ms: int = 0
    """As in `fpj_core.model.Derivative`."""


@dataclass(frozen=True, slots=True)
class ImageDone:
    """Everything that a child learnt and made."""

    facts: ImageFacts
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True, slots=True)
class ImageHandler:
    """Called once in each child process; returns the function that handles its tasks.

    ``token`` makes the temporary file names of this run unlike those of any other; see
    `CacheFolder.write`.
    """

    source: SourceConfig
    folder: FolderConfig
    collection: str
    tiers: tuple[TierSpec, ...]
    limits: ImageLimits
    token: str
    layout: Layout = Layout.HASHED

    def __call__(self) -> Callable[[ImageTask, Admit], ImageDone]:
        """Open the source and the cache folder for this child."""
        # Image libraries are for children alone: the supervisor starts faster, and never forks
        # after libvips.
        from fpj_worker.engine import process_image  # noqa: PLC0415
        from fpj_worker.engine.reading import refuse_unreadable  # noqa: PLC0415

        source = self.source.build()
        folder = self.folder.build()

        def handle(task: ImageTask, admit: Admit) -> ImageDone:
            with ExitStack() as stack:
                with away(Away.FETCHING):
                    given = source.open(
                        task.key, task.size, max_file_size=self.limits.max_file_size
                    )
                    opened = stack.enter_context(given)
                try:
                    processed = process_image(
                        opened, self.tiers, self.limits, make=task.lacking, admit=admit
                    )
                except ImageError as error:
                    if error.error_type is ErrorType.CORRUPT_IMAGE:
                        refuse_unreadable(opened)
                    raise
            files = []
            for output in processed.outputs:
                path = task.path(self.collection, output.tier, output.extension)
                with away(Away.STORING):
                    folder.write(path, output.data, token=self.token)
                size, cost = len(output.data), math.ceil(output.cpu_seconds * 1_000)
                files.append(
                    WrittenFile(output.tier, path, output.width, output.height, size, cost)
                )
            return ImageDone(processed.facts, tuple(files))

        return handle


def is_answer(done: object, task: ImageTask, collection: str) -> bool:
    """Whether this can be what became of the task: it comes from a process that strangers' data may
    have taken over.

    Its paths are later removed and served, so they must be those that follow from image and tier.
    """
    return (
        isinstance(done, ImageDone)
        and _are_facts(done.facts)
        and isinstance(done.files, tuple)
        and all(
            isinstance(file, WrittenFile) and _is_file_of(file, task, collection)
            for file in done.files
        )
        and sorted(file.tier for file in done.files) == sorted(task.lacking)
    )


def _are_facts(facts: object) -> bool:
    return (
        isinstance(facts, ImageFacts)
        and _are_numbers(facts.width, facts.height)
        and _is_text(facts.format)
        and (
            facts.thumbhash is None
            or (type(facts.thumbhash) is bytes and len(facts.thumbhash) <= _MOST_TEXT)
        )
        and (facts.dominant_color is None or _is_text(facts.dominant_color))
        and (facts.warning is None or _is_text(facts.warning))
        and (facts.captured_at is None or _is_text(facts.captured_at))
    )


def _is_file_of(file: WrittenFile, task: ImageTask, collection: str) -> bool:
    if not (_is_text(file.tier) and file.tier in task.lacking and _is_text(file.path)):
        return False
    with suppress(ImageError):
        expected = task.path(collection, file.tier, file.path.rpartition(".")[2])
        sizes = file.width, file.height, file.bytes, file.cost_ms
        return file.path == expected and _are_numbers(*sizes)
    return False


def _are_numbers(*values: object) -> bool:
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def _is_text(value: object) -> bool:
    return type(value) is str and len(value) <= _MOST_TEXT


def start_image_pool(handler: ImageHandler, workers: int) -> ProcessPool[ImageTask, ImageDone]:
    """Child processes that make images, within what memory this process may use,
    confined to what they need.

    Raises `EnvironmentFaultError` where their temporary folder cannot be made.
    """
    try:
        return ProcessPool[ImageTask, ImageDone](
            handler,
            workers=workers,
            timeout=handler.limits.timeout_seconds,
            away_timeout=handler.limits.fetch_timeout_seconds,
            memory_limit=child_memory_limit(),
            heavy_budget=heavy_budget(),
            preload=("fpj_worker.engine", "fpj_worker.tasks"),
            results=(ImageDone, ImageFacts, WrittenFile),
            reach=reach_of(handler, os.environ),
            on_confined=_tell,
        )
    except PoolError:
        require_room()  # their sockets are there, too
        raise
    except OSError as error:
        raise no_room(error) from error


def reach_of(handler: ImageHandler, environment: Mapping[str, str]) -> Reach | None:
    """What a child needs for these places: the source to read,
    and the job's own folders in the cache folder.

    For buckets it needs the network and the bucket's keys; see SECURITY.md. Raises `ValueError` for
    a ``FPJ_SANDBOX`` that does not exist.
    """
    mode = Mode(environment.get("FPJ_SANDBOX") or Mode.AUTO)
    if mode is Mode.OFF:
        return None
    source, folder = handler.source, handler.folder
    buckets = [
        each.bucket
        for each in (source, folder)
        if isinstance(each, S3SourceConfig | S3FolderConfig)
    ]
    names = own_folders(handler.layout, handler.collection, [tier.name for tier in handler.tiers])
    own = [os.path.join(folder.location, name) for name in names]
    for path in own if isinstance(folder, LocalFolderConfig) else ():
        with suppress(OSError):  # each image will say what is wrong
            os.makedirs(path, exist_ok=True)
    named = {
        name: value for name, value in environment.items() if name.startswith(_BUCKET_VARIABLES)
    }
    files = [value for name, value in named.items() if name.endswith(("_FILE", "_DIR", "_BUNDLE"))]
    return Reach(
        read=(
            *([source.root] if isinstance(source, LocalSourceConfig) else []),
            *(files if buckets else []),
        ),
        write=tuple(own) if isinstance(folder, LocalFolderConfig) else (),
        ports=tuple(sorted({port for bucket in buckets for port in _ports(bucket, named)})),
        environment=named if buckets else {},
        mode=mode,
    )


def _ports(bucket: Bucket, environment: Mapping[str, str]) -> set[int]:
    """Of the endpoint, of what gives out credentials where none are given, of proxies,
    and of name servers.
    """
    urls = [bucket.endpoint or environment.get("AWS_ENDPOINT_URL") or "https://"]
    urls += [value for name, value in environment.items() if name.upper().endswith("_PROXY")]
    urls += [] if bucket.access_key_id else ["https://", "http://"]
    parsed = [urlsplit(url if "://" in url else f"http://{url}") for url in urls]
    return {53} | {each.port or (443 if each.scheme == "https" else 80) for each in parsed}


def _tell(lacking: Mapping[str, str]) -> None:
    """Once, of what confines the children."""
    from fpj_worker.pod.metrics import CONFINED  # noqa: PLC0415 - children import this module, and need no metrics

    for part in Part:
        CONFINED.labels(part.value).set(part.value not in lacking)
    if lacking:
        log.warning("children are not confined in everything", extra={"lacking": dict(lacking)})
