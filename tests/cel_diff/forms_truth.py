"""Forms that come to true or false."""

from __future__ import annotations

from agentrt.policy.cel import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    STRING,
    Enum,
    ListOf,
    MapOf,
    Nullable,
    Type,
)

from . import hostile
from .contexts import Place
from .forms_any import converted_any, guard, iterated
from .literals import LIST, quoted, text_literal
from .made import (
    AND,
    CONDITIONAL,
    MEMBER,
    OR,
    RELATION,
    SUM,
    UNARY,
    Frame,
    Group,
    Made,
    Part,
    form,
    read,
    series,
)
from .maker import Maker, Want
from .patterns import pattern

__all__ = ["TRUTHS"]

_EQUALS = (" == ", " == ", " != ")
_ORDERS = (" < ", " <= ", " > ", " >= ")


# --- logic -------------------------------------------------------------------------------


def both(maker: Maker, want: Want) -> Made:
    sign = maker.random.choice((" && ", "&&"))
    return series(BOOL, AND, Frame("", sign, "", 2), _parts(maker, want, RELATION))


def either(maker: Maker, want: Want) -> Made:
    return series(BOOL, OR, Frame("", " || ", "", 2), _parts(maker, want, AND))


def _parts(maker: Maker, want: Want, level: int) -> list[Group]:
    number = maker.random.choice((2, 2, 2, 3, 4))
    return [(maker.part(want.of(BOOL), level),) for _ in range(number)]


def not_(maker: Maker, want: Want) -> Made:
    sign = maker.random.choice(("!", "!", "!!", "! "))
    return form(BOOL, UNARY, sign, maker.part(want.of(BOOL), MEMBER))


def guarded_both(maker: Maker, want: Want) -> Made | None:
    """`has(args.note) && ...` where the rest may read args.note."""
    place = maker.one_of([each for each in maker.all_places(want) if not want.proves(each)])
    if place is None:
        return None
    proven = maker.part(want.after(place.guards).of(BOOL), RELATION)
    test = guard(maker, place, want)
    if maker.random.random() < 0.3:
        return form(BOOL, OR, "!", Part(test, MEMBER), " || ", Part(proven.made, AND))
    return form(BOOL, AND, Part(test, RELATION), " && ", proven)


# --- comparisons -------------------------------------------------------------------------


def compared(maker: Maker, want: Want) -> Made:
    of = _comparable(maker)
    left, right = maker.part(want.of(of), SUM), maker.part(want.of(of), SUM)
    if maker.random.random() < 0.08:
        right = left
    return form(BOOL, RELATION, left, maker.random.choice(_EQUALS), right)


def _comparable(maker: Maker) -> Type:
    chance = maker.random.random()
    if chance < 0.15:
        return ListOf(maker.item_type())
    return maker.map_type() if chance < 0.2 else maker.scalar_type()


def ordered(maker: Maker, want: Want) -> Made:
    of = maker.scalar_type()
    left, right = maker.part(want.of(of), SUM), maker.part(want.of(of), SUM)
    return form(BOOL, RELATION, left, maker.random.choice(_ORDERS), right)


def place_compared(maker: Maker, want: Want) -> Made | None:
    """A place with a literal that is likely to be like it."""
    place = maker.one_of(
        [each for each in maker.places(want) if isinstance(each.value, str | int | float)]
    )
    if place is None or place.type not in (BOOL, INT, DOUBLE, STRING, ANY):
        return None
    near = maker.near(place.value)
    signs = _EQUALS if place.type == ANY else (*_EQUALS, *_ORDERS)
    return form(
        BOOL, RELATION, Part(maker.reading(place), SUM), maker.random.choice(signs), Part(near, SUM)
    )


def enum_compared(maker: Maker, want: Want) -> Made | None:
    enums = [(each, each.type.values) for each in maker.places(want) if isinstance(each.type, Enum)]
    if not enums:
        return None
    place, values = maker.random.choice(enums)
    whole = Part(maker.reading(place), SUM)
    if maker.random.random() < 0.5:
        return form(
            BOOL, RELATION, whole, maker.random.choice(_EQUALS), quoted(maker.random.choice(values))
        )
    some = maker.random.sample(values, 2)
    return form(BOOL, RELATION, whole, f" in [{', '.join(map(quoted, some))}]")


def null_tested(maker: Maker, want: Want) -> Made | None:
    place = maker.one_of([each for each in maker.places(want) if isinstance(each.type, Nullable)])
    if place is None:
        return None
    sign = maker.random.choice(_EQUALS)
    return form(BOOL, RELATION, Part(maker.reading(place), SUM), f"{sign}null")


def any_compared(maker: Maker, want: Want) -> Made | None:
    """JSON of several types with a single value, or with a list that it may be in."""
    place = maker.place(want.of(ANY))
    if place is None:
        return None
    kind = maker.random.choice((BOOL, INT, DOUBLE, STRING))
    whole = Part(maker.reading(place), SUM)
    if maker.random.random() < 0.3:
        return form(BOOL, RELATION, whole, " in ", maker.part(want.of(ListOf(kind)), SUM))
    return form(BOOL, RELATION, whole, maker.random.choice(_EQUALS), maker.part(want.of(kind), SUM))


# --- membership --------------------------------------------------------------------------


def among(maker: Maker, want: Want) -> Made:
    kind = maker.random.choice((maker.scalar_type(), ListOf(maker.scalar_type())))
    of = maker.make(want.of(ListOf(kind)))
    item = maker.part(want.of(kind), SUM)
    if of.groups and of.frame.opened == LIST.opened and maker.random.random() < 0.4:
        item = Part(maker.random.choice(of.parts).made, SUM)
    return form(BOOL, RELATION, item, " in ", Part(of, SUM))


def key_of(maker: Maker, want: Want) -> Made:
    of = maker.map_type()
    places = [place for place in maker.places(want) if isinstance(place.type, MapOf)]
    place = maker.one_of(places)
    if place is not None and maker.random.random() < 0.5:
        key = text_literal(maker.random, maker.text())
        return form(BOOL, RELATION, Part(key, SUM), " in ", Part(maker.reading(place), SUM))
    key = maker.random.choice(maker.keys(of.key, 1))
    return form(BOOL, RELATION, Part(key, SUM), " in ", maker.part(want.of(of), SUM))


def has_key(maker: Maker, want: Want) -> Made:
    """`has()` of a map's key."""
    places = [place for place in maker.places(want) if isinstance(place.type, MapOf)]
    place = maker.one_of(places)
    if place is not None and maker.random.random() < 0.6:
        whole = Part(maker.reading(place), MEMBER)
    else:
        whole = maker.part(want.of(MapOf(STRING, maker.item_type())), MEMBER)
    return form(BOOL, MEMBER, "has(", whole, f".{maker.random.choice(('a', 'b', 'size', 'zz'))})")


def has_field(maker: Maker, want: Want) -> Made | None:
    """`has()` of a field that may be missing or never is."""
    place = maker.one_of([each for each in maker.all_places(want) if "." in each.text])
    if place is None:
        return None
    test = f"has({place.text})"
    is_open = want.proven.issuperset(guard for guard in place.guards if guard != test)
    return read(BOOL, test, place.variable) if is_open else None


# --- functions ---------------------------------------------------------------------------


def text_tested(maker: Maker, want: Want) -> Made:
    name = maker.random.choice(("startsWith", "endsWith", "contains"))
    text, part = maker.part(want.of(STRING), MEMBER), maker.part(want.of(STRING))
    return form(BOOL, MEMBER, text, f".{name}(", part, ")")


def matched(maker: Maker, want: Want) -> Made:
    text = text_literal(maker.random, pattern(maker.random))
    wanted = Part(text, SUM)
    if maker.random.random() < 0.15:
        wanted = Part(form(STRING, SUM, Part(text, SUM), ' + ""'), CONDITIONAL)
    if maker.random.random() < 0.3:
        return form(BOOL, MEMBER, "matches(", maker.part(want.of(STRING)), ", ", wanted, ")")
    return form(BOOL, MEMBER, maker.part(want.of(STRING), MEMBER), ".matches(", wanted, ")")


def converted(maker: Maker, want: Want) -> Made:
    if maker.random.random() < 0.3:
        return form(BOOL, MEMBER, "bool(", maker.part(want.of(BOOL)), ")")
    text = maker.random.choice(("true", "false", "True", "FALSE", "t", "f", "1", "0"))
    if maker.random.random() < 0.15:
        text = hostile.number_text(maker.random)
    return form(BOOL, MEMBER, "bool(", Part(text_literal(maker.random, text), CONDITIONAL), ")")


# --- macros ------------------------------------------------------------------------------


def quantified(maker: Maker, want: Want) -> Made:
    of, variable = iterated(maker, want)
    name = maker.random.choice(("all", "exists", "exists", "exists_one"))
    inside = want.binding(variable).of(BOOL)
    pieces = (Part(of, MEMBER), f".{name}({variable.text}, ", maker.part(inside), ")")
    return form(BOOL, MEMBER, *pieces, binds=variable.text)


def quantified_keys(maker: Maker, want: Want) -> Made:
    """A macro over the keys of a map, where their order does not matter."""
    of = maker.map_type()
    name, kind = maker.variable(want), maker.random.choice(("all", "exists", "exists_one"))
    entries = maker.part(want.of(of), MEMBER)
    inside = want.binding(Place(name, of.key, None, (), name)).of(BOOL)
    return form(BOOL, MEMBER, entries, f".{kind}({name}, ", maker.part(inside), ")", binds=name)


def busy(maker: Maker, want: Want) -> Made:
    """Macros in macros: more work than either side may allow."""
    made = form(BOOL, MEMBER, "x0 > 0")
    depth = maker.random.randint(2, 4)
    for number in reversed(range(depth)):
        made = form(BOOL, MEMBER, f"{_ITEMS}.all(x{number}, ", Part(made, CONDITIONAL), ")")
    return made


_ITEMS = str(list(range(1, 21)))

TRUTHS = [
    (0.004, busy),
    (3, both),
    (3, either),
    (1.2, not_),
    (2.5, guarded_both),
    (4, compared),
    (4, ordered),
    (2, place_compared),
    (0.7, enum_compared),
    (0.7, null_tested),
    (1, any_compared),
    (2, among),
    (0.8, key_of),
    (0.6, has_key),
    (0.6, has_field),
    (2, text_tested),
    (1.5, matched),
    (0.4, converted),
    (0.2, converted_any),
    (3, quantified),
    (0.5, quantified_keys),
]
