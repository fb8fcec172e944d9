"""Times as people read them: how long is left, how old, at what moment."""

from __future__ import annotations

from agentrt.run.state import moment

__all__ = ["clock_time", "day_and_time", "span_of"]


def clock_time(at: int) -> str:
    """`14:02:51Z`: the time of day of a moment in milliseconds since the epoch."""
    return moment(at).strftime("%H:%M:%SZ")


def day_and_time(at: int) -> str:
    """`2026-03-01 14:02:51Z`."""
    return moment(at).strftime("%Y-%m-%d %H:%M:%SZ")


def span_of(duration_ms: int) -> str:
    """A duration in two units: `04:31` minutes, `3h 04m`, `2d 05h`; never below zero."""
    seconds = max(duration_ms, 0) // 1000
    minutes, hours = seconds // 60, seconds // 3600
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02}h"
    if hours:
        return f"{hours}h {minutes % 60:02}m"
    return f"{minutes:02}:{seconds % 60:02}"
