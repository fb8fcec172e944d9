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
    Type,
)

from .contexts import Place
from .literals import text_literal
from .made import AND, CONDITIONAL, MEMBER, OR, RELATION, UNARY, Made, Part, form, read
from .maker import Form, Maker, Want

__all__ = ["EVERYWHERE", "NULLABLES", "converted_any", "guard", "iterated"]


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
    then, otherwise = maker.reading(place), maker.make(want.of(want.type))
    if maker.random.random() < 0.5:
        then = maker.make(proven.of(want.type))
    test = guard(maker, place, want)
    if maker.random.random() < 0.3:
        test = form(BOOL, UNARY, "!", Part(test, MEMBER))
        then, otherwise = otherwise, then
    branches = (Part(then, OR), " : ", Part(otherwise, CONDITIONAL))
    return form(want.type, CONDITIONAL, Part(test, OR), " ? ", *branches)


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
    if maker.random.random() < 0.15:
        return form(want.type, MEMBER, Part(items, MEMBER), "[", maker.part(want.of(INT)), "]")
    index = maker.random.randrange(len(items.groups))
    return form(want.type, MEMBER, Part(items, MEMBER), f"[{index}]")


def entry(maker: Maker, want: Want) -> Made | None:
    """The value of a map for a key that is mostly there."""
    place = maker.place(want.of(MapOf(STRING, want.type)))
    if place is not None and maker.random.random() < 0.6:
        return _entry_of_place(maker, want, place)
    of = MapOf(maker.map_type().key, want.type)
    entries = maker.literal(want.of(of))
    key = maker.random.choice(entries.groups)[0]
    if isinstance(key, Part) and key.text in _NAMED and maker.random.random() < 0.5:
        return form(want.type, MEMBER, Part(entries, MEMBER), f".{key.text[1:-1]}")
    if maker.random.random() < 0.15:
        key = maker.part(want.of(of.key))
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


def converted_any(maker: Maker, want: Want) -> Made | None:
    """`int(args.blob)`"""
    place = maker.place(want.of(ANY))
    if place is None:
        return None
    return form(want.type, MEMBER, f"{want.type}(", Part(maker.reading(place), CONDITIONAL), ")")


_NAMED = ('"a"', '"b"', "'a'", "'size'", '"size"')


def iterated(maker: Maker, want: Want) -> tuple[Made, Place]:
    """What a macro goes through, and its variable."""
    lists = [
        (place, place.type.item) for place in maker.places(want) if isinstance(place.type, ListOf)
    ]
    if lists and maker.random.random() < 0.55:
        place, item = maker.random.choice(lists)
        return maker.reading(place), _variable(maker, want, item)
    of = ListOf(maker.item_type())
    return maker.make(want.of(of)), _variable(maker, want, of.item)


def _variable(maker: Maker, want: Want, type: Type) -> Place:
    name = maker.variable(want)
    return Place(name, type, None, (), name)


def maybe_null(maker: Maker, want: Want) -> Made:
    """Not null alone, which would be of a type of its own."""
    assert isinstance(want.type, Nullable)
    test, value = maker.part(want.of(BOOL), OR), maker.part(want.of(want.type.of))
    return form(want.type, CONDITIONAL, test, " ? null : ", value)


def not_null(maker: Maker, want: Want) -> Made:
    assert isinstance(want.type, Nullable)
    made = maker.make(want.of(want.type.of))
    return form(want.type, made.level, Part(made, made.level))


NULLABLES: list[tuple[float, Form]] = [
    (1, maybe_null),
    (2, not_null),
    (1, leaf),
    (1, choice),
    (0.5, item),
    (0.5, entry),
]
EVERYWHERE: list[tuple[float, Form]] = [
    (3, leaf),
    (1, choice),
    (1, guarded_choice),
    (1, item),
    (1, entry),
]
