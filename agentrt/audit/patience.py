"""Patience: the same again while a server is away for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["patiently"]

T = TypeVar("T")

AWAY_S = 20.0
"""How long a server that went away is looked for, before whoever waits is told that it is gone."""

FIRST_S, LONGEST_S = 0.05, 1.0
"""The first pause between two tries, and the longest: each is twice as long as the one before."""


def patiently(do: Callable[[], T], *, is_passing: Callable[[Exception], bool]) -> T:
    """What `do` returns, tried again after failures that pass. Raises what it raises at last."""
    until, pause = time.monotonic() + AWAY_S, FIRST_S
    while True:
        try:
            return do()
        except Exception as error:
            if not is_passing(error) or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_S)
