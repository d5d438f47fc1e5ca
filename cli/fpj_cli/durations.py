"""Lengths of time on the command line."""

from __future__ import annotations

import re

import click
from typing_extensions import override

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")
_UNITS = (86_400, 3_600, 60, 1)


class Duration(click.ParamType[float]):
    """``90``, ``90s``, ``10m``, ``1h30m``, ``30d``; in seconds."""

    name = "duration"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Into seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        found = _DURATION.fullmatch(str(value))
        if not value or found is None:
            self.fail(
                f"{value!r} is not a duration; write for example 90s, 1h30m or 30d", param, ctx
            )
        numbers = (float(number or 0) for number in found.groups())
        return sum(number * unit for number, unit in zip(numbers, _UNITS, strict=True))
