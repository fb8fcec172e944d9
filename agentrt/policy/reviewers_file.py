"""`reviewers.yaml` of a bundle: YAML into reviewers, and every mistake at its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agentrt.policy.checks import known_keys, validated
from agentrt.policy.problems import PolicyProblem
from agentrt.policy.public_keys import PublicKey
from agentrt.policy.reviewers import Reviewer, Reviewers
from agentrt.policy.yaml_source import Data, Path, Source

__all__ = ["read_reviewers_file"]

_KEYS = ("name", "roles", "keys", "valid_after", "valid_before")


def read_reviewers_file(source: Source) -> tuple[Reviewers, list[PolicyProblem]]:
    """All reviewers of the file; with problems they must not be used."""
    if source.problems:
        return Reviewers(), list(source.problems)
    if not isinstance(source.data, dict) or not isinstance(source.data.get("reviewers"), tuple):
        return Reviewers(), [source.at_value(("reviewers",), "`reviewers:` must be a list")]
    data, problems = known_keys(source, (), source.data, known=("reviewers",))
    people = []
    for path, item in _items(data["reviewers"]):
        reviewer, more = _reviewer(source, path, item)
        problems += more
        people += [reviewer] if reviewer else []
    problems += _named_twice(source)
    problems += _key_twice(source)
    return Reviewers(tuple(people)), problems


def _items(data: Data) -> Iterator[tuple[Path, Data]]:
    for index, item in enumerate(data if isinstance(data, tuple) else ()):
        yield ("reviewers", index), item


def _reviewer(
    source: Source, path: Path, item: Data
) -> tuple[Reviewer | None, list[PolicyProblem]]:
    if not isinstance(item, dict):
        return None, [source.at_value(path, "a reviewer is a mapping of keys and values")]
    data, problems = known_keys(source, path, item, known=_KEYS)
    reviewer, more = validated(Reviewer, data, source, path)
    return reviewer, problems + more


def _named_twice(source: Source) -> Iterator[PolicyProblem]:
    seen: set[Data] = set()
    for path, item in _mappings(source):
        name = item.get("name")
        if isinstance(name, str) and name in seen:
            yield source.at_value((*path, "name"), f"there is another reviewer {name!r}")
        elif isinstance(name, str):
            seen.add(name)


def _key_twice(source: Source) -> Iterator[PolicyProblem]:
    seen: dict[bytes, int] = {}
    for path, line in _key_lines(source):
        blob = _blob(line)
        if blob in seen:
            message = f"this key is in line {seen[blob]} too: a key belongs to one reviewer, once"
            yield source.at_value(path, message)
        elif blob:
            seen[blob] = source.line_of(path)


def _key_lines(source: Source) -> Iterator[tuple[Path, str]]:
    for path, item in _mappings(source):
        keys = item.get("keys")
        for index, line in enumerate(keys if isinstance(keys, tuple) else ()):
            if isinstance(line, str):
                yield (*path, "keys", index), line


def _mappings(source: Source) -> Iterator[tuple[Path, Mapping[str, Data]]]:
    top = source.data if isinstance(source.data, dict) else {}
    return ((path, item) for path, item in _items(top.get("reviewers")) if isinstance(item, dict))


def _blob(line: str) -> bytes:
    try:
        return PublicKey.parse(line).blob
    except ValueError:
        return b""  # told already, where the key was read
