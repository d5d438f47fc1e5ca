"""What a pod that purged says at its end, in its termination message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

_MOST_BYTES = 4096
"""Of a termination message, by Kubernetes."""
_MOST_TEXT = 200
MOST_RECEIPT = 100
MOST_UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Receipt:
    """A file that was removed, and the key of the image that it was made of."""

    source: str
    tier: str
    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Notified:
    """How many URLs a webhook has accepted, and how many it has not, and why."""

    urls: int = 0
    failed: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What was removed.

    ``drift`` is a reason and a sentence where the folder is there and is not what the store knows
    it as, ``held`` says that somebody else works on the collection: then nothing was removed.
    ``unknown`` of the images are not known; ``some_unknown`` are a few of them. ``receipt`` has the
    first files.
    """

    drift: tuple[str, str] | None = None
    held: bool = False
    files: int = 0
    bytes: int = 0
    receipt: tuple[Receipt, ...] = ()
    unknown: int = 0
    some_unknown: tuple[str, ...] = ()
    notified: Notified | None = None

    @property
    def truncated(self) -> bool:
        """Whether more was removed than the receipt names."""
        return self.files > len(self.receipt)

    def message(self) -> str:
        """As a termination message: 4,096 bytes at most; the last of the receipt are left out to
        fit.
        """
        said = self._short()
        while len(text := _json(said)) > _MOST_BYTES:
            if said.receipt:
                said = replace(said, receipt=said.receipt[:-1])
            elif said.some_unknown:
                said = replace(said, some_unknown=said.some_unknown[:-1])
            else:
                said = replace(said, drift=_halved(said.drift), notified=_quieter(said.notified))
        return text

    def _short(self) -> PurgeReport:
        notified = self.notified
        return replace(
            self,
            receipt=self.receipt[:MOST_RECEIPT],
            some_unknown=tuple(each[:_MOST_TEXT] for each in self.some_unknown[:MOST_UNKNOWN]),
            notified=notified and replace(notified, message=notified.message[:_MOST_TEXT]),
        )


def _json(report: PurgeReport) -> str:
    """Files as lists: their fields' names would take half of the room."""
    receipt = [[each.source, each.tier, each.path, each.bytes] for each in report.receipt]
    return json.dumps({"purge": asdict(replace(report, receipt=())) | {"receipt": receipt}})


def _halved(drift: tuple[str, str] | None) -> tuple[str, str] | None:
    return (drift[0], drift[1][: len(drift[1]) // 2]) if drift else None


def _quieter(notified: Notified | None) -> Notified | None:
    return replace(notified, message="") if notified else None


def parse_purge_report(text: str) -> PurgeReport | None:
    """The reverse of `PurgeReport.message`; None for anything else, such as the end of a log."""
    try:
        said = json.loads(text)["purge"]
        drift, notified = said["drift"], said["notified"]
        return PurgeReport(
            drift=(str(drift[0]), str(drift[1])) if drift else None,
            held=bool(said["held"]),
            files=int(said["files"]),
            bytes=int(said["bytes"]),
            receipt=_receipt(said["receipt"]),
            unknown=int(said["unknown"]),
            some_unknown=tuple(map(str, said["some_unknown"])),
            notified=notified
            and Notified(int(notified["urls"]), int(notified["failed"]), str(notified["message"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def _receipt(rows: Sequence[Sequence[object]]) -> tuple[Receipt, ...]:
    return tuple(
        Receipt(str(source), str(tier), str(path), int(str(size)))
        for source, tier, path, size in rows
    )
