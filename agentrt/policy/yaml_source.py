"""A YAML file as data in which every key and value still knows its place.

A small, plain part of YAML, so that what a reviewer reads is what is meant: no anchors,
aliases or tags, no key twice, and as in YAML 1.2 only `true` and `false` are booleans and
only plain decimals are numbers (`no`, `1:30` and `0777` are text).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from typing import Protocol

import yaml

from agentrt.policy.problems import PolicyProblem
from agentrt.policy.yaml_places import LINE_BREAK, origins

__all__ = ["Data", "Path", "Place", "Source", "read_source"]

Path = tuple[str | int, ...]
"""Where a value is: keys and indexes from the top of the file."""

Data = dict[str, "Data"] | tuple["Data", ...] | str | int | bool | None

# libyaml, where PyYAML was built with it: reading takes a small part of the time.
_LOADER: type[yaml.BaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

_DEPTH_MAX = 12
_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})\Z")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
# All but what YAML 1.1 calls printable: of these, the two parsers tell in different ways.
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Place = tuple[int, int]
"""Line and column, from 1."""


class _Mark(Protocol):
    index: int
    line: int
    column: int


@dataclass(frozen=True)
class Source:
    """The data of one file, the places of its keys and values, and what could not be read."""

    file: str
    text: str
    data: Data = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    scalars: dict[Path, yaml.ScalarEvent] = field(default_factory=dict, repr=False)
    problems: tuple[PolicyProblem, ...] = ()

    @cached_property
    def lines(self) -> list[str]:
        """The text by lines, as YAML counts them."""
        return LINE_BREAK.split(self.text)

    def at_value(self, path: Path, message: str) -> PolicyProblem:
        """A problem with the value at `path`, or with the nearest one around it that exists."""
        return self.at(self._place_of(path), message)

    def at_key(self, path: Path, message: str) -> PolicyProblem:
        """A problem with the key that ends `path`."""
        place = self.keys.get(path)
        return self.at(place, message) if place else self.at_value(path, message)

    def line_of(self, path: Path) -> int:
        """The line on which the value at `path` begins."""
        return self.values[path][0]

    def place_in(self, path: Path, offset: int) -> Place:
        """Where character `offset` of the text at `path` stands; its length is just behind it.

        Where that cannot be said, the place of the value, or of the nearest one around it.
        """
        scalar = self.scalars.get(path)
        if scalar is None:
            return self._place_of(path)
        start, end = _index(scalar.start_mark), _index(scalar.end_mark)
        found = origins(self.text[start:end], scalar.style or "", scalar.value)
        if not found or not 0 <= offset <= len(found):
            return self._place_of(path)
        return self._place_at(start + [*found, found[-1] + 1][offset])

    def at(self, place: Place, message: str) -> PolicyProblem:
        """A problem at a place."""
        line, column = place
        return PolicyProblem(self.file, line, column, message, self._line(line))

    def _line(self, number: int) -> str:
        return self.lines[number - 1] if number <= len(self.lines) else ""

    def _place_of(self, path: Path) -> Place:
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def _place_at(self, index: int) -> Place:
        before = LINE_BREAK.split(self.text[:index])
        return len(before), len(before[-1]) + 1

    def _unreadable(self, found: re.Match[str]) -> PolicyProblem:
        message = f"the character U+{ord(found[0]):04X} is not accepted"
        return self.at(self._place_at(found.start()), message)

    def _syntax(self, error: yaml.MarkedYAMLError) -> PolicyProblem:
        place = _place(error.problem_mark or error.context_mark)
        said = ", ".join(part for part in (error.context, error.problem) if part)
        # What the end of the file came too early for is shown where the text ends.
        return self.at(min(place, self._place_at(len(self.text.rstrip()))), f"not YAML: {said}")


def read_source(file: str, text: str) -> Source:
    """The file as data; what is not plain YAML is in `problems`, and then there is no data."""
    source = Source(file, text.removeprefix("\ufeff"))
    if unreadable := _UNREADABLE.search(source.text):
        return replace(source, problems=(source._unreadable(unreadable),))
    walk = _Walk(source)
    data: Data = None
    try:
        data = walk.document()
    except yaml.MarkedYAMLError as error:
        walk.problems.append(source._syntax(error))
    return replace(
        source,
        data=None if walk.problems else data,
        values=walk.values,
        keys=walk.keys,
        scalars=walk.scalars,
        problems=tuple(walk.problems),
    )


def _index(mark: _Mark | None) -> int:
    return mark.index if mark else 0


def _place(mark: _Mark | None) -> Place:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


class _Walk:
    """Goes through what the parser tells once; keeps places and problems on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.values: dict[Path, Place] = {}
        self.keys: dict[Path, Place] = {}
        self.scalars: dict[Path, yaml.ScalarEvent] = {}
        self.problems: list[PolicyProblem] = []
        self._events = self._bounded(yaml.parse(source.text, Loader=_LOADER))

    def document(self) -> Data:
        """The data of the one document; None where there is none. Raises MarkedYAMLError."""
        documents: list[Data] = []
        while not isinstance(event := next(self._events), _ENDS):
            if isinstance(event, yaml.DocumentStartEvent):
                if documents:
                    self._tell(event, "not YAML: a file is one document, and here begins another")
                documents.append(self._value(next(self._events), ()))
        return documents[0] if documents else None

    def _bounded(self, events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
        """The events up to the first that is nested too deeply; then all that is open ends."""
        depth = 0
        for event in events:
            depth += _opens(event)
            if depth > _DEPTH_MAX:
                self._tell(event, "nested too deeply")
                break
            yield event
        yield from repeat(yaml.CollectionEndEvent())

    def _value(self, event: yaml.Event, path: Path) -> Data:
        self.values[path] = _place(event.start_mark)
        self._refuse_marks(event)
        match event:
            case yaml.ScalarEvent():
                self.scalars[path] = event
                return _scalar(event)
            case yaml.MappingStartEvent():
                return self._mapping(path)
            case yaml.SequenceStartEvent():
                return self._sequence(path)
            case _:  # an alias, which was refused
                return None

    def _mapping(self, path: Path) -> Data:
        data: dict[str, Data] = {}
        while not isinstance(event := next(self._events), yaml.CollectionEndEvent):
            key = self._key(event, data)
            value = next(self._events)
            if key is None:
                self._pass_over(value)
            else:
                self.keys[*path, key] = _place(event.start_mark)
                data[key] = self._value(value, (*path, key))
        return data

    def _sequence(self, path: Path) -> Data:
        items: list[Data] = []
        while not isinstance(event := next(self._events), yaml.CollectionEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return tuple(items)

    def _key(self, event: yaml.Event, seen: dict[str, Data]) -> str | None:
        self._refuse_marks(event)
        if not isinstance(event, yaml.ScalarEvent):
            self._tell(event, "a key must be a word")
            self._pass_over(event)
            return None
        key = str(event.value)
        if key in seen:
            self._tell(event, f"the key {key!r} is here twice")
        return key

    def _pass_over(self, event: yaml.Event) -> None:
        depth = _opens(event)
        while depth > 0:
            depth += _opens(next(self._events))

    def _refuse_marks(self, event: yaml.Event) -> None:
        if getattr(event, "anchor", None) is not None:
            self._tell(event, "anchors and aliases are not accepted: write it out")
        if getattr(event, "tag", None) is not None:
            self._tell(event, "tags are not accepted: write plain YAML")

    def _tell(self, event: yaml.Event, message: str) -> None:
        self.problems.append(self.source.at(_place(event.start_mark), message))


_ENDS = (yaml.StreamEndEvent, yaml.CollectionEndEvent)


def _opens(event: yaml.Event) -> int:
    """How many levels deeper it goes from here on."""
    if isinstance(event, yaml.CollectionStartEvent):
        return 1
    return -1 if isinstance(event, yaml.CollectionEndEvent) else 0


def _scalar(event: yaml.ScalarEvent) -> Data:
    text = str(event.value)
    if event.style:  # quoted or a block: text, whatever it looks like
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    return int(text) if _WHOLE_NUMBER.match(text) else text
