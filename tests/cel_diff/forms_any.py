"""Forms that there are for every type: choices, items, entries, what a test has to guard."""

from __future__ import annotations

from agentrt.policy.cel import (
    ANY,
    BOOL,
    INT,
    STRING,
    ListOf,
    MapOf,
    Nullable,
    Record,
    Type,
)

from .contexts import Place
from .literals import text_literal
from .made import AND, CONDITIONAL, MEMBER, OR, RELATION, SUM, UNARY, Made, Part, form, read
from .maker import Form, Maker, Want

__all__ = ["EVERYWHERE", "NULLABLES", "guard", "iterated"]


def leaf(maker: Maker, want: Want) -> Made:
    return maker.leaf(want)


def choice(maker: Maker, want: Want) -> Made:
    test = maker.part(want.of(BOOL), OR)
    then, otherwise = maker.part(want.of(want.type), OR), maker.part(want.of(want.type))
    return form(want.type, CONDITIONAL, test, " ? ", then, " : ", otherwise)


def guarded_choice(maker: Maker, want: Want) -> Made | None:
    """`has(args.note) ? args.note : "none"`, and the other way round."""
    place = maker.guarded_place(want)
    if place is None:
        return None
    proven = want.after(place.guards)
    then, otherwise = Part(maker.reading(place), OR), maker.part(want.of(want.type))
    if maker.random.random() < 0.5:
        then = maker.part(proven.of(want.type), OR)
    test = guard(maker, place, want)
    if maker.random.random() < 0.3:
        return form(want.type, CONDITIONAL, "!", Part(test, MEMBER), " ? ", Part(otherwise.made, OR), " : ", Part(then.made, CONDITIONAL))
    return form(want.type, CONDITIONAL, Part(test, OR), " ? ", then, " : ", otherwise)


def guard(maker: Maker, place: Place, want: Want) -> Made:
    """The tests that have to come before the place is read, those not yet made."""
    tests = [_test(maker, test, place) for test in place.guards if test not in want.proven]
    pieces = [piece for test in tests for piece in (" && ", Part(test, RELATION))]
    return tests[0] if len(tests) == 1 else form(BOOL, AND, *pieces[1:])


def _test(maker: Maker, test: str, place: Place) -> Made:
    if not test.endswith(" != null"):
        return read(BOOL, test, place.variable)
    path = test.removesuffix(" != null")
    ways = (f"{path} != null", f"null != {path}", f"!({path} == null)")
    text = maker.random.choice(ways)
    level = UNARY if text.startswith("!") else RELATION
    return Made(BOOL, level, ((text,),), names=place.variable)


def item(maker: Maker, want: Want) -> Made | None:
    """An item of a list: mostly one that is there."""
    place = maker.place(want.of(ListOf(want.type)))
    if place is not None and maker.random.random() < 0.6:
        if not place.value:
            return None
        index = maker.random.randrange(len(place.value))
        return form(want.type, MEMBER, Part(maker.reading(place), MEMBER), f"[{index}]")
    items = maker.literal(want.of(ListOf(want.type)))
    if maker.random.random() < 0.08:
        return form(want.type, MEMBER, Part(items, MEMBER), "[", maker.part(want.of(INT)), "]")
    index = maker.random.randrange(len(items.groups))
    return form(want.type, MEMBER, Part(items, MEMBER), f"[{index}]")


def entry(maker: Maker, want: Want) -> Made | None:
    """The value of a map for a key that is mostly there."""
    place = maker.place(want.of(MapOf(STRING, want.type)))
    if place is not None and maker.random.random() < 0.6:
        return _entry_of_place(maker, want, place)
    type = MapOf(maker.map_type().key, want.type)
    entries = maker.literal(want.of(type))
    key = maker.random.choice(entries.groups)[0]
    if isinstance(key, Part) and key.text in _NAMED and maker.random.random() < 0.5:
        return form(want.type, MEMBER, Part(entries, MEMBER), f".{key.text[1:-1]}")
    if maker.random.random() < 0.08:
        key = maker.part(want.of(type.key))
    return form(want.type, MEMBER, Part(entries, MEMBER), "[", key, "]")


def _entry_of_place(maker: Maker, want: Want, place: Place) -> Made | None:
    keys = [key for key in place.value or () if isinstance(key, str)]
    if not keys:
        return None
    key = maker.random.choice(keys)
    whole = Part(maker.reading(place), MEMBER)
    if key.isidentifier() and key.isascii() and maker.random.random() < 0.5:
        return form(want.type, MEMBER, whole, f".{key}")
    literal = text_literal(maker.random, key)
    return form(want.type, MEMBER, whole, "[", Part(literal, CONDITIONAL), "]")


_NAMED = ('"a"', '"b"', "'a'", "'size'", '"size"')


def iterated(maker: Maker, want: Want) -> tuple[Made, Place] | None:
    """What a macro goes through, and its variable."""
    lists = [place for place in maker.places(want) if isinstance(place.type, ListOf)]
    place = maker.one_of(lists)
    if place is not None and maker.random.random() < 0.55:
        return maker.reading(place), _variable(maker, want, place.type.item)
    of = ListOf(maker.item_type())
    return maker.make(want.of(of)), _variable(maker, want, of.item)


def _variable(maker: Maker, want: Want, type: Type) -> Place:
    name = maker.variable(want)
    return Place(name, type, None, (), name)


def null(maker: Maker, want: Want) -> Made:
    return form(want.type, MEMBER, "null")


def not_null(maker: Maker, want: Want) -> Made:
    assert isinstance(want.type, Nullable)
    made = maker.make(want.of(want.type.of))
    return form(want.type, made.level, Part(made, made.level))


NULLABLES: list[tuple[float, Form]] = [
    (1, null),
    (2, not_null),
    (1, leaf), (1, choice), (0.5, item), (0.5, entry)]
EVERYWHERE: list[tuple[float, Form]] = [
    (3, leaf),
    (1, choice),
    (1, guarded_choice),
    (1, item),
    (1, entry),
]
