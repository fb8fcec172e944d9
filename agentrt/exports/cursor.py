"""A cursor: up to which record of which store was exported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from agentrt.errors import QueryInvalid

__all__ = ["Cursor"]

_PATTERN = re.compile(r"(s_[0-9a-f]+)\.([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place of arrival in one store; written `s_5f0c.1024`."""

    store: str
    pos: int

    def __str__(self) -> str:
        return f"{self.store}.{self.pos}"

    @classmethod
    def looks_so(cls, text: str) -> bool:
        """Whether the text is a cursor and no time."""
        return _PATTERN.fullmatch(text) is not None

    @classmethod
    def of(cls, text: str, *, store: str) -> Self:
        """The cursor of this text. Raises QueryInvalid when it is none, or of another store."""
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise QueryInvalid(f"'{text}' is no cursor: take the one of the last exported line.")
        if found[1] != store:
            raise QueryInvalid(f"The cursor is of the store {found[1]}, and this one is {store}.")
        return cls(store, int(found[2]))
