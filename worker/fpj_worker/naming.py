"""What an image's files are called in a folder of the layout Mirror."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fpj_core.folders.mirror import claimed_name, name_of, told_apart
from fpj_core.model import ImageRecord
from fpj_core.store.codec import batched
from fpj_core.store.protocol import Store

_BATCH = 1_000


class MirrorNames:
    """The names of a collection's images, given to those that have none yet.

    Names go to images in the order in which they are asked for, so whoever plans asks first, in the
    order of ordinals; the pods that come after it find what it gave.
    """

    def __init__(self, store: Store, collection: str) -> None:
        self._store = store
        self._collection = collection

    def of(self, images: Sequence[ImageRecord]) -> dict[str, str]:
        """By image id, the name with its folders and without an extension."""
        return {
            image: name for some in batched(images, _BATCH) for image, name in self._of_some(some)
        }

    def _of_some(self, images: Sequence[ImageRecord]) -> Iterator[tuple[str, str]]:
        wanted = [
            (image.id, name, claimed_name(name))
            for image in images
            for name in (name_of(image.key),)
        ]
        owners = self._store.claim_names(
            self._collection, [(claimed, image) for image, _, claimed in wanted]
        )
        for image, name, claimed in wanted:
            yield image, told_apart(name, image, owned=owners[claimed] == image)
