"""Numbers as people write them, each brought to one form."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal

__all__ = ["number_key", "plain_number", "possible_numbers", "whole_numbers"]

# At most so many groups of three digits are read as one number.
_GROUPS_MAX = 6
_INTEGER = re.compile(r"(-?)(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]*)\.([0-9]+)")
_ONE_OF_TWO = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")
_GROUPED = [
    re.compile(
        rf"(-?)([1-9][0-9]{{0,2}}(?:(?:{mark}[0-9]{{3}}){{1,{_GROUPS_MAX}}}(?={point})"
        rf"|(?:{mark}[0-9]{{3}}){{2,{_GROUPS_MAX}}}))(?:{point}([0-9]+))?"
    )
    for mark, point in ((",", r"\."), (r"\.", ","))
]

_DIGITS = (
    r"[0-9]++(?:(?:[.,'_\u2019]| (?=[0-9]{3}(?![0-9])))[0-9]++)*+(?:e[+-]?[0-9]{1,2}(?![0-9]))?"
)
_FIGURES = re.compile(_DIGITS)
_UNIT = r"(?:[^\W\d_]{1,3}\W*+)?"
_WHOLE = re.compile(rf"\W*+{_UNIT}({_DIGITS})\W*+{_UNIT}")
_POWER = re.compile(r"(?<![0-9])([0-9]{1,20})(?:[.,]([0-9]{1,20}))?e([+-]?[0-9]{1,2})(?![0-9])")


def number_key(number: float) -> str | None:
    """The form of a JSON number; none for NaN and infinities, which JSON does not have."""
    if not math.isfinite(number):
        return None
    value = Decimal(number if isinstance(number, int) else repr(number))
    whole, _, fraction = format(value.copy_abs(), "f").partition(".")
    return _form("-" if value.is_signed() else "", whole, fraction)


def plain_number(text: str) -> str | None:
    """The form of a number that can be read in one way only, or None.

    1,000.00 and 1.000,00 are 1000, but 1,000 and 1.000 are read as one or as a thousand.
    """
    if found := _INTEGER.fullmatch(text):
        return _form(found[1], found[2], "")
    if found := _DECIMAL.fullmatch(text):
        return None if _ONE_OF_TWO.fullmatch(text.lstrip("-")) else _form(*found.groups())
    for grouped in _GROUPED:
        if found := grouped.fullmatch(text):
            return _form(found[1], re.sub(r"\D", "", found[2]), found[3] or "")
    return None


def possible_numbers(text: str) -> Iterator[str]:
    """The forms, without their signs, of all that may be meant as a number in the text."""
    for found in _FIGURES.finditer(text):
        groups = re.findall(r"[0-9]+", found[0])
        for start in range(len(groups)):
            yield from _from_group(groups[start : start + _GROUPS_MAX + 2])
    for found in _POWER.finditer(text):
        yield from _powers(found)


def whole_numbers(text: str) -> Iterator[str]:
    """The forms of the number that the text is as a whole, but for signs and a unit around it."""
    if found := _WHOLE.fullmatch(text):
        groups = re.findall(r"[0-9]+", found[1])
        yield from {_form("", "".join(groups), ""), *_from_group(groups)}
        yield from (form for power in _POWER.finditer(found[1]) for form in _powers(power))


def _from_group(groups: list[str]) -> Iterator[str]:
    """The numbers that begin with the first group: alone, with thousands, with a fraction."""
    whole = ""
    for index, group in enumerate(groups):
        if index and len(group) != 3:
            break
        whole += group
        yield _form("", whole, "")
        if index + 1 < len(groups):
            yield _form("", whole, groups[index + 1])


def _powers(found: re.Match[str]) -> Iterator[str]:
    value = Decimal(f"{found[1]}.{found[2] or '0'}e{found[3]}")
    whole, _, fraction = format(value, "f").partition(".")
    yield _form("", whole, fraction)


def _form(sign: str, whole: str, fraction: str) -> str:
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    form = f"{whole}.{fraction}" if fraction else whole
    return f"number {'' if form == '0' else sign}{form}"
