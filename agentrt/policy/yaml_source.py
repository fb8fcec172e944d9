"""A YAML file as data in which every key and value still knows its place.

A small, plain part of YAML, so that what a reviewer reads is what is meant: no anchors,
aliases or tags, no key twice, and as in YAML 1.2 only `true` and `false` are booleans and
only plain decimals are numbers (`no`, `1:30` and `0777` are text).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from agentrt.policy.problems import PolicyProblem

__all__ = ["Data", "Path", "Place", "Source", "read_source"]

Path = tuple[str | int, ...]
"""Where a value is: keys and indexes from the top of the file."""

Data = dict[str, "Data"] | tuple["Data", ...] | str | int | bool | None

_DEPTH_MAX = 12
_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})\Z")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
# The line breaks of YAML 1.1, which PyYAML counts by.
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

Place = tuple[int, int]
"""Line and column, from 1."""


class _Mark(Protocol):
    line: int
    column: int


@dataclass(frozen=True)
class Source:
    """The data of one file, the places of its keys and values, and what could not be read."""

    file: str
    lines: tuple[str, ...]
    data: Data = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    problems: tuple[PolicyProblem, ...] = ()

    def at_value(self, path: Path, message: str) -> PolicyProblem:
        """A problem with the value at `path`, or with the nearest one around it that exists."""
        while path and path not in self.values:
            path = path[:-1]
        return self.at(self.values.get(path, (1, 1)), message)

    def at_key(self, path: Path, message: str) -> PolicyProblem:
        """A problem with the key that ends `path`."""
        place = self.keys.get(path)
        return self.at(place, message) if place else self.at_value(path, message)

    def line_of(self, path: Path) -> int:
        """The line on which the value at `path` begins."""
        return self.values[path][0]

    def at(self, place: Place, message: str) -> PolicyProblem:
        """A problem at a place."""
        line, column = place
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return PolicyProblem(self.file, line, column, message, text)


def read_source(file: str, text: str) -> Source:
    """The file as data; what is not plain YAML is in `problems`, and then there is no data."""
    source = Source(file, tuple(_LINE_BREAK.split(text)))
    try:
        problems = tuple(_not_plain(source, text))
        root = None if problems else yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.reader.ReaderError as error:
        problems, root = (_unreadable(source, text, error),), None
    except yaml.MarkedYAMLError as error:
        problems, root = (_syntax(source, error),), None
    return _walked(source, root, problems)


def _walked(source: Source, root: yaml.Node | None, problems: tuple[PolicyProblem, ...]) -> Source:
    walk = _Walk(source)
    data = walk.data_of(root, ()) if root is not None else None
    found = (*problems, *walk.problems)
    return Source(source.file, source.lines, None if found else data, walk.values, walk.keys, found)


def _not_plain(source: Source, text: str) -> Iterator[PolicyProblem]:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        place = _place(event.start_mark)
        if depth > _DEPTH_MAX:
            yield source.at(place, "nested too deeply")
            return
        if getattr(event, "anchor", None) is not None:
            yield source.at(place, "anchors and aliases are not accepted: write it out")
        if getattr(event, "tag", None) is not None:
            yield source.at(place, "tags are not accepted: write plain YAML")


def _place(mark: _Mark | None) -> Place:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _syntax(source: Source, error: yaml.MarkedYAMLError) -> PolicyProblem:
    mark = error.problem_mark or error.context_mark
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return source.at(_place(mark), f"not YAML: {said}")


def _unreadable(source: Source, text: str, error: yaml.reader.ReaderError) -> PolicyProblem:
    before = _LINE_BREAK.split(text[: error.position])
    place = (len(before), len(before[-1]) + 1)
    return source.at(place, f"the character U+{error.character:04X} is not accepted")


class _Walk:
    """Goes through the nodes once; keeps places and problems on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.values: dict[Path, Place] = {}
        self.keys: dict[Path, Place] = {}
        self.problems: list[PolicyProblem] = []

    def data_of(self, node: yaml.Node, path: Path) -> Data:
        self.values[path] = _place(node.start_mark)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return tuple(self.data_of(item, (*path, i)) for i, item in enumerate(node.value))
            case yaml.ScalarNode():
                return _scalar(node)
            case _:
                raise TypeError(f"PyYAML has no other nodes than these: {node}")

    def _mapping(self, node: yaml.MappingNode, path: Path) -> Data:
        data: dict[str, Data] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, data)
            if key is not None:
                self.keys[*path, key] = _place(key_node.start_mark)
                data[key] = self.data_of(value_node, (*path, key))
        return data

    def _key(self, node: yaml.Node, seen: dict[str, Data]) -> str | None:
        key = str(node.value) if isinstance(node, yaml.ScalarNode) else None
        if key is None:
            self._tell(node, "a key must be a word")
        elif key in seen:
            self._tell(node, f"the key {key!r} is here twice")
        return key

    def _tell(self, node: yaml.Node, message: str) -> None:
        self.problems.append(self.source.at(_place(node.start_mark), message))


def _scalar(node: yaml.ScalarNode) -> Data:
    text = str(node.value)
    if node.style is not None:  # quoted or a block: text, whatever it looks like
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    return int(text) if _WHOLE_NUMBER.match(text) else text
