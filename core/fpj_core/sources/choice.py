"""Which of the files that a source holds are taken, and a count of those that are not."""

from __future__ import annotations

from fpj_core.sources.base import ARCHIVE_EXTENSIONS, IMAGE_EXTENSIONS, extension
from fpj_core.sources.filters import Filter, LeftOut, Reason, Rules, kind_left_out, path_of


class Choice:
    """Asked of each name while a source lists; remembers what it left out."""

    def __init__(self, wanted: Filter) -> None:
        self.rules = Rules(wanted)
        self.left_out = LeftOut()

    def begin(self) -> None:
        """Another listing begins."""
        self.rules.forget_ignore_files()
        self.left_out = LeftOut()

    def takes(self, key: str, left_out: LeftOut | None = None) -> bool:
        """Whether to take a file; one that is not taken is counted,
        if it is called like an image or a video.

        ``left_out`` counts in place of the choice's own, for what may be listed again.
        """
        left_out = left_out or self.left_out
        kind = extension(key)
        why = kind_left_out(kind)
        if not self.rules.idle and self.rules.excludes_key(key):
            if why or kind in IMAGE_EXTENSIONS or kind in ARCHIVE_EXTENSIONS:
                left_out.add(Reason.EXCLUDED, key)
            return False
        if why:
            left_out.add(why, key)
        return why is None

    def enters(self, key: str) -> bool:
        """Whether to enter a folder, whose own folders were entered.

        Its key has no slash at its end.
        """
        if self.rules.idle or not self.rules.excludes(path_of(key) + "/"):
            return True
        self.left_out.add(Reason.EXCLUDED_FOLDER, key)
        return False

    def leaves_out(self, key: str) -> bool:
        """Whether what has this key is left out, by its name or by a rule of the latest listing."""
        return kind_left_out(extension(key)) is not None or self.rules.excludes_key(key)
