"""A moment as people type it: how long ago, or a date."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import click

__all__ = ["Moment"]

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Moment(click.ParamType[int]):
    """`2h`, `7d` or `2026-11-23T09:00` (UTC), in milliseconds since the epoch."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The moment. A usage error when the text is none."""
        text = str(value)
        if found := re.fullmatch(r"([1-9][0-9]*)([smhd])", text):
            return int(time.time() * 1000) - int(found[1]) * _UNITS_MS[found[2]]
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"'{text}' is not a time such as 2h, 7d or 2026-11-23T09:00.", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
