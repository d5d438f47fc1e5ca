"""Evicting from cache folders by their policies: `fpj cleanup`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from fpj_cli.context import (
    err,
    folders_named,
    opened_store,
    print_json,
    print_text,
    say,
    size_of,
    store_option,
)
from fpj_cli.durations import Duration
from fpj_cli.helptexts import Command
from fpj_cli.interrupts import stop_on_signals
from fpj_cli.summary import removed_document, removed_text
from fpj_cli.tables import Rows, print_rows
from fpj_core import formatting
from fpj_core.errors import CacheFolderError, ImageError
from fpj_core.kube.exits import CommandExit
from fpj_core.model import Eviction, Folder, Since
from fpj_core.policies import has_policy, policy_of
from fpj_core.policy import EvictionPlan, Kept, Policy, Reason, Shortfall
from fpj_core.sources.keys import display_key
from fpj_core.store.protocol import Store
from fpj_worker.eviction import Evictor
from fpj_worker.places import place_of_record
from fpj_worker.stopping import InterruptedRunError

_HEADS = ("FOLDER", "COLLECTION", "TIER", "REASON", "FILES", "BYTES")
_LIMITS = {
    Reason.OVER_QUOTA: "its limit",
    Reason.OVER_COLLECTION_QUOTA: "the limit of collection {name}",
    Reason.OVER_TIER_QUOTA: "the limit of tier {name}",
}
_KEPT = {
    Kept.BUSY: "of collections that a run works on",
    Kept.PINNED: "pinned",
    Kept.TOO_YOUNG: "younger than the minimum age",
    Kept.NO_EVICTION: "that the policy does not evict",
    Kept.UNKNOWN: "that no record accounts for",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options ask for; None: as the folder's policy says."""

    max_bytes: int | None = None
    older_than: float | None = None
    eviction: Eviction | None = None
    collections: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()

    @property
    def anything(self) -> bool:
        """Whether a folder without a policy is meant, too."""
        return self.max_bytes is not None or self.older_than is not None

    def policy(self, given: Policy) -> Policy:
        """A folder's policy, as these options change it."""
        if self.max_bytes is not None:
            given = replace(given, max_bytes=self.max_bytes)
        if self.older_than is not None:
            given = replace(given, ttl=self.older_than, ttl_since=Since.CREATION)
        return given if self.eviction is None else replace(given, eviction=self.eviction)

    def spares(self, collection: str, tier: str) -> bool:
        """Whether such derivatives are left alone."""
        return bool(
            (self.collections and collection not in self.collections)
            or (self.tiers and tier not in self.tiers)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done, or would be, in one folder. ``victims``: (files, bytes) by collection, tier
    and reason.
    """

    folder: Folder
    used: int
    victims: dict[tuple[str, str, str], tuple[int, int]]
    shortfalls: Sequence[Shortfall] = ()
    document: dict[str, Any] | None = None
    text: str = ""
    troubles: Sequence[str] = ()


@click.command(cls=Command, short_help="Remove what the policies of cache folders say.")
@click.option("--folder", metavar="PATH|NAME", help="Only this cache folder.  [default: all]")
@click.option("--collection", "collections", multiple=True, metavar="ID", help="Only of this one.")
@click.option("--tier", "tiers", multiple=True, metavar="NAME", help="Only of this tier.")
@click.option(
    "--older-than",
    type=Duration(),
    metavar="DURATION",
    help="Remove what was made longer ago, e.g. 30d.  [default: the policy's ttl]",
)
@click.option(
    "--max-bytes",
    metavar="SIZE",
    help="As if the folder might hold so much, e.g. 20Gi.  [default: its limit]",
)
@click.option(
    "--eviction",
    type=click.Choice(list(Eviction), case_sensitive=False),
    help="What goes first.  [default: the policy's, else Cost]",
)
@click.option("--dry-run", is_flag=True, help="Show what would go, and why; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, on standard output.")
@store_option
def cleanup(
    folder: str | None,
    collections: Sequence[str],
    tiers: Sequence[str],
    older_than: float | None,
    max_bytes: str | None,
    eviction: Eviction | None,
    dry_run: bool,
    as_json: bool,
    store_url: str,
) -> None:
    """Evict from cache folders by their policies: what has expired, and what exceeds a limit.

    A folder gets a limit by `fpj run --max-bytes`, and a policy by a CacheFolder manifest. Above
    90 % of its limit it is brought down to 80 %; what costs least to make again goes first. What a
    run works on stays. Originals are never touched: the next run makes again what its job asks for.

    \b
    fpj cleanup --dry-run
    fpj cleanup --older-than 2160h --tier full
    fpj cleanup --folder /srv/cache --max-bytes 20Gi

    Exit codes: 0 done, 1 a limit is exceeded even now, 2 invalid input or policy, 3 another process
    evicts, 5 files could not be removed, 130 interrupted.
    """  # noqa: D301 - click keeps the lines after a real backspace as they are
    wanted = Wanted(
        None if max_bytes is None else size_of(max_bytes),
        older_than,
        None if eviction is None else Eviction(eviction),
        frozenset(collections),
        frozenset(tiers),
    )
    with opened_store(store_url, make=False) as store, stop_on_signals() as stop:
        named = folders_named(store, folder)
        chosen = [each for each in named if wanted.anything or has_policy(each)]
        try:
            outcomes = [_clean(store, each, wanted, stop, dry_run=dry_run) for each in chosen]
        except InterruptedRunError:
            say("Interrupted. Run the same command again to continue.")
            sys.exit(CommandExit.INTERRUPTED)
    if as_json:
        print_json({"dryRun": dry_run, "folders": [_document(each) for each in outcomes]})
    else:
        _tell(outcomes, dry_run=dry_run)
    if any(each.troubles for each in outcomes):
        sys.exit(CommandExit.ENVIRONMENT)
    short = any(each.shortfalls for each in outcomes)
    sys.exit(CommandExit.INCOMPLETE if short else CommandExit.DONE)


def _clean(
    store: Store, folder: Folder, wanted: Wanted, stop: Callable[[], bool], *, dry_run: bool
) -> Outcome:
    def on_step() -> None:
        if stop():
            raise InterruptedRunError("interrupted")

    policy = wanted.policy(policy_of(folder, store))
    place = place_of_record(folder).config.build()
    evictor = Evictor(store, place, folder, on_step, policy, wanted.spares)
    used = store.folder_totals(folder.name)[1]
    if dry_run:
        planned = evictor.plan()
        return Outcome(folder, used, _grouped(planned), planned.shortfalls)
    try:
        done = evictor.run()
    except (CacheFolderError, ImageError) as error:
        return Outcome(folder, used, {}, troubles=[str(error)])
    removed = done.removed
    troubles = [f"{display_key(path)}: {why}" for path, why in removed.troubles.items()]
    return Outcome(
        folder,
        used,
        {},
        done.shortfalls,
        removed_document(removed),
        removed_text(removed) if removed.files else "",
        troubles,
    )


def _grouped(planned: EvictionPlan) -> dict[tuple[str, str, str], tuple[int, int]]:
    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for victim in planned.victims():
        key = victim.collection, victim.tier, victim.reason.value
        files, size = found.get(key, (0, 0))
        found[key] = files + 1, size + victim.bytes
    return dict(sorted(found.items()))


def _document(outcome: Outcome) -> dict[str, Any]:
    folder = outcome.folder
    return {
        "folder": folder.name,
        "location": folder.location,
        "usedBytes": outcome.used,
        "maxBytes": folder.max_bytes,
        "planned": [
            {"collection": c, "tier": t, "reason": r, "files": files, "bytes": size}
            for (c, t, r), (files, size) in outcome.victims.items()
        ],
        "removed": outcome.document,
        "exceeded": [
            {
                "limit": short.limit.value,
                "name": short.name,
                "bytes": short.short_by,
                "kept": {why.value: size for why, size in short.kept.items()},
            }
            for short in outcome.shortfalls
        ],
        "troubles": list(outcome.troubles),
    }


def _tell(outcomes: Sequence[Outcome], *, dry_run: bool) -> None:
    if not outcomes:
        say(
            "No cache folder has a limit or a policy. Give one by `fpj run --max-bytes`, or say"
            " --max-bytes or --older-than here."
        )
    shown = Rows(*_HEADS)
    for each in outcomes:
        for (collection, tier, reason), (files, size) in each.victims.items():
            count = formatting.count(files)
            shown.add(each.folder.name, collection, tier, reason, count, formatting.size(size))
    if any(each.victims for each in outcomes):
        print_rows(shown)
    for each in outcomes:
        _tell_of(each, dry_run=dry_run)


def _tell_of(outcome: Outcome, *, dry_run: bool) -> None:
    where = display_key(outcome.folder.location)
    if dry_run:
        files = sum(files for files, _ in outcome.victims.values())
        size = sum(size for _, size in outcome.victims.values())
        what = f"Would remove {formatting.count(files)} files, {formatting.size(size)}"
        print_text(f"{what} of {formatting.size(outcome.used)} from {where}.", err)
    elif outcome.text:
        print_text(f"Removed from {where}: {outcome.text}.", err)
    elif not outcome.troubles:
        print_text(f"Nothing to remove from {where}.", err)
    for short in outcome.shortfalls:
        limit = _LIMITS[short.limit].format(name=short.name)
        kept = ", ".join(
            f"{formatting.size(size)} {_KEPT[why]}" for why, size in short.kept.items()
        )
        print_text(f"  {formatting.size(short.short_by)} above {limit}; kept: {kept}.", err)
    for trouble in outcome.troubles:
        print_text(f"Not removed: {trouble}", err)
