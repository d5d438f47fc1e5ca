"""Defaults that a person sets once: `FPJ_*` in the environment, and `~/.config/fpj/config.toml`.

An option of the command line goes before the variable, that before the file, and that before the
built-in default. A key of the file is an option's long name; its variable is that in capitals, say
``max-failed`` and FPJ_MAX_FAILED.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from fpj_cli.context import UsageProblemError

KEYS: Mapping[str, str] = {
    "store": "store_url",
    "out": "out",
    "type": "job_type",
    "tier": "tiers",
    "thumbnail": "thumbnail",
    "format": "image_format",
    "quality": "quality",
    "fit": "fit",
    "layout": "layout",
    "include": "include",
    "exclude": "exclude",
    "workers": "workers",
    "max-failed": "max_failed",
    "cache-control": "cache_control",
    "wait-for-environment": "wait_seconds",
    "claim-root": "claim_root",
    "cluster": "cluster",
    "namespace": "namespace",
    "context": "context",
    "kubeconfig": "kubeconfig",
    "operator-namespace": "operator_namespace",
}
"""By key, the name of the commands' parameter."""
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_MOST_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Set:
    """A value that was set, and where: a variable's name, or a file and its line."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What is set, by key; ``file`` is where the configuration file is, or would be."""

    file: Path
    values: Mapping[str, Set] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        """The value of a key; None where it is not set."""
        return self.values[key].value if key in self.values else None

    def default_map(self, group: click.Group) -> dict[str, Any]:
        """As click wants it: by command and parameter."""
        values = {KEYS[key]: found.value for key, found in self.values.items()}
        return dict.fromkeys(group.commands, values)


def config_file(environment: Mapping[str, str]) -> Path:
    """``$XDG_CONFIG_HOME/fpj/config.toml``; as the specification says,
    a relative path there counts for nothing.
    """
    base = environment.get("XDG_CONFIG_HOME", "")
    return (
        (Path(base) if os.path.isabs(base) else Path("~/.config").expanduser())
        / "fpj"
        / "config.toml"
    )


def load_settings(environment: Mapping[str, str], group: click.Group) -> Settings:
    """Read and check all that is set.

    Raises `UsageProblemError` that names the variable, or the file and its line.
    """
    path = config_file(environment)
    parameters = _Parameters(group)
    found = dict(_from_file(path, parameters))
    for key in KEYS:
        name = variable(key)
        if (text := environment.get(name)) and (parameter := parameters.get(key)):
            found[key] = Set(_checked(parameter, _from_text(parameter, text, name), name), name)
    return Settings(path, found)


def variable(key: str) -> str:
    """The name of a key's variable."""
    return "FPJ_" + key.upper().replace("-", "_")


class _Parameters:
    """By key, an option of that name: all of the same name are alike.

    Commands are looked through only for keys that are set, and no further than needed.
    """

    def __init__(self, group: click.Group) -> None:
        self._commands = iter(group.commands.values())
        self._known: dict[str | None, click.Option] = {}

    def get(self, key: str) -> click.Option | None:
        """None where no command of the group has it."""
        name = KEYS[key]
        while name not in self._known and (command := next(self._commands, None)):
            for each in command.params:
                if isinstance(each, click.Option):
                    self._known.setdefault(each.name, each)
        return self._known.get(name)


def _from_file(path: Path, parameters: _Parameters) -> Iterator[tuple[str, Set]]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageProblemError(f"{path}: {error.strerror}") from error
    import tomllib  # noqa: PLC0415 - most have no such file

    try:
        text = content.decode()
        document = tomllib.loads(text)
    except ValueError as error:  # tomllib's own names line and column
        raise UsageProblemError(f"{path}: {error}") from error
    for key, value in document.items():
        origin = f"{path}, line {_line_of(text, key)}"
        if key not in KEYS:
            raise UsageProblemError(
                f"{origin}: there is no key {key!r}; there are {', '.join(KEYS)}"
            )
        if parameter := parameters.get(key):
            yield key, Set(_checked(parameter, _of_toml(parameter, value, origin), origin), origin)


def _line_of(text: str, key: str) -> int:
    """The first line that may be the key's: enough for a person to find it."""
    name = re.escape(key)
    found = re.search(rf"""^[ \t]*(\[+[ \t]*)?["']?{name}["']?[ \t]*[=.\]]""", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _of_toml(parameter: click.Parameter, value: object, origin: str) -> object:
    if parameter.multiple if isinstance(parameter, click.Option) else False:
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return value
        raise UsageProblemError(f"{origin}: write a list of texts, or one text")
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    if isinstance(value, bool) is not flag or not isinstance(value, bool | int | str):
        raise UsageProblemError(
            f"{origin}: write {'true or false' if flag else 'a text or a number'}"
        )
    return value if flag else str(value)


def _from_text(parameter: click.Parameter, text: str, origin: str) -> object:
    """Several values are separated by spaces."""
    if isinstance(parameter, click.Option) and parameter.multiple:
        return text.split()
    if isinstance(parameter, click.Option) and parameter.is_flag:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise UsageProblemError(f"{origin}: {text!r} is neither true nor false")
        return text.lower() in _TRUE
    return text


def _checked(parameter: click.Parameter, value: object, origin: str) -> object:
    """The value as it is, if the option would take it."""
    context = click.Context(click.Command("fpj"), resilient_parsing=False)
    try:
        parameter.type_cast_value(context, value)
    except click.BadParameter as error:
        raise UsageProblemError(f"{origin}: {error.message}") from error
    return value


def shown_rows(settings: Settings, defaults: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(key, value, where it comes from) of every key."""
    for key in KEYS:
        found = settings.values.get(key)
        if found is None:
            yield key, defaults.get(key, "-"), "default"
        else:
            yield key, text_of(found.value), found.origin


def text_of(value: object) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return str(value).lower()
    return (
        " ".join(map(str, value))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )
