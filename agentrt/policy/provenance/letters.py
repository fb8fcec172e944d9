"""Texts with every letter brought to the ones it may be taken for."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from agentrt.policy.provenance.lookalikes import LOOKALIKES

__all__ = ["has_word", "spellings", "words_in"]

_ODD = re.compile(r"[^\x20-\x7e\s]")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
# Letters by name that take no room.
_FILLERS = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800")
# Scripts that put no blanks between words: each character is taken for a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[a-z0-9]+|[{_UNSPACED}]|[^\W_a-z0-9{_UNSPACED}]+")


def spellings(text: str) -> list[str]:
    """The text as it may be read: in lower case, without accents, with ASCII's look-alikes.

    It is one, unless a hidden character may stand for nothing or for a blank, or a capital
    looks like another letter than its small one (the Greek for N looks like N, and v).
    """
    decomposed = unicodedata.normalize("NFKD", text)
    odd = sorted(set(_ODD.findall(decomposed)))
    if not odd:
        return [decomposed.lower()]
    readings = {
        tuple(_read(letter, by_shape=by_shape, hidden=hidden) for letter in odd)
        for by_shape in (False, True)
        for hidden in ("", " ")
    }
    tables = [dict(zip(map(ord, odd), reading, strict=True)) for reading in sorted(readings)]
    return [decomposed.translate(table).lower() for table in tables]


def words_in(spelling: str) -> list[str]:
    """Its words: runs of letters and digits; all else stands between words."""
    return _WORD.findall(spelling)


@lru_cache(maxsize=4096)
def has_word(character: str) -> bool:
    """Whether some reading of the character is more than a mark."""
    return any(_WORD.search(spelling) for spelling in spellings(character))


@lru_cache(maxsize=16384)
def _read(letter: str, *, by_shape: bool, hidden: str) -> str:
    category = unicodedata.category(letter)
    if category in _HIDDEN or letter in _FILLERS:
        return hidden
    if category.startswith("M"):
        return ""
    digit = unicodedata.decimal(letter, None)
    if digit is not None:
        return str(digit)
    if by_shape and letter in LOOKALIKES:
        return LOOKALIKES[letter]
    return "".join(_looks_like(small) for small in letter.casefold())


def _looks_like(small: str) -> str:
    """By the letter itself, or else by its capital: a small Cyrillic ve goes with its capital."""
    return LOOKALIKES.get(small) or LOOKALIKES.get(small.upper()) or small
