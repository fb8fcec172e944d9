"""The random expressions: number N of a seed is always the same, in the same context."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from agentrt.policy.cel import BOOL, ListOf, Type

from .contexts import Context, context
from .forms_any import EVERYWHERE, NULLABLES
from .forms_lists import LISTS, MAPS
from .forms_numbers import DOUBLES, INTS
from .forms_texts import TEXTS
from .forms_times import DURATION_FORMS, MOMENT_FORMS
from .forms_truth import TRUTHS
from .made import Made
from .maker import Forms, Maker, Want

__all__ = ["Generated", "generated"]

_PER_CONTEXT = 10
"""How many expressions in a row speak of the same context."""
_DEPTHS = (1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5)

_FORMS: Forms = {
    "bool": [*EVERYWHERE, *TRUTHS],
    "int": [*EVERYWHERE, *INTS],
    "double": [*EVERYWHERE, *DOUBLES],
    "string": [*EVERYWHERE, *TEXTS],
    "timestamp": [*EVERYWHERE, *MOMENT_FORMS],
    "duration": [*EVERYWHERE, *DURATION_FORMS],
    "list": [*EVERYWHERE, *LISTS],
    "map": [*EVERYWHERE, *MAPS],
    "nullable": NULLABLES,
}


@dataclass(frozen=True)
class Generated:
    """An expression with what it speaks of."""

    made: Made
    context: Context

    @property
    def text(self) -> str:
        return self.made.text


def generated(seed: int | str, number: int) -> Generated:
    """Expression `number` of the seed."""
    about = _context(seed, number // _PER_CONTEXT)
    random = Random(f"{seed} {number}")
    maker = Maker(random, about, _FORMS)
    made = maker.make(Want(_type(maker), random.choice(_DEPTHS)))
    return Generated(made, about)


@lru_cache(maxsize=2)
def _context(seed: int | str, number: int) -> Context:
    return context(Random(f"{seed} context {number}"))


def _type(maker: Maker) -> Type:
    """A condition is true or false, but other values show more of themselves."""
    chance = maker.random.random()
    if chance < 0.4:
        return BOOL
    if chance < 0.85:
        return maker.scalar_type()
    return ListOf(maker.item_type()) if chance < 0.95 else maker.map_type()
