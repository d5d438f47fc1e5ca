"""What a pod that checked a cache folder says at its end, in its termination message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

_MOST_BYTES = 4096
"""Of a termination message, by Kubernetes."""
_MOST_TEXT = 200
_MOST_SHORTFALLS = 10
_MOST_NAMES = 20


class Drift(StrEnum):
    """How a folder that is there differs from what the store knows. The set is closed."""

    OTHER_STORE = "OtherStore"
    OTHER_LAYOUT = "OtherLayout"
    NOT_OURS = "NotOurs"


@dataclass(frozen=True, slots=True)
class Amount:
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Verification:
    """How the files differ from what is recorded of them.

    ``kinds`` has the differences by `fpj_core.folders.comparing.Kind`, ``names`` some of their
    paths. ``busy`` are collections that others worked on.
    """

    repair: bool
    compared: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    repaired: int = 0
    young: int = 0
    left: int = 0
    """Differences that a repair would end, and that are there yet."""
    busy: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def shorter(self) -> Verification:
        """Without the last text of its longest list."""
        lists = {"troubles": self.troubles, "busy": self.busy, "names": self.names}
        longest = max(lists, key=lambda name: sum(map(len, lists[name])))
        kept = lists | {longest: lists[longest][:-1]}
        return replace(self, names=kept["names"], troubles=kept["troubles"], busy=kept["busy"])

    @property
    def has_texts(self) -> bool:
        """Whether `shorter` makes it so."""
        return bool(self.names or self.troubles or self.busy)


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What was found, and what was evicted.

    ``drift`` is a reason and a sentence where the folder is there and is not, or no longer, what
    the store knows it as: then nothing was evicted. ``over`` says whether it is above its high
    watermark even now, ``evicted`` whether anything was looked for to be evicted.
    """

    drift: tuple[str, str] | None = None
    evicted: bool = False
    by_reason: Mapping[str, Amount] = field(default_factory=dict)
    used_before: int = 0
    used_after: int = 0
    over: bool = False
    seconds: float = 0.0
    shortfalls: tuple[str, ...] = ()
    """Sentences: what could not be removed, and why."""
    verification: Verification | None = None
    """Of a run that compared the files with what is recorded."""

    @property
    def removed(self) -> Amount:
        """All of it."""
        found = self.by_reason.values()
        return Amount(sum(each.files for each in found), sum(each.bytes for each in found))

    def message(self) -> str:
        """As a termination message: 4,096 bytes at most; sentences are cut, and the last left out,
        to fit.
        """
        said = replace(
            self,
            shortfalls=_cut(self.shortfalls, _MOST_SHORTFALLS),
            verification=self.verification and _short(self.verification),
        )
        while len(text := json.dumps({"folder": asdict(said)})) > _MOST_BYTES:
            if said.verification and said.verification.has_texts:
                said = replace(said, verification=said.verification.shorter())
            elif said.shortfalls:
                said = replace(said, shortfalls=said.shortfalls[:-1])
            elif said.drift and said.drift[1]:
                reason, sentence = said.drift
                said = replace(said, drift=(reason, sentence[: len(sentence) // 2]))
            else:
                said = FolderReport(said.drift, evicted=said.evicted, over=said.over)
        return text


def _cut(texts: Sequence[str], most: int) -> tuple[str, ...]:
    return tuple(each[:_MOST_TEXT] for each in texts[:most])


def _short(said: Verification) -> Verification:
    return replace(
        said,
        busy=_cut(said.busy, _MOST_NAMES),
        troubles=_cut(said.troubles, _MOST_NAMES),
        names=_cut(said.names, _MOST_NAMES),
    )


def _verification(said: Mapping[str, Any] | None) -> Verification | None:
    if not said:
        return None
    return Verification(
        repair=bool(said["repair"]),
        compared=int(said["compared"]),
        kinds={str(kind): int(files) for kind, files in said["kinds"].items()},
        repaired=int(said["repaired"]),
        young=int(said["young"]),
        left=int(said["left"]),
        busy=tuple(map(str, said["busy"])),
        troubles=tuple(map(str, said["troubles"])),
        names=tuple(map(str, said["names"])),
    )


def parse_folder_report(text: str) -> FolderReport | None:
    """The reverse of `FolderReport.message`; None for anything else, such as the end of a log."""
    try:
        said = json.loads(text)["folder"]
        drift = said["drift"]
        return FolderReport(
            drift=(str(drift[0]), str(drift[1])) if drift else None,
            evicted=bool(said["evicted"]),
            by_reason={
                str(reason): Amount(int(amount["files"]), int(amount["bytes"]))
                for reason, amount in said["by_reason"].items()
            },
            used_before=int(said["used_before"]),
            used_after=int(said["used_after"]),
            over=bool(said["over"]),
            seconds=float(said["seconds"]),
            shortfalls=tuple(map(str, said["shortfalls"])),
            verification=_verification(said.get("verification")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
