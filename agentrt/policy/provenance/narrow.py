"""When two spellings are one value: nothing that anyone could tell apart is taken for the same.

A match here is trust, so whatever is in doubt is different. docs/provenance.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentrt.policy.provenance.figures import number_key, plain_number
from agentrt.policy.provenance.moments import plain_moment, plain_moments
from agentrt.policy.provenance.probe import Keyed, Probe

__all__ = ["BLANKS", "NarrowText", "narrow_probes", "read_narrowly"]

BLANKS = " \t\r\n"
"""What stands between words. Other blanks of Unicode are characters like any other."""

_BLANKS = re.compile(rf"[\t\r\n][{BLANKS}]*| [{BLANKS}]+")  # a single blank stays as it is
_WITH_CAPITALS = re.compile(r"(?<![^ \n])[^ \nA-Z]*+[A-Z][^ \n]*+")
_WORD = re.compile(r"[^ \n]+")
# What may stand between a value and the blank before or behind it, and how much of it.
_OPENING, _CLOSING = "([{<\"'`\u201c\u201e\u2018\u00ab", ")]}>\"'`\u201d\u201c\u2019\u00bb.,;:!?"
_MARKS = _OPENING + _CLOSING
_MARKS_MAX = 3
_REACH = _MARKS_MAX + 2
_NOTHING = ("", " ", "\n")
_PAIRS = list(zip("([{<\u201c\u201e\u2018\u00ab", ")]}>\u201d\u201c\u2019\u00bb", strict=True))
_QUOTES = "\"'`"
# Characters that show what follows in another order than it is in.
_REORDERS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_REORDERED = "\u202e"
_MAIL = re.compile(r"[^@]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
# Of these schemes it is known that the case of a host says nothing.
_URL = re.compile(r"(?i:(https?|ftps?|wss?)://)([^/?#@\\]*@)?([^/?#@\\]*)(.*)")
_CURRENCY = "#$\u00a3\u00a5\u20ac"
_DIGITS = frozenset("0123456789")


@dataclass(frozen=True, slots=True)
class NarrowText:
    """A text with that written in one way which may differ: blanks, and case where it is safe."""

    text: str

    def names(self, value: str) -> bool:
        """Whether `value`, written in the same way, stands in it for itself."""
        # Lines may be wrapped in a text; in a value, a line break says something.
        text = self.text if "\n" in value else self.text.replace("\n", " ")
        start = text.find(value)
        while start >= 0:
            if _stands_alone(self.text, start, start + len(value)):
                return True
            start = text.find(value, start + 1)
        return False


def read_narrowly(text: str) -> Keyed[NarrowText]:
    """The text as it is compared, with its words, numbers, dates and times as keys."""
    written = _written(text)
    words = map(_key, _WORD.findall(written))
    return NarrowText(written), frozenset({*words, *_numbers(written), *_moments(written)})


def narrow_probes(value: str | float) -> Iterator[Probe[NarrowText]]:
    """The ways in which a text can name the value: any of them will do."""
    if not isinstance(value, str):
        key = number_key(value)
        if key is not None:
            yield Probe(frozenset({key}))
        return
    if value != value.strip(BLANKS) or _REORDERS.search(value):
        return
    written = _written(value)
    yield Probe(frozenset(map(_key, _WORD.findall(written))), lambda text: text.names(written))
    if moment := plain_moment(written):
        yield Probe(frozenset({moment}))


def _written(text: str) -> str:
    if _REORDERS.search(text):
        lines = text.split("\n")
        text = "\n".join(_REORDERED if _REORDERS.search(line) else line for line in lines)
    return _WITH_CAPITALS.sub(_without_case, _BLANKS.sub(_one_blank, text))


def _one_blank(found: re.Match[str]) -> str:
    return "\n" if "\n" in found[0] or "\r" in found[0] else " "


def _without_case(found: re.Match[str]) -> str:
    """A word in lower case, as far as nothing goes by its case: words, domains and hosts."""
    piece = found[0]
    word = piece.strip(_MARKS)
    if not word.isascii():
        return piece
    if word.isalpha():
        return piece.lower()
    if _MAIL.fullmatch(word):
        at = piece.rindex("@")
        return piece[:at] + piece[at:].lower()
    if url := _URL.fullmatch(word):
        scheme, user, host, rest = url.groups(default="")
        return piece.replace(word, f"{scheme.lower()}://{user}{host.lower()}{rest}")
    return piece


def _key(word: str) -> str:
    return word.strip(_MARKS) or word


def _numbers(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        words = line.split(" ")
        for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
            if _DIGITS.isdisjoint(word) or _continues(before, word) or _continues(word, after):
                continue
            if number := plain_number(word.strip(_MARKS).strip(_CURRENCY)):
                yield number


def _continues(before: str, after: str) -> bool:
    """Whether two words of a line may be one number: figures with only a blank between them."""
    return before[-1:] in _DIGITS and after[:1] in _DIGITS


def _moments(text: str) -> Iterator[str]:
    for start, end, moment in plain_moments(text.replace("\n", " ")):
        if _stands_alone(text, start, end):
            yield moment


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether nothing touches what is from `start` to `end` that could make it something else."""
    before, after = text[max(start - _REACH, 0) : start], text[end : end + _REACH]
    bare_before, bare_after = before.rstrip(_OPENING), after.lstrip(_CLOSING)
    opening, closing = before[len(bare_before) :], after[: len(after) - len(bare_after)]
    if max(len(opening), len(closing)) > _MARKS_MAX:
        return False
    if bare_before[-1:] not in _NOTHING or bare_after[:1] not in _NOTHING:
        return False
    if before.endswith(" ") and _continues(before[:-1], text[start]):
        return False
    if after.startswith(" ") and _continues(text[end - 1], after[1:]):
        return False
    return not _torn(text[start:end], opening, closing)


def _torn(value: str, opening: str, closing: str) -> bool:
    """Whether a mark beside the value belongs to one inside it."""
    for left, right in _PAIRS:
        inside = value.count(left) - value.count(right)
        if (inside > 0 and right in closing) or (inside < 0 and left in opening):
            return True
    return any(quote in opening + closing and value.count(quote) % 2 for quote in _QUOTES)
