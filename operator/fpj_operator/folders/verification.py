"""What a run that compared a cache folder with its records has found, in the status and in words.
Pure.
"""

from __future__ import annotations

from typing import Any

from fpj_core import formatting
from fpj_core.kube.folderreport import Verification
from fpj_core.v1alpha1.cachefolderstatus import MOST_DIFFERENCES, Operation

_WORDS = {
    "Missing": "missing",
    "WrongSize": "of another size",
    "Unrecorded": "not recorded",
    "Leaving": "being removed",
    "Foreign": "not fpj's",
    "Unreadable": "not readable",
}


def last_verification(ended_at: str, found: Verification) -> dict[str, Any]:
    """As `status.lastVerification`."""
    kinds = {kind[0].lower() + kind[1:]: found.kinds.get(kind, 0) for kind in _WORDS}
    return {
        "time": ended_at,
        "operation": (Operation.REPAIR if found.repair else Operation.VERIFY).value,
        "compared": found.compared,
        **kinds,
        "repaired": found.repaired,
        "young": found.young,
        "busy": list(found.busy[:MOST_DIFFERENCES]),
        "troubles": list(found.troubles[:MOST_DIFFERENCES]),
        "names": list(found.names[:MOST_DIFFERENCES]),
    }


def verification_words(found: Verification) -> str:
    """A sentence for people."""
    said = [f"{formatting.count(found.compared)} files are as recorded"]
    said += [
        f"{formatting.count(found.kinds[kind])} {words}"
        for kind, words in _WORDS.items()
        if found.kinds.get(kind)
    ]
    if found.repair:
        said.append(f"{formatting.count(found.repaired)} repaired")
    if found.busy:
        said.append(f"jobs work on {formatting.count(len(found.busy))} collections")
    return "; ".join([", ".join(said), *found.troubles[:1]])
