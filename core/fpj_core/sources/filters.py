"""What of a source is left out: by a person's patterns, or because fpj makes nothing of such files.

Patterns are those of gitignore(5). Archives count as folders, so a member's path is
``dir/album.zip/page.jpg``. As in git, nothing below an excluded folder comes back; of several rules
the last one that matches decides; ``--exclude`` goes before a `.fpjignore`, and one nearer to the
file before one further up.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fpj_core.sources.keys import MEMBER, path_from_key, split_key
from fpj_core.sources.patterns import settled

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".fpjignore"
MOST_IGNORE_BYTES = 2**20
"""Bytes of one `.fpjignore`; as many patterns as anybody wrote by hand."""
MOST_PATTERNS = 100
MOST_PATTERN_LENGTH = 1024
_MOST_IGNORE_FILES = 10_000

_SET = r"\[[!^]?[^\x00-\x20/\\\[\]!^]+\]"
_ONE = rf"([^\x00-\x20/\\\[\]]|\\[!-.0-~]|{_SET})"
_FIRST = rf"([^\x00-\x20/\\\[\]!#]|\\[!-.0-~]|{_SET})"
PATTERN = rf"^!?/?{_FIRST}((/| +)?{_ONE})*/?$"
"""What a pattern in a list looks like: of gitignore's, those that say something,
so no comments and no empty lines.
"""

_RAW = frozenset(
    (
        "3fr",
        "arw",
        "cr2",
        "cr3",
        "crw",
        "dcr",
        "dng",
        "erf",
        "fff",
        "gpr",
        "iiq",
        "k25",
        "kdc",
        "mef",
        "mos",
    )
    + ("mrw", "nef", "nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f")
)
_PHOTOSHOP = frozenset(("psb", "psd"))
_VIDEO = frozenset(
    (
        "3g2",
        "3gp",
        "asf",
        "avi",
        "flv",
        "insv",
        "m2ts",
        "m4v",
        "mkv",
        "mov",
        "mp4",
        "mpeg",
        "mpg",
        "mts",
    )
    + ("mxf", "ogv", "vob", "webm", "wmv")
)


class Reason(StrEnum):
    """Reason a file, or a folder, is left out."""

    EXCLUDED = "excluded"
    EXCLUDED_FOLDER = "excludedFolder"
    RAW = "raw"
    PHOTOSHOP = "photoshop"
    VIDEO = "video"
    OUTWARD_LINK = "outwardLink"


_KINDS = dict.fromkeys(_RAW, Reason.RAW)
_KINDS |= dict.fromkeys(_PHOTOSHOP, Reason.PHOTOSHOP) | dict.fromkeys(_VIDEO, Reason.VIDEO)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a person wants of a source: all that match ``include`` (without it, all),
    without what is excluded.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)


@dataclass(slots=True)
class LeftOut:
    """How many were left out, by reason, and the names that nobody took yet."""

    counts: Counter[Reason] = field(default_factory=Counter)
    untaken: list[tuple[Reason, str]] = field(default_factory=list)

    def add(self, why: Reason, key: str) -> None:
        """Count one, and keep its name until it is taken."""
        self.counts[why] += 1
        self.untaken.append((why, key))

    def take(self) -> list[tuple[Reason, str]]:
        """Those since this was last asked.

        Whoever lists takes them now and then: there may be millions.
        """
        taken, self.untaken = self.untaken, []
        return taken

    def document(self) -> dict[str, int]:
        """By reason, those that there are."""
        return {why.value: self.counts[why] for why in Reason if self.counts[why]}


def kind_left_out(kind: str) -> Reason | None:
    """Of a lower-case extension: why fpj makes nothing of files that are so named."""
    return _KINDS.get(kind)


class Rules:
    """A filter, ready to be asked, with the ignore files that were found in the source so far."""

    def __init__(self, wanted: Filter = Filter()) -> None:
        self._include = compiled(wanted.include) if wanted.include else None
        self._exclude = compiled(wanted.exclude) if wanted.exclude else None
        self._ignored: dict[str, GitIgnoreSpec] = {}
        self._begun = hashlib.blake2b(repr(wanted).encode(), digest_size=8)
        self._hash = self._begun.copy()

    @property
    def mark(self) -> str:
        """What tells these rules from others; empty where nothing is left out by rules."""
        return "" if self.idle else f":{self._hash.hexdigest()}"

    @property
    def idle(self) -> bool:
        """Whether nothing is left out by rules."""
        return not (self._include or self._exclude or self._ignored)

    def forget_ignore_files(self) -> None:
        """Before another listing."""
        self._ignored.clear()
        self._hash = self._begun.copy()

    def add_ignore_file(self, folder: str, text: str) -> None:
        """Take up the `.fpjignore` of a folder, which is empty for the root and else ends in a
        slash.

        Raises `ValueError`: a line that is not a pattern, or too many such files.
        """
        if len(self._ignored) >= _MOST_IGNORE_FILES:
            raise ValueError(f"there are more than {_MOST_IGNORE_FILES:,} files {IGNORE_FILE}")
        self._ignored[folder] = compiled(text.splitlines())
        self._hash.update(f"{folder}\0{text}\0".encode("utf-8", "surrogateescape"))

    def excludes(self, path: str) -> bool:
        """Whether the file, or the folder (its path ends in a slash), is left out.

        Its folders are taken as asked.
        """
        if self.idle:
            return False
        if self._include and not path.endswith("/") and not self._include.match_file(path):
            return True
        return bool(self._verdict(path))

    def excludes_key(self, key: str) -> bool:
        """Whether the image of this key is left out, itself or with a folder that it lies in."""
        if self.idle:
            return False
        path = path_of(key)
        return any(self._verdict(folder) for folder in _folders(path)) or self.excludes(path)

    def _verdict(self, path: str) -> bool | None:
        """Of the highest rules that say something; None where none do."""
        verdict = _last_match(self._exclude, path) if self._exclude else None
        if verdict is None and self._ignored:
            for folder in ("", *_folders(path))[::-1]:
                if folder != path and (rules := self._ignored.get(folder)):
                    verdict = _last_match(rules, path.removeprefix(folder))
                    if verdict is not None:
                        break
        return verdict


def compiled(patterns: Sequence[str]) -> GitIgnoreSpec:
    """Raises `ValueError` that names the first line that is not a pattern.

    As to git, ``[z-a]`` matches nothing.
    """
    # Takes 35 ms, which most runs need not pay.
    from pathspec import GitIgnoreSpec, RegexPattern  # noqa: PLC0415

    usable = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of sets that look nested, as in [[]
        for number, pattern in enumerate(patterns, 1):
            try:
                GitIgnoreSpec.from_lines([pattern])
            except ValueError:
                raise ValueError(f"line {number}: {pattern!r} is not a pattern") from None
            except re.error:
                continue
            usable.append(pattern)
        spec = GitIgnoreSpec.from_lines(usable, backend="simple")
        for each in spec.patterns:
            if isinstance(each, RegexPattern) and each.regex:
                each.regex = re.compile(settled(each.regex.pattern))
    return spec


def refuse_patterns(patterns: Sequence[str]) -> None:
    """Raise `ValueError` for what is not a pattern, or could match nothing,
    in a list from a user.
    """
    for pattern in patterns:
        if not re.fullmatch(PATTERN, pattern):
            raise ValueError(
                f"{pattern!r} is not a pattern; write one as in .gitignore, such as *.png or"
                " drafts/"
            )


def _last_match(rules: GitIgnoreSpec, path: str) -> bool | None:
    """Whether the last pattern that matches the path excludes it; None where none matches.

    NB: pathspec lets files out of excluded folders, which git does not: so each folder is asked
        about by itself, and
    what matches one of the folders above says nothing. ``ps_d`` is where pathspec's expressions end
    a folder's name.
    """
    for pattern in reversed(rules.patterns):
        for found in (
            pattern.regex.finditer(path) if pattern.regex and pattern.include is not None else ()
        ):
            if found.groupdict().get("ps_d") is None or found.end("ps_d") == len(path):
                return bool(pattern.include)
    return None


def path_of(key: str) -> str:
    """What patterns are matched with: the file's path below the source's root,
    archives taken for folders.
    """
    if MEMBER not in key and "\\" not in key:
        return key
    container, member = split_key(key)
    path = path_from_key(container).decode("utf-8", "surrogateescape")
    return path if member is None else f"{path}/{member.replace(chr(92), '/').lstrip('/')}"


def _folders(path: str) -> Iterator[str]:
    """The folders that a path lies in, and the path itself if it is one.

    From the root down, each with its slash.
    """
    at = path.find("/")
    while at >= 0:
        yield path[: at + 1]
        at = path.find("/", at + 1)


def left_out_text(counts: Mapping[str, int]) -> str:
    """``120 excluded, 3 raw``: what people read of `LeftOut.document`."""
    return ", ".join(
        f"{count:,} {_WORDS.get(name, (name, name))[count != 1]}" for name, count in counts.items()
    )


_WORDS: Mapping[str, tuple[str, str]] = {
    Reason.EXCLUDED: ("by filter", "by filter"),
    Reason.EXCLUDED_FOLDER: ("folder by filter", "folders by filter"),
    Reason.RAW: ("raw file", "raw files"),
    Reason.PHOTOSHOP: ("Photoshop file", "Photoshop files"),
    Reason.VIDEO: ("video", "videos"),
    Reason.OUTWARD_LINK: ("link that leaves the source", "links that leave the source"),
}
