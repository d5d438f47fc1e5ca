"""Settings of a process from environment variables:
a dataclass whose fields say which variable they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar, get_type_hints

from fpj_core.errors import ManifestError

T = TypeVar("T")

_NAME = "<NAME>"
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")


def setting(variable: str, default: Any = MISSING, *, least: float = 0.0) -> Any:
    """A field read from a variable; required without a default. ``least`` bounds numbers."""
    metadata = {"variable": variable, "least": least}
    return (
        field(metadata=metadata)
        if default is MISSING
        else field(default=default, metadata=metadata)
    )


def prefixed(variable: str) -> Any:
    """A field with all variables that begin alike, under their names without the prefix:
    ``FPJ_EXAMPLE_<NAME>``.
    """
    return field(default_factory=dict, metadata={"variable": variable})


def read_settings(kind: type[T], environment: Mapping[str, str]) -> T:
    """Read a dataclass of settings.

    Raises `ManifestError` that names every variable that is missing or wrong.
    """
    types = get_type_hints(kind)
    reader = _Reader(environment)
    read = {each.name: reader.read(each, types[each.name]) for each in fields(kind)}  # type: ignore[arg-type] # a dataclass
    if reader.problems:
        raise ManifestError(reader.problems)
    return kind(**read)


def split(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def read(self, wanted: Field[Any], kind: Any) -> Any:
        """The setting's value; its default for a variable that is not set, or is empty."""
        variable = wanted.metadata["variable"]
        if kind == Mapping[str, str]:
            prefix, given = variable.removesuffix(_NAME), self._environment.items()
            return {name[len(prefix) :]: value for name, value in given if name.startswith(prefix)}
        text = self._environment.get(variable)
        if not text:
            if wanted.default is MISSING:
                self.problems.append(f"{variable} must be set")
            return wanted.default
        if kind in (int, float):
            return kind(self._number(variable, text, wanted.metadata["least"]))
        if kind is bool:
            return self._flag(variable, text)
        if kind == tuple[str, ...]:
            return split(text)
        return text

    def _number(self, variable: str, text: str, least: float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value < float("inf"):
            self.problems.append(f"{variable}: {text!r} is not a number of at least {least:g}")
            return least
        return value

    def _flag(self, variable: str, text: str) -> bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            self.problems.append(f"{variable}: {text!r} is neither true nor false")
        return text.lower() in _TRUE
