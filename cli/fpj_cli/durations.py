"""Lengths of time on the command line."""

from __future__ import annotations

import re

import click
from typing_extensions import override

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


class Duration(click.ParamType[float]):
    """``90``, ``90s``, ``10m``, ``1h30m``; in seconds."""

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
                f"{value!r} is not a duration; write for example 90s, 10m or 1h30m", param, ctx
            )
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return hours * 3_600 + minutes * 60 + seconds
