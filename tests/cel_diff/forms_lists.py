"""Forms that come to lists and maps."""

from __future__ import annotations

from agentrt.policy.cel import BOOL, ListOf

from .contexts import Place
from .forms_any import iterated
from .made import MEMBER, PRODUCT, SUM, Made, Part, Piece, form
from .maker import Maker, Want

__all__ = ["LISTS", "MAPS"]


def literal(maker: Maker, want: Want) -> Made:
    return maker.literal(want)


def joined(maker: Maker, want: Want) -> Made:
    left, right = maker.part(want.of(want.type), SUM), maker.part(want.of(want.type), PRODUCT)
    return form(want.type, SUM, left, " + ", right)


def filtered(maker: Maker, want: Want) -> Made:
    assert isinstance(want.type, ListOf)
    of = maker.part(want.of(want.type), MEMBER)
    name = maker.variable(want)
    inside = want.binding(_variable(name, want.type)).of(BOOL)
    return form(want.type, MEMBER, of, f".filter({name}, ", maker.part(inside), ")", binds=name)


def _variable(name: str, of: ListOf) -> Place:
    return Place(name, of.item, None, (), name)


def mapped(maker: Maker, want: Want) -> Made:
    assert isinstance(want.type, ListOf)
    of, variable = iterated(maker, want)
    inside = want.binding(variable)
    pieces: list[Piece] = [Part(of, MEMBER), f".map({variable.text}, "]
    if maker.random.random() < 0.25:
        pieces += [maker.part(inside.of(BOOL)), ", "]
    pieces += [maker.part(inside.of(want.type.item)), ")"]
    return form(want.type, MEMBER, *pieces, binds=variable.text)


def mapped_keys(maker: Maker, want: Want) -> Made:
    """The keys of a map, in whatever order they come."""
    assert isinstance(want.type, ListOf)
    name, of = maker.variable(want), maker.map_type()
    entries = maker.part(want.of(of), MEMBER)
    inside = want.binding(Place(name, of.key, None, (), name)).of(want.type.item)
    pieces = (entries, f".map({name}, ", maker.part(inside), ")")
    return form(want.type, MEMBER, *pieces, binds=name)


LISTS = [(0.05, mapped_keys), (4, literal), (2, joined), (2, filtered), (3, mapped)]
MAPS = [(4, literal)]
