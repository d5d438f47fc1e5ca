"""How ``--help`` is laid out: commands and options under headings, by what they are for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module

import click
from typing_extensions import override

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "Run and resume": ("run", "generate", "resume", "recover", "suspend"),
    "Inspect": ("get", "describe", "failures", "watch", "wait", "logs", "stats", "outputs", "find"),
    "Export": ("export",),
    "Remove": ("purge", "cleanup", "forget"),
    "Check": ("verify",),
    "Cluster": ("release",),
    "Set up": ("config", "completion", "schema"),
}
"""The commands by heading; the others are listed under "Other"."""
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "What to make": (
        "job_type",
        "tiers",
        "thumbnail",
        "image_format",
        "quality",
        "fit",
        "layout",
        "cache_control",
    ),
    "Of which images": (
        "include",
        "exclude",
        "collection",
        "force",
        "accept_vanished",
        "keep_vanished",
        "accept_source",
        "claim_root",
    ),
    "In a cluster": (
        "cluster",
        "kubeconfig",
        "context",
        "namespace",
        "all_namespaces",
        "operator_namespace",
    ),
    "Output": ("output", "as_json", "quiet", "verbose", "dry_run", "limit"),
}


_COLUMNS = re.compile(r" {2,}")


def write_help(text: str, formatter: click.HelpFormatter) -> None:
    """A help text.

    Examples keep their lines where they fit; in a narrow terminal their columns are wrapped.
    """
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        formatter.write_paragraph()
        rows = [
            _COLUMNS.split(line.strip(), maxsplit=1)
            for line in paragraph.lstrip("\b").strip().splitlines()
        ]
        wide = any(
            len(line) + formatter.current_indent + 2 > formatter.width
            for line in paragraph.splitlines()
        )
        with formatter.indentation():
            if paragraph.startswith("\b") and wide and all(len(row) == 2 for row in rows):
                formatter.write_dl(
                    [(example, meaning) for example, meaning in rows], col_max=formatter.width // 2
                )
            else:
                formatter.write_text(paragraph)


class Command(click.Command):
    """A command whose options stand under headings, if it has many."""

    @override
    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_help(self.help or "", formatter)

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, parameters in sections(self, ctx).items():
            with formatter.section(heading):
                formatter.write_dl(
                    [record for each in parameters if (record := each.get_help_record(ctx))]
                )


def sections(command: click.Command, ctx: click.Context) -> dict[str, list[click.Parameter]]:
    """By heading, the parameters that help tells of; "Options" has
    those that belong nowhere else.
    """
    shown = [
        each
        for each in command.get_params(ctx)
        if isinstance(each, click.Option) and each.get_help_record(ctx)
    ]
    heading_of = {name: heading for heading, names in _OPTIONS.items() for name in names}
    found: dict[str, list[click.Parameter]] = {heading: [] for heading in ("Options", *_OPTIONS)}
    for each in shown:
        found[heading_of.get(each.name or "", "Options")].append(each)
    return {heading: parameters for heading, parameters in found.items() if parameters}


class Commands(MutableMapping[str, click.Command]):
    """Commands by name, each imported when it is first asked for.

    So `fpj run` starts without the others. ``places`` says where they are: a module, and the
    command's name there.
    """

    def __init__(self, places: Mapping[str, tuple[str, str]]) -> None:
        self._places: dict[str, tuple[str, str] | click.Command] = dict(places)

    @override
    def __getitem__(self, name: str) -> click.Command:
        found = self._places[name]
        if isinstance(found, tuple):
            module, attribute = found
            found = self._places[name] = getattr(import_module(module), attribute)
        return found

    @override
    def __contains__(self, name: object) -> bool:
        return name in self._places

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    @override
    def __len__(self) -> int:
        return len(self._places)

    @override
    def __setitem__(self, name: str, command: click.Command) -> None:
        self._places[name] = command

    @override
    def __delitem__(self, name: str) -> None:
        del self._places[name]


class Group(click.Group):
    """A group whose commands stand under headings."""

    @override
    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_help(self.help or "", formatter)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for heading, names in command_sections(self).items():
            with formatter.section(heading):
                rows = [
                    (name.ljust(width), self.commands[name].get_short_help_str(formatter.width))
                    for name in names
                ]
                formatter.write_dl(rows)


def command_sections(group: click.Group) -> dict[str, list[str]]:
    """By heading, the names of the group's commands."""
    placed = {
        heading: [name for name in names if name in group.commands]
        for heading, names in COMMANDS.items()
    }
    known = {name for names in placed.values() for name in names}
    placed["Other"] = [name for name in group.commands if name not in known]
    return {heading: names for heading, names in placed.items() if names}
