"""Times as they are typed: 90s, 10m, 2h."""

from __future__ import annotations

import re

import click

__all__ = ["Duration"]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType[float]):
    """A time such as 90s, 10m or 2h, in seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The seconds."""
        found = re.fullmatch(r"([1-9][0-9]*)([smhd])", str(value))
        if found is None:
            self.fail(f"'{value}' is not a time such as 90s, 10m or 2h.", param, ctx)
        return int(found[1]) * _UNITS_S[found[2]]
