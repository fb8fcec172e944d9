"""Makes expressions of a wanted type; which forms there are is told to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Any, TypeVar

from agentrt.policy.cel import (
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    Enum,
    ListOf,
    MapOf,
    Nullable,
    Type,
)

from . import hostile
from .contexts import Context, Place, places_in
from .literals import LIST, MAP, plain_literal, text_literal, varied_double, varied_int
from .made import CONDITIONAL, MEMBER, Frame, Group, Made, Part, form, read, series

_Choice = TypeVar("_Choice")

__all__ = ["Form", "Forms", "Maker", "Want"]

_SCALARS = (BOOL, INT, INT, INT, DOUBLE, STRING, STRING, STRING, TIMESTAMP, DURATION)
_VARIABLES = ("x", "y", "z", "i", "it", "_v", "all", "size", "k1")


@dataclass(frozen=True)
class Want:
    """What is wanted at a place, and what is known there."""

    type: Type
    depth: int
    variables: tuple[Place, ...] = ()
    proven: frozenset[str] = frozenset()

    def of(self, type: Type) -> Want:
        """An expression of this type, one level further in."""
        return replace(self, type=type, depth=self.depth - 1)

    def after(self, guards: Sequence[str]) -> Want:
        """Where these tests have proven something."""
        return replace(self, proven=self.proven | set(guards))

    def proves(self, place: Place) -> bool:
        """Whether all that guards the place is proven."""
        return self.proven.issuperset(place.guards)

    def binding(self, variable: Place) -> Want:
        """Where the variable of a macro has a value."""
        return replace(self, variables=(*self.variables, *places_in(variable)))


Form = Callable[["Maker", Want], Made | None]
"""Makes what is wanted, or None when it cannot here."""
Forms = Mapping[str, Sequence[tuple[float, Form]]]
"""The forms for each kind of type, by weight."""


class Maker:
    """Makes expressions that speak of a context."""

    def __init__(self, random: Random, context: Context, forms: Forms) -> None:
        self.random = random
        self.context = context
        self._forms = {
            kind: ([each for _, each in choices], [weight for weight, _ in choices])
            for kind, choices in forms.items()
        }

    def make(self, want: Want) -> Made:
        """An expression of the wanted type."""
        if want.depth <= 0:
            return self.leaf(want)
        forms, weights = self._forms[_kind_of(want.type)]
        made = self.random.choices(forms, weights)[0](self, want)
        return self._dressed(made or self.leaf(want))

    def part(self, want: Want, level: int = CONDITIONAL) -> Part:
        """The same as a piece of another expression."""
        return Part(self.make(want), level)

    def leaf(self, want: Want) -> Made:
        """A place that is read, or a literal."""
        if self.random.random() < 0.6 and (place := self.place(want)):
            return self.reading(place)
        return self.literal(want)

    # --- places --------------------------------------------------------------------------

    def place(self, want: Want) -> Place | None:
        """A place of the type that can be read here."""
        return self.one_of([place for place in self.places(want) if _fits(want.type, place.type)])

    def guarded_place(self, want: Want) -> Place | None:
        """A place of the type that a test has to come before."""
        guarded = [place for place in self.all_places(want) if not want.proves(place)]
        return self.one_of([place for place in guarded if _fits(want.type, place.type)])

    def places(self, want: Want) -> list[Place]:
        """All that can be read here, of any type."""
        return [place for place in self.all_places(want) if want.proves(place)]

    def all_places(self, want: Want) -> list[Place]:
        """All that there is, also what a test has to come before."""
        # The variables of macros twice over: a body that does not use its variable is dull.
        return [*self.context.places, *want.variables, *want.variables]

    def reading(self, place: Place) -> Made:
        return read(place.type, place.text, place.variable)

    # --- literals ------------------------------------------------------------------------

    def literal(self, want: Want) -> Made:
        """A literal, or what comes nearest to one."""
        match want.type:
            case ListOf(item=item):
                return self._list(want, item)
            case MapOf():
                return self._map(want)
            case Nullable(of=inner):
                return self.literal(replace(want, type=inner))
        return self._scalar(want.type)

    def _scalar(self, type: Type) -> Made:
        random = self.random
        match type:
            case _ if type == INT:
                return varied_int(random, hostile.integer(random))
            case _ if type == DOUBLE:
                return varied_double(random, hostile.double(random))
            case _ if type == STRING:
                return text_literal(random, self.text())
            case _ if type == TIMESTAMP:
                return form(type, MEMBER, f'timestamp("{hostile.moment(random)}")')
            case _ if type == DURATION:
                return form(type, MEMBER, f'duration("{hostile.duration(random)}")')
        return form(BOOL, MEMBER, random.choice(("true", "false")))

    def text(self) -> str:
        """Text, often of the context, so that comparisons can come true."""
        if self.random.random() < 0.25 and self._texts:
            return self.random.choice(self._texts)
        return hostile.text(self.random)

    @cached_property
    def _texts(self) -> list[str]:
        return list(_texts_in(list(self.context.values.values())))

    def near(self, value: Any) -> Made:
        """A literal for the value, or for one beside it."""
        match value:
            case bool():
                return self._scalar(BOOL)
            case int():
                return varied_int(self.random, _in_range(value + self.random.choice((-1, 0, 0, 1))))
            case float():
                return varied_double(self.random, value * self.random.choice((-1, 0.5, 1, 1)))
        return text_literal(self.random, str(value) + self.random.choice(("", "", "a")))

    def _list(self, want: Want, item: Type) -> Made:
        number = self.random.choice((1, 1, 2, 2, 3, 4) if want.depth > 0 else (1, 2, 2))
        items: list[Group] = [(self.part(want.of(item)),) for _ in range(number)]
        if isinstance(item, Nullable) and self.random.random() < 0.6:
            items.append(("null",))
        return series(want.type, MEMBER, self._frame(LIST), items)

    def _map(self, want: Want) -> Made:
        assert isinstance(want.type, MapOf)
        keys = self.keys(want.type.key, self.random.choice((1, 1, 2, 3)))
        if want.depth > 0 and self.random.random() < 0.15:  # perhaps the same key twice
            keys = [self.make(want.of(want.type.key)) for _ in keys]
        entries = [
            (Part(key, CONDITIONAL), ": ", self.part(want.of(want.type.value))) for key in keys
        ]
        return series(want.type, MEMBER, self._frame(MAP), list(entries))

    def _frame(self, frame: Frame) -> Frame:
        """Sometimes with the comma at the end that CEL allows."""
        return replace(frame, closed=f",{frame.closed}") if self.random.random() < 0.03 else frame

    def keys(self, type: Type, number: int) -> list[Made]:
        """Literals that differ."""
        random = self.random
        choices: Sequence[Any] = ("a", "b", "c", "size", "é", "x y", "", "\U0001f600", "1")
        if type != STRING:
            choices = (0, 1, 2, -1, 5, 2**63 - 1) if type == INT else (True, False)
        found = random.sample(choices, min(number, len(choices)))
        if type == STRING:
            return [text_literal(random, key) for key in found]
        return [made for key in found if (made := plain_literal(type, key))]

    # --- choices -------------------------------------------------------------------------

    def one_of(self, choices: Sequence[_Choice]) -> _Choice | None:
        """One of them; None when there is none."""
        return self.random.choice(choices) if choices else None

    def scalar_type(self) -> Type:
        return self.random.choice(_SCALARS)

    def item_type(self) -> Type:
        """What lists and maps are made of: mostly single values."""
        if self.random.random() < 0.12:
            return ListOf(self.scalar_type())
        if self.random.random() < 0.04:
            return Nullable(self.random.choice((INT, STRING, BOOL)))
        return self.scalar_type()

    def map_type(self) -> MapOf:
        return MapOf(self.random.choice((STRING, STRING, INT, BOOL)), self.item_type())

    def variable(self, want: Want) -> str:
        """A name that means nothing yet."""
        taken = {place.variable for place in want.variables} | set(self.context.types)
        return self.random.choice([name for name in _VARIABLES if name not in taken])

    def _dressed(self, made: Made) -> Made:
        """Sometimes with parentheses, space or a comment that it does not need."""
        chance = self.random.random()
        if chance > 0.03:
            return made
        if chance > 0.015:
            return form(made.type, MEMBER, "(", Part(made, CONDITIONAL), ")")
        space = self.random.choice((" ", "\n", "\t", " // it's \"a\n", "\r\n", "\f"))
        return form(made.type, MEMBER, f"({space}", Part(made, CONDITIONAL), f"{space})")


def _kind_of(type: Type) -> str:
    match type:
        case ListOf():
            return "list"
        case MapOf():
            return "map"
        case Nullable():
            return "nullable"
    return str(type)


def _in_range(value: int) -> int:
    return min(max(value, -(2**63)), 2**63 - 1)


def _fits(wanted: Type, found: Type) -> bool:
    return found == wanted or (wanted == STRING and isinstance(found, Enum))


def _texts_in(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [text for item in value for text in _texts_in(item)]
        case dict():
            return _texts_in([*value, *value.values()])
    return []
