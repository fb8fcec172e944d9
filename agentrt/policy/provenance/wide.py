"""When one text may have come from another: whatever somebody could read as the same is the same.

A match here is suspicion, so whatever is in doubt is found. docs/provenance.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

from agentrt.policy.provenance.addresses import codes_in, names_in
from agentrt.policy.provenance.disguises import undisguised
from agentrt.policy.provenance.figures import number_key, possible_numbers, whole_numbers
from agentrt.policy.provenance.letters import has_word, spellings, words_in
from agentrt.policy.provenance.moments import possible_dates, whole_dates
from agentrt.policy.provenance.probe import Keyed, Probe

__all__ = ["WideText", "read_widely", "wide_probes"]

# O and 0, I, l and 1 are written for one another.
_SHAPES = str.maketrans("oil", "011")
_BEGINNING = re.compile(rb"[^\x00]")
_BLANKS = re.compile(r"[ \t\r\n]+")
_GRAM = 3
_INSIDE, _LETTERS, _FIGURES = range(3)
"""What begins at a place in a reading: nothing, a word of letters, a word with a digit in it."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """The letters and digits of a text without all that is between them, and where words begin."""

    compact: str
    begins: bytes

    @classmethod
    def of(cls, words: list[str]) -> _Reading:
        begins = bytearray(sum(map(len, words)) + 1)
        begins[-1] = _LETTERS  # its end, as if a word followed
        for start, word in zip(accumulate(map(len, words), initial=0), words, strict=False):
            begins[start] = _LETTERS if word.isalpha() else _FIGURES
        return cls("".join(words).translate(_SHAPES), bytes(begins))

    def has(self, run: str, *, figures: bool) -> bool:
        """Whether `run` is made of whole words; with `figures`, one of them has a digit in it."""
        start = self.compact.find(run)
        while start >= 0:
            end = start + len(run)
            whole_words = self.begins[start] and self.begins[end]
            if whole_words and (not figures or _FIGURES in self.begins[start:end]):
                return True
            following = _BEGINNING.search(self.begins, start + 1)
            start = self.compact.find(run, following.start()) if following else -1
        return False


@dataclass(frozen=True, slots=True)
class WideText:
    """A text in all the ways in which it may be read."""

    text: str
    readings: tuple[_Reading, ...]

    def has_run(self, run: str, *, figures: bool) -> bool:
        """Whether the letters and digits stand in it, whatever is between them."""
        return any(reading.has(run, figures=figures) for reading in self.readings)

    def has_marks(self, marks: str) -> bool:
        """Whether the marks follow one another in it, blanks aside."""
        return marks in _BLANKS.sub("", self.text)


def read_widely(text: str) -> Keyed[WideText]:
    """The text as it is compared, with its letters, names, numbers, dates and marks as keys."""
    readings: list[_Reading] = []
    keys = {f"mark {one}" for one in set(text) if not has_word(one)}
    for spelling in _spellings(text):
        words = words_in(spelling)
        reading = _Reading.of(words)
        readings.append(reading)
        keys |= _grams(reading.compact) | _short_runs(words)
        keys |= {*possible_numbers(spelling), *possible_dates(spelling)}
        # A name behind a mailbox speaks of this one mailbox, not of all there.
        keys |= {_name_key(name.text) for name in names_in(spelling) if not name.mailbox}
    return WideText(text, tuple(readings)), frozenset(keys)


def wide_probes(value: str | float) -> Iterator[Probe[WideText]]:
    """The ways in which a text can have the value in it, or what is telling of it."""
    if not isinstance(value, str):
        yield from _of_number(value)
        return
    for spelling in _spellings(value):
        words = words_in(spelling)
        yield from _of_words(words)
        for word in codes_in(words):
            yield from _of_words([word])
        yield from _of_names(spelling)
        for key in {*whole_numbers(spelling), *whole_dates(spelling)}:
            yield Probe(frozenset({key}))
    if not any(map(has_word, value)):
        yield from _of_marks(_BLANKS.sub("", value))


def _spellings(text: str) -> dict[str, None]:
    return dict.fromkeys(
        spelling for reading in undisguised(text) for spelling in spellings(reading)
    )


def _grams(compact: str) -> set[str]:
    return {compact[at : at + _GRAM] for at in range(len(compact) - _GRAM + 1)}


def _short_runs(words: list[str]) -> set[str]:
    """What is too short for a gram: one or two characters that are a word or two."""
    short = {word for word in words if len(word) < _GRAM}
    pairs = {a + b for a, b in pairwise(words) if len(a) == len(b) == 1}
    return {f"short {run.translate(_SHAPES)}" for run in short | pairs}


def _of_number(value: float) -> Iterator[Probe[WideText]]:
    if key := number_key(value):
        form = key.replace("-", "")
        yield Probe(frozenset({form}))
        digits = form.removeprefix("number ")
        if digits.isdigit():
            yield from _of_words([digits])


def _of_words(words: list[str]) -> Iterator[Probe[WideText]]:
    run = "".join(words)
    if not run:
        return
    shape, figures = run.translate(_SHAPES), run.isdigit()
    keys = frozenset(_grams(shape) or {f"short {shape}"})
    yield Probe(keys, lambda text: text.has_run(shape, figures=figures))


def _of_names(spelling: str) -> Iterator[Probe[WideText]]:
    for name in names_in(spelling):
        yield from (Probe(frozenset({_name_key(tail)})) for tail in name.tails)
        yield from _of_words(words_in(name.address))


def _of_marks(marks: str) -> Iterator[Probe[WideText]]:
    if marks:
        keys = frozenset(f"mark {one}" for one in marks)
        yield Probe(keys, lambda text: text.has_marks(marks))


def _name_key(name: str) -> str:
    return f"name {name.translate(_SHAPES)}"
