"""Whether a cache folder is there, can be written, and is what the store knows it as."""

from __future__ import annotations

from itertools import islice

from fpj_core.errors import CacheFolderError, FolderLostError
from fpj_core.folders.base import CacheFolder
from fpj_core.folders.ownership import new_marker, read_marker, refuse_strange
from fpj_core.kube.folderreport import Drift
from fpj_core.model import Folder, Layout
from fpj_core.store.protocol import Store

_COLLECTIONS = 5
_LOOKED_FOR = 20
"""Of each of these collections, recorded files; one that is there is enough."""


def check_folder(store: Store, folder: CacheFolder, record: Folder) -> tuple[Drift, str] | None:
    """How it differs from what the store knows, with a sentence; None if it does not.

    A folder that is new, or whose marker somebody emptied, gets one, unless it is to mirror a
    collection: which one, only its first job knows. Raises `CacheFolderError` or `ImageError` where
    it cannot be read or written, `FolderLostError` where it is not mounted.
    """
    state = folder.look()
    marked = read_marker(state.marker)
    if marked.store and marked.store != store.identity():
        text = f"its marker names another store ({marked.store}), this one is {store.identity()}"
        return Drift.OTHER_STORE, text
    if state.marker and marked.layout is not record.layout:
        text = f"its layout is {marked.layout.value}, its resource says {record.layout.value}"
        return Drift.OTHER_LAYOUT, text
    recorded = store.folder_totals(record.name)[0] > 0
    if state.marker is None:
        try:
            refuse_strange(
                state,
                record.location,
                recorded=recorded,
                found=recorded and _any_is_there(store, folder, record.name),
            )
        except FolderLostError:
            raise
        except CacheFolderError as error:
            return Drift.NOT_OURS, str(error)
    folder.check_writable()
    if not state.marker and record.layout is Layout.HASHED:
        folder.mark(new_marker(store.identity(), record), [])
    return None


def _any_is_there(store: Store, folder: CacheFolder, name: str) -> bool:
    shares = store.folder_shares(name, _COLLECTIONS)
    for collection in shares.by_collection:
        files = store.derivative_files(collection, list(shares.by_tier))
        sample = islice(files, 50 * _LOOKED_FOR)
        here = [(path, size) for _, _, where, path, size in sample if where == name]
        if any(folder.size(path) == size for path, size in here[:_LOOKED_FOR]):
            return True
    return False
