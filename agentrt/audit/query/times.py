"""Times as people type them: how long ago, a day, or a moment (UTC)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["moment_of"]

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def moment_of(text: str, *, now: int) -> int | None:
    """`2h`, `7d`, `2026-11-23` or `2026-11-23T09:00` (UTC) in milliseconds; None if it is none."""
    if found := re.fullmatch(r"([1-9][0-9]{0,6})([smhdw])", text):
        return now - int(found[1]) * _UNITS_MS[found[2]]
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
