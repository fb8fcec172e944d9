"""A frozen value with some of its fields changed, quickly.

`dataclasses.replace` looks at every field and calls `__init__`; for a run with some forty fields,
several times for each record, that is most of what folding costs. Type checkers see
`dataclasses.replace` and check the names and types of the changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["replace"]

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(value: T, /, **changes: Any) -> T:
        """A copy of a dataclass without slots and without `__post_init__`."""
        copy = object.__new__(type(value))
        copy.__dict__.update(value.__dict__)
        copy.__dict__.update(changes)
        return copy
