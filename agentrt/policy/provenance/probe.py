"""What to ask of a text: by which of its keys it is found, and whether the value stands in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Keyed", "Probe"]

Form = TypeVar("Form")

Keyed = tuple[Form, frozenset[str]]
"""A text in the form that it is compared in, and the keys that it is looked up by."""


@dataclass(frozen=True)
class Probe(Generic[Form]):
    """One way in which a text can have a value in it."""

    keys: frozenset[str]
    """A text that does not have all of them need not be looked at."""
    holds: Callable[[Form], bool] = lambda _: True
    """Whether a text that has them has the value; where the keys say it all, it does."""

    def fits(self, keyed: Keyed[Form]) -> bool:
        """Whether a text that was not looked up has the value."""
        form, keys = keyed
        return self.keys <= keys and self.holds(form)
