"""Cache folders that lose files on purpose: a removal, too, is on disk only once it is synced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from typing_extensions import override

from fpj_core.errors import CacheFolderError
from fpj_core.folders.base import CacheFolder
from fpj_core.folders.ownership import FolderState
from fpj_core.folders.walking import Entry
from simulation.disks import Content, Disk, SimFolder
from simulation.kernel import CURRENT, Kernel, Node, Process
from simulation.pods import PodProcess


def _ignored(*_what: object) -> None:
    pass


@dataclass
class FolderDisk(Disk):
    """As `Disk`. ``stuck`` are files that cannot be removed; ``theirs`` says that it is not ours:
    another folder is mounted in its place, or its marker is of another store.
    """

    stuck: set[str] = field(default_factory=set)
    theirs: bool = False
    marked_at: float = 0.0
    """When somebody last changed its marker."""
    writers: dict[str, Process] = field(default_factory=dict)
    modified: dict[str, float] = field(default_factory=dict)
    unsynced_removals: dict[str, tuple[Process, Content]] = field(default_factory=dict)
    on_written: Callable[[str, Process], None] = _ignored
    on_removed: Callable[[str, Process], None] = _ignored

    @override
    def write(self, path: str, content: Content, process: Process) -> None:
        super().write(path, content, process)
        self.unsynced_removals.pop(path, None)
        self.writers[path] = process
        self.modified[path] = process.kernel.wall()
        self.on_written(path, process)

    def remove(self, path: str, process: Process) -> None:
        """Remove a file if it is there."""
        content = self.files.pop(path, None)
        before = self.unsynced.pop(path, None)
        if content is not None:
            self.unsynced_removals[path] = (process, before[1] or content if before else content)
        self.on_removed(path, process)

    @override
    def sync(self) -> None:
        super().sync()
        self.unsynced_removals.clear()

    @override
    def power_cut(self, node: Node) -> None:
        super().power_cut(node)
        for path, (who, content) in list(self.unsynced_removals.items()):
            if who.node is node:
                del self.unsynced_removals[path]
                self.files.setdefault(path, content)


@dataclass(frozen=True)
class FolderView(SimFolder, CacheFolder):
    """A folder as one pod sees it: other pods, and its end, come between any two files."""

    disk: FolderDisk
    kernel: Kernel | None = None

    @override
    def build(self) -> FolderView:
        return self

    @override
    def look(self) -> FolderState:
        self.disk.check()
        return super().look()

    @override
    def require_marker(self) -> None:
        self.disk.check()
        super().require_marker()

    @override
    def remove_many(self, paths: Sequence[str]) -> dict[str, str]:
        left = {}
        process = CURRENT.get(None)
        for path in paths:
            if isinstance(process, PodProcess):
                process.step()
                if process.kernel.dice.random() < 0.3:
                    process.threads[0].sleep(process.kernel.dice.random() * 0.02)
            self.disk.check()
            if path in self.disk.stuck:
                left[path] = "it cannot be removed now"
            elif process is not None:
                process.kernel.note(process.name, f"removes {path}")
                self.disk.remove(path, process)
            else:  # the end: nobody else works
                self.disk.files.pop(path, None)
        if isinstance(process, PodProcess):
            process.step()
        return left

    @override
    def entries(
        self, below: str, depth: int, on_step: Callable[[], None] = _ignored
    ) -> Iterator[Entry]:
        start = f"{below}/" if below else ""
        found: dict[str, Entry] = {}
        for path, (size, *_rest) in self.disk.files.items():
            if not path.startswith(start):
                continue
            parts = path.removeprefix(start).split("/")
            if len(parts) > depth + 1:
                folder = f"{start}{'/'.join(parts[: depth + 1])}/"
                found[folder] = Entry(folder)
            else:
                found[path] = Entry(path, size, self.disk.modified.get(path, 0.0))
        on_step()
        yield from sorted(found.values(), key=lambda each: each.order)

    @override
    def now(self) -> float:
        if self.kernel is None:
            raise CacheFolderError("no clock")
        return self.kernel.wall()
