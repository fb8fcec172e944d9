"""How much of a value is kept: all of it, a hash to find it by, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["KEEPS", "Keep", "Marked", "keep", "strictest"]

Keep = Literal["log", "hash", "drop"]
"""What a value leaves behind in the audit store."""

KEEPS: tuple[Keep, ...] = ("log", "hash", "drop")
"""Every word there is; the later, the stricter."""


@dataclass(frozen=True, slots=True)
class Marked:
    """What `keep` puts into an annotation."""

    keep: Keep


def keep(how: Keep) -> Marked:
    """Say in an annotation what a field leaves behind: `iban: Annotated[str, keep("hash")]`.

    `hash` leaves a keyed hash, by which equal values are found; `drop` leaves nothing. Raises
    ValueError for another word.
    """
    if how not in KEEPS:
        raise ValueError(f"keep({how!r}): say log, hash or drop")
    return Marked(how)


def strictest(*keeps: Keep) -> Keep:
    """The one that leaves least behind."""
    return max(keeps, key=KEEPS.index, default="log")
