r"""Keys: an image's name within its source, as clean text that every store can hold.

A key is the path relative to the source's root with ``/`` between components. Bytes that are not
UTF-8 become ``\xNN`` and a backslash becomes ``\\``, so the mapping can be reversed. A member of an
archive is ``dir/album.zip!/inner/page.jpg``; a ``!`` that really ends a component is written
``\!``, so ``!/`` means nothing else.
"""

from __future__ import annotations

import os
import re
import unicodedata

MEMBER = "!/"

_NEEDS_ESCAPE = re.compile(rb"[\\!]|[\x80-\xff]")
_ESCAPED = re.compile(r"\\(\\|!|x[0-9a-f]{2})")


def key_from_path(path: str | bytes) -> str:
    """The key of a relative path; a ``str`` may hold surrogate
    escapes as the os module gives them.
    """
    raw = os.fsencode(path)
    if not _NEEDS_ESCAPE.search(raw):
        return raw.decode("ascii")
    escaped = raw.replace(b"\\", b"\\\\").replace(b"!/", b"\\!/")
    if escaped.endswith(b"!"):
        escaped = escaped[:-1] + b"\\!"
    return escaped.decode("utf-8", "backslashreplace")


def path_from_key(key: str) -> bytes:
    """The relative path that `key_from_path` made ``key`` of."""
    if "\\" not in key:
        return key.encode()
    return b"".join(
        _unescape(part) if number % 2 else part.encode()
        for number, part in enumerate(_ESCAPED.split(key))
    )


def member_key(container: str, member: str) -> str:
    """The key of an archive's member."""
    return container + MEMBER + key_from_path(member.encode("utf-8", "surrogateescape"))


def split_key(key: str) -> tuple[str, str | None]:
    """(container's key, member's name) for a member, (key, None) for a plain file."""
    start = 0
    while (found := key.find(MEMBER, start)) > 0:
        if key[found - 1] != "\\" or _escaped_backslash_before(key, found):
            return key[:found], path_from_key(key[found + 2 :]).decode("utf-8", "surrogateescape")
        start = found + 1
    return key, None


def display_key(text: str) -> str:
    """Text that is safe on a terminal: control and format characters are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(
        c if c == " " or unicodedata.category(c)[0] not in "CZ" else _visible(c) for c in text
    )


def _visible(character: str) -> str:
    return (
        character.encode("unicode_escape").decode("ascii") if character != "\u3000" else character
    )


def _unescape(escape: str) -> bytes:
    return bytes([int(escape[1:], 16)]) if escape[0] == "x" else escape.encode()


def _escaped_backslash_before(key: str, position: int) -> bool:
    """Whether an even number of backslashes stands before ``position``:
    then the last one escapes nothing.
    """
    count = 0
    while position - count > 0 and key[position - count - 1] == "\\":
        count += 1
    return count % 2 == 0
