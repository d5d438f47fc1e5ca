"""What the statuses of all jobs said, and when; and what no sequence of them may say."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from podrunner.api import Api, ApiError
from world import Document

_PATH = "/apis/fpj.dev/v1alpha1/fileprocessingjobs"


@dataclass(frozen=True)
class Seen:
    """A status, and the monotonic second at which it was seen."""

    at: float
    name: str
    status: Document

    def condition(self, kind: str) -> tuple[str, str, str]:
        """(status, reason, message); empty strings where there is none."""
        found: Document = next(
            (each for each in self.status.get("conditions", []) if each["type"] == kind), {}
        )
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    @property
    def done(self) -> int:
        progress = self.status.get("progress", {})
        return sum(int(progress.get(each, 0)) for each in ("completed", "skipped", "failed"))


class Journal:
    """Watches the jobs of one namespace for as long as it is entered."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._path = _PATH.replace(
            "/fileprocessingjobs", f"/namespaces/{namespace}/fileprocessingjobs"
        )
        self._seen: list[Seen] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Journal:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()

    def of(self, name: str, since: float = 0.0) -> list[Seen]:
        """What was seen of a job, the oldest first."""
        return [each for each in list(self._seen) if each.name == name and each.at >= since]

    def first(self, name: str, holds: Callable[[Seen], bool], since: float = 0.0) -> Seen | None:
        """The first status of which that holds."""
        return next((each for each in self.of(name, since) if holds(each)), None)

    @property
    def names(self) -> list[str]:
        return sorted({each.name for each in list(self._seen)})

    def untruths(self, *, falls: bool = False) -> Iterator[str]:
        """What cannot be so: Done that falls (unless it may),
        or shards that are active while nothing runs.
        """
        for name in self.names:
            seen = self.of(name)
            for before, after in itertools.pairwise(seen):
                same = before.status.get("attempt", {}).get("resumedBy") == after.status.get(
                    "attempt", {}
                ).get("resumedBy")
                if same and not falls and after.done < before.done:
                    yield (
                        f"Done of {name} falls from {before.done} to {after.done} ({before.phase},"
                        f" {after.phase})"
                    )
            for each in seen:
                if each.phase in ("Suspended", "Completed", "Failed") and each.status.get(
                    "shards", {}
                ).get("active"):
                    yield (
                        f"{name} is {each.phase}, and {each.status['shards']['active']} of its"
                        " shards are active"
                    )

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                self._follow()
            except ApiError:
                time.sleep(0.2)

    def _follow(self) -> None:
        listed: dict[str, Any] = self._api.call("GET", self._path)
        for each in listed["items"]:
            self._note(each)
        for event in self._api.watch(self._path, listed["metadata"]["resourceVersion"], 5):
            if event["type"] in ("ADDED", "MODIFIED"):
                self._note(event["object"])
            if self._ended.is_set():
                return

    def _note(self, job: Document) -> None:
        name, status = job["metadata"]["name"], job.get("status", {})
        last = next((each for each in reversed(self._seen) if each.name == name), None)
        if last is None or last.status != status:
            self._seen.append(Seen(time.monotonic(), name, status))
