"""Readable output names: a source's folders and names, made safe for any file system,
URL and bucket. Pure.

Several images may come to one name: by extension (``a.jpg``, ``a.png``), by what file systems take
for the same (case, Unicode form), or because something was replaced or cut. Whichever the store
knew first owns the name, forever; the others get ``--<12 hex of the image's id>`` after it. So a
name never changes, and never means another image.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from fpj_core.sources.keys import path_from_key

MOST_BYTES = 600
"""Of a name with its folders: with tier, extension and a bucket's prefix it stays below the 1,024
of an S3 key.
"""

_MOST_COMPONENT = 180
"""Bytes: with what tells images apart and an extension it stays
below the 255 of most file systems.
"""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f"*/:<>?\\|%#{}^`\[\]~]')
"""What Windows forbids, what URLs give another meaning, and what S3 advises to avoid."""
_INVISIBLE = frozenset(("Cc", "Cf", "Co", "Cs", "Zl", "Zp"))
_DEVICE = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$)(\..*)?$", re.IGNORECASE
)
_LIKE_OUTPUT = re.compile(r"\.(jpe?g|webp|avif|png|gif|tiff?)$", re.IGNORECASE | re.ASCII)
_TOLD_APART = re.compile(r"--[0-9a-f]{12}$", re.ASCII)


def name_of(key: str) -> str:
    """``<folders>/<name>`` of an image by its key, without an extension.

    An archive counts as a folder.
    """
    *folders, name = key.split("/")
    text = _text(name)
    stem, dot, _ = text.rpartition(".")
    parts = [*(_folder(_text(each)) for each in folders), _safe(stem if dot and stem else text)]
    while len(parts) > 1 and len("/".join(parts).encode()) > MOST_BYTES:
        del parts[-2]
    return "/".join(parts)


def claimed_name(name: str) -> str:
    """32 hex digits, the same for all names that any file system takes for the same one."""
    return hashlib.blake2b(_folded(name).encode(), digest_size=16).hexdigest()


def told_apart(name: str, image: str, *, owned: bool) -> str:
    """The name as it is where the image owns it, else with the beginning of the image's id.

    One that looks as if that were done already is nobody's: it could be another image's.
    """
    return name if owned and not _TOLD_APART.search(_folded(name)) else f"{name}--{image[:12]}"


def names_told_apart(name: str) -> tuple[str, ...]:
    """The names that an output of this name may have been made from by `told_apart`."""
    return (name, _TOLD_APART.sub("", name)) if _TOLD_APART.search(name) else (name,)


def _text(name: str) -> str:
    if name.endswith("!") and not name.endswith("\\!"):  # an archive, whose members are below it
        name = name[:-1]
    return path_from_key(name).decode("utf-8", "surrogateescape")


def _folder(text: str) -> str:
    """One that ends as an output does could be in the way of a file."""
    safe = _safe(text)
    return f"{safe}_" if _LIKE_OUTPUT.search(safe) else safe


def _safe(text: str) -> str:
    replaced = _UNSAFE.sub("_", unicodedata.normalize("NFC", text))
    if not replaced.isprintable():
        replaced = "".join(
            "_" if unicodedata.category(each) in _INVISIBLE else each for each in replaced
        )
    if not replaced or replaced[0] in ". ":
        replaced = f"_{replaced[1:]}"
    if _DEVICE.match(replaced):
        replaced = f"_{replaced}"
    cut = replaced.encode()[:_MOST_COMPONENT].decode("utf-8", "ignore")
    return f"{cut[:-1]}_" if cut[-1] in ". " else cut


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
