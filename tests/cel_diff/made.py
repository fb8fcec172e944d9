"""An expression that was made up, kept in pieces so that parts of it can be taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from agentrt.policy.cel import Type

__all__ = [
    "AND",
    "CONDITIONAL",
    "MEMBER",
    "OR",
    "PRODUCT",
    "RELATION",
    "SUM",
    "UNARY",
    "Frame",
    "Made",
    "Part",
    "Piece",
    "form",
    "read",
    "series",
]

CONDITIONAL, OR, AND, RELATION, SUM, PRODUCT, UNARY, MEMBER = range(8)
"""How tightly an expression holds together; what is too loose for its place gets parentheses."""


@dataclass(frozen=True, slots=True)
class Part:
    """An expression as a piece of another one."""

    made: Made
    level: int

    @property
    def text(self) -> str:
        text = self.made.text
        return text if self.made.level >= self.level else f"({text})"


Piece = str | Part
Group = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around and between the groups of pieces, and how many there must be."""

    opened: str = ""
    between: str = ""
    closed: str = ""
    least: int = 1


@dataclass(frozen=True, eq=False)
class Made:
    """A typed expression; all groups but the first may speak of the variable that it binds."""

    type: Type
    level: int
    groups: tuple[Group, ...]
    frame: Frame = Frame()
    binds: str | None = None
    names: str | None = None
    """The variable of a macro that this begins with."""
    is_place: bool = False

    @cached_property
    def text(self) -> str:
        inner = self.frame.between.join(
            "".join(piece if isinstance(piece, str) else piece.text for piece in group)
            for group in self.groups
        )
        return f"{self.frame.opened}{inner}{self.frame.closed}"

    @cached_property
    def free(self) -> frozenset[str]:
        """The variables that only mean something further out."""
        found = frozenset([self.names]) if self.names else frozenset[str]()
        for number, part in enumerate(self.parts):
            found |= part.made.free - {self.binds if number else None}
        return found

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(piece for group in self.groups for piece in group if isinstance(piece, Part))

    def inside(self) -> Iterator[Made]:
        """This and every expression in it."""
        yield self
        for part in self.parts:
            yield from part.made.inside()

    def with_part(self, number: int, made: Made) -> Made:
        """The same form with another part in one place."""
        parts = [part.made for part in self.parts]
        return self.with_parts([*parts[:number], made, *parts[number + 1 :]])

    def with_parts(self, parts: Sequence[Made]) -> Made:
        """The same form around other parts."""
        waiting = iter(parts)
        groups = [
            tuple(
                replace(piece, made=next(waiting)) if isinstance(piece, Part) else piece
                for piece in group
            )
            for group in self.groups
        ]
        return replace(self, groups=tuple(groups))

    def shortened(self) -> Iterator[Made]:
        """The same with one group less, where one can be spared."""
        if len(self.groups) > self.frame.least:
            for number in range(len(self.groups)):
                yield replace(self, groups=self.groups[:number] + self.groups[number + 1 :])


def form(type: Type, level: int, *pieces: Piece, binds: str | None = None) -> Made:
    """An expression of a fixed form."""
    return Made(type, level, (pieces,), binds=binds)


def series(type: Type, level: int, frame: Frame, groups: list[Group]) -> Made:
    """An expression of as many groups as there happen to be."""
    return Made(type, level, tuple(groups), frame)


def read(type: Type, text: str, variable: str | None) -> Made:
    """A place that is read: a path that begins with a root or with the variable of a macro."""
    return Made(type, MEMBER, ((text,),), names=variable, is_place=True)
