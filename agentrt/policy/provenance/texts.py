"""The texts of a run in which a value may stand, each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

from agentrt.policy.provenance.fields import fields_of
from agentrt.policy.provenance.index import Index
from agentrt.policy.provenance.narrow import BLANKS, NarrowText, narrow_probes, read_narrowly
from agentrt.policy.provenance.probe import Keyed, Probe
from agentrt.policy.provenance.wide import WideText, read_widely, wide_probes

__all__ = ["NOTHING_NAMED", "Place", "Texts"]


@dataclass(frozen=True)
class Place:
    """Where a value was found, in words for a person."""

    text: str
    """`user message 1`, `result of read_mail`."""
    field: str = ""
    """The path in a JSON result, such as `messages[].body`."""
    call: str = ""

    def __str__(self) -> str:
        field = f"field {self.field}" if self.field else ""
        call = f"call {self.call}" if self.call else ""
        return ", ".join(part for part in (self.text, field, call) if part)


NOTHING_NAMED = Place("empty: there is nothing that would have to be named")
"""The place of an empty text, list or object, and of null."""


class Texts:
    """Texts that only grow; `plus` costs little, and what was there before stays as it was.

    They are read when they are first asked, narrowly or widely, and then once. Texts made from
    one another share what was read, as the items of a Trail are shared; threads may share them.
    """

    __slots__ = ("_length", "_shelf")

    def __init__(self) -> None:
        self._shelf = _Shelf([])
        self._length = 0

    def plus(self, text: str, place: Place, *, besides: str | None = None) -> Texts:
        """These texts and one more.

        `besides` is the text of the arguments, where `text` is a result: a value that may be
        found in them is an echo. For `find_narrow` it does not count as found in this text.
        """
        more = Texts()
        more._shelf = self._shelf.with_entry(_Entry(text, place, besides), at=self._length)
        more._length = self._length + 1
        return more

    def find_narrow(self, value: Any) -> Place | None:
        """The first place of a JSON value, if each of its leaves stands in a text as it is.

        Names of fields are leaves. Blank texts, empty lists and objects and null name nothing and
        need no place; a boolean has none. A value of another type is looked up by its text.
        """
        places = []
        for leaf in _leaves(value):
            place = self._place_of(leaf)
            if place is None:
                return None
            places.append(place)
        return places[0] if places else NOTHING_NAMED

    def find_wide(self, value: Any) -> Place | None:
        """The first place that some leaf or name of a field in a JSON value may come from."""
        for leaf in _leaves(value):
            for number in self._shelf.wide.find(_wide_probes(leaf), count=self._length):
                return self._shelf.entries[number].place
        return None

    def _place_of(self, leaf: _Leaf) -> Place | None:
        for number in self._shelf.narrow.find(_narrow_probes(leaf), count=self._length):
            entry = self._shelf.entries[number]
            if entry.besides is None or not _in_arguments(leaf, entry.besides):
                return entry.place
        return None

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Texts) and self._entries == other._entries

    __hash__ = None  # type: ignore[assignment]

    @property
    def _entries(self) -> list[_Entry]:
        return self._shelf.entries[: self._length]


@dataclass(frozen=True, slots=True)
class _Entry:
    text: str
    place: Place
    besides: str | None


class _Shelf:
    """What texts that were made from one another share."""

    def __init__(self, entries: list[_Entry]) -> None:
        self.entries = entries
        self._texts = [entry.text for entry in entries]
        self.narrow: Index[NarrowText] = Index(self._texts, read_narrowly)
        self.wide: Index[WideText] = Index(self._texts, read_widely)
        self._lock = Lock()

    def with_entry(self, entry: _Entry, *, at: int) -> _Shelf:
        """The shelf for the first `at` entries and this one: itself, if it has no more."""
        with self._lock:
            if not 0 < at == len(self.entries):
                return _Shelf([*self.entries[:at], entry])
            self.entries.append(entry)
            self._texts.append(entry.text)
            return self


_Leaf = str | int | float | bool


def _leaves(value: Any) -> Iterator[_Leaf]:
    """The texts, numbers, booleans and names of fields in a JSON value, in their order."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case None:
                pass
            case Mapping() as fields:
                waiting += reversed([part for pair in fields.items() for part in pair])
            case list() | tuple() as items:
                waiting += reversed(items)
            case int() | float() as leaf:
                yield leaf
            case other:
                text = str(other)
                if text.strip(BLANKS):
                    yield text


def _narrow_probes(leaf: _Leaf) -> Iterator[Probe[NarrowText]]:
    return iter(()) if isinstance(leaf, bool) else narrow_probes(leaf)


def _wide_probes(leaf: _Leaf) -> Iterator[Probe[WideText]]:
    return iter(()) if isinstance(leaf, bool) else wide_probes(leaf)


def _in_arguments(leaf: _Leaf, besides: str) -> bool:
    arguments = _read_arguments(besides)
    return any(probe.fits(arguments) for probe in _wide_probes(leaf))


@lru_cache(maxsize=64)
def _read_arguments(besides: str) -> Keyed[WideText]:
    return read_widely("\n".join(text for _, text in fields_of(besides)))
