"""Whose a cache folder is: its marker, and whether a job may write there. Pure.

The marker tells the folder from an empty mount point and from somebody's photographs. It is never
taken for granted that what is missing was deleted: a folder that has records and neither marker nor
files is not mounted.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath

from fpj_core.errors import CacheFolderError, FolderLostError
from fpj_core.model import Folder, Layout

MARKER = ".fpj-folder"
PROBE = ".fpj-probe-"
_LITTER = frozenset(
    (
        MARKER,
        "cachedir.tag",
        "lost+found",
        ".ds_store",
        "@eadir",
        ".snapshot",
        ".snapshots",
        "#recycle",
        "@recycle",
    )
    + ("$recycle.bin", "system volume information", "thumbs.db", "desktop.ini")
)


@dataclass(frozen=True, slots=True)
class FolderState:
    """What was found in a cache folder.

    ``marker`` is the marker's content, None without one. ``empty`` is also what does not exist.
    ``ours`` says that it holds collections and nothing else, as versions before the marker left
    their cache folders.
    """

    marker: bytes | None = None
    empty: bool = True
    ours: bool = False


def is_litter(name: str) -> bool:
    """Whether systems leave such files even in empty folders, or fpj itself does."""
    return name.casefold() in _LITTER or name.startswith((PROBE, ".trash", ".Trash"))


def new_marker(store: str, folder: Folder) -> bytes:
    """The content of a marker: an id of this folder alone, the identity of the store,
    the folder's name there.

    For a folder of the layout Mirror also that, and the one collection that it holds.
    """
    document = {"id": uuid.uuid4().hex, "store": store, "folder": folder.name}
    if folder.layout is Layout.MIRROR:
        document |= {"layout": folder.layout.value, "collection": folder.mirrored or ""}
    return json.dumps(document).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Marked:
    """What a marker says. ``store`` is empty where it was put there by hand, or is not readable."""

    store: str = ""
    layout: Layout = Layout.HASHED


def read_marker(marker: bytes | None) -> Marked:
    """What is said by a marker, or by none."""
    with suppress(ValueError, AttributeError):
        document = json.loads(marker or b"null")
        layout = Layout.MIRROR if document.get("layout") == Layout.MIRROR else Layout.HASHED
        return Marked(str(document.get("store") or ""), layout)
    return Marked()


def refuse_other_layout(wanted: Folder, marker: bytes | None, known: Folder | None) -> None:
    """Raise `CacheFolderError` unless the folder is laid out as wanted, or nothing is laid out yet.

    ``known`` is what the store has recorded of the folder, if it has files there. Names by ids and
    names after a source are never mixed, nor those of two sources.
    """
    for layout, mirrored in (
        *_marked(marker),
        *([(known.layout, known.mirrored)] if known else []),
    ):
        if (layout, mirrored) == (wanted.layout, wanted.mirrored):
            continue
        said = (
            "names its files by ids"
            if layout is Layout.HASHED
            else f"mirrors the collection {mirrored}, and no other"
        )
        advice = "choose another folder" + (
            "" if layout is wanted.layout else f", or the layout {layout.value}"
        )
        raise CacheFolderError(
            f"cache folder {wanted.location} {said}; it keeps its layout: {advice}"
        )


def _marked(marker: bytes | None) -> Iterator[tuple[Layout, str | None]]:
    """What a marker says of the layout; nothing where it was put there by hand."""
    with suppress(ValueError, AttributeError):
        document = json.loads(marker or b"null")
        if document.get("layout") == Layout.MIRROR:
            yield Layout.MIRROR, document.get("collection")
        else:
            yield Layout.HASHED, None


def marker_trouble(
    marker: bytes | None, store: str, folder: Folder, names: Collection[str]
) -> str | None:
    """What is wrong with a folder's marker; None if it is this store's, for this folder, or was
    put there by hand, empty.

    ``store`` is the store's identity; ``names`` are all names under which it knows the folder.
    """
    if marker is None:
        return (
            f"cache folder {folder.location} has no marker ({MARKER}): it is not mounted, or was"
            f" emptied. Mount it; or, if its files are gone for good: {_advice(folder.location)}"
        )
    said = _said(marker)
    wrong = {
        "cannot be read": not said,
        "is of another store": said.get("store") != store,
        f"is of another cache folder, {said.get('folder')}": said.get("folder") not in names,
        "says another layout": said.get("layout", Layout.HASHED) != folder.layout,
    }
    found = next((words for words, so in wrong.items() if so and marker.strip()), None)
    return found and f"the marker ({MARKER}) of cache folder {folder.location} {found}"


def _said(marker: bytes) -> dict[str, object]:
    """What a marker says; nothing where it cannot be read."""
    with suppress(ValueError):
        document = json.loads(marker)
        if isinstance(document, dict):
            return document
    return {}


def refuse_strange(state: FolderState, location: str, *, recorded: bool, found: bool) -> None:
    """Raise `CacheFolderError` unless a job may write to the folder; `FolderLostError` where it is
    not mounted.

    ``recorded`` says that the store has files in it, ``found`` that at least one of those looked
    for is there: then it is ours, whatever became of its marker. An empty marker is somebody's word
    that the files are gone for good.
    """
    if state.marker is not None or state.ours or found:
        return
    if recorded:
        raise FolderLostError(
            f"cache folder {location} has no marker ({MARKER}) and none of its recorded files: it"
            " is not mounted, or was emptied. Nothing was changed. Mount it; or, if its files are"
            f" gone for good: {_advice(location)}"
        )
    if not state.empty:
        raise CacheFolderError(
            f"cache folder {location} holds files that are not fpj's; choose a folder that is new"
            " or empty"
        )


def _advice(location: str) -> str:
    if location.startswith("s3://"):
        return f"put an empty object {location}/{MARKER} there"
    return f"touch {PurePath(location) / MARKER}"


def overlap_refusal(folder: str, how: str, source: str) -> CacheFolderError:
    """What is raised for a cache folder that overlaps the source;
    ``how`` is of `fpj_core.overlap`.
    """
    return CacheFolderError(f"cache folder {folder} {how} ({source}); choose another folder")
