"""How messages name paths, and say what is wrong with them. Pure."""

from __future__ import annotations

import errno

_MOST = 300
_ENDS = 100


def brief(path: str) -> str:
    """The path, or the beginning and end of one that would fill the message."""
    if len(path) <= _MOST:
        return path
    return f"{path[:_ENDS]}…{path[-_ENDS:]} (a path of {len(path):,} characters)"


def words_of(error: OSError) -> str:
    """What the operating system says, and what to do where it says too little."""
    if error.errno == errno.ENAMETOOLONG:
        return (
            "the path is longer than the operating system allows (some 4,096 bytes, and 255 for"
            " each name in it); move the files to a shorter path, or mount a folder further down"
        )
    return error.strerror or str(error)
