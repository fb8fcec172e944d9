"""A file of cases: YAML into cases, and every mistake at its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ConfigDict

from agentrt.events import User
from agentrt.policy.bundle import Policy
from agentrt.policy.case import Case, Earlier, Expected
from agentrt.policy.case_world import mistakes
from agentrt.policy.checks import known_keys, validated
from agentrt.policy.problems import PolicyProblem, refusal
from agentrt.policy.yaml_source import Data, Path, Source, read_source
from agentrt.tools import Tool

__all__ = ["case_schema", "load_cases", "read_cases"]

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_JSON_KEYS = ("args", "facts", "result", "set")
"""What goes to a tool or a condition as JSON, in which there are numbers with a point."""

Read = tuple[tuple[Case, ...], tuple[PolicyProblem, ...]]


def load_cases(*files: FilePath, policy: Policy, tools: Mapping[str, Tool]) -> tuple[Case, ...]:
    """The cases in `files`. Raises PolicyError with all problems."""
    read = [read_cases(str(file), file.read_text("utf-8"), policy, tools) for file in files]
    if problems := [problem for _, found in read for problem in found]:
        raise refusal(problems)
    return tuple(case for cases, _ in read for case in cases)


def read_cases(file: str, text: str, policy: Policy, tools: Mapping[str, Tool]) -> Read:
    """The cases of a file that can be run, and what is wrong with the others."""
    source = read_source(file, text)
    entries, problems = _entries(source)
    cases: list[Case] = []
    for path, entry in entries:
        case, found = _case(source, path, entry)
        if case is not None and not found:
            said = mistakes(case, policy, tools)
            found += [source.at_value((*path, *where), message) for where, message in said]
        found += _name_twice(source, path, case, cases)
        problems += found
        cases += [case] if case is not None and not found else []
    return tuple(cases), tuple(problems)


def case_schema() -> dict[str, Any]:
    """The JSON Schema of a file of cases, for editors."""
    return _Cases.model_json_schema()


class _Cases(BaseModel):
    """Cases for `agentrt policy test`."""

    model_config = ConfigDict(extra="forbid")

    cases: tuple[Case, ...]


def _entries(source: Source) -> tuple[list[tuple[Path, Mapping[str, Data]]], list[PolicyProblem]]:
    if not isinstance(source.data, dict):
        return [], list(source.problems or (source.at_value((), "write `cases:` and a list"),))
    data, problems = known_keys(source, (), source.data, known=("cases",))
    listed = data.get("cases")
    if not isinstance(listed, tuple):
        return [], [*problems, source.at_value(("cases",), "must be a list of cases")]
    entries = [(("cases", index), entry) for index, entry in enumerate(listed)]
    others = [path for path, entry in entries if not isinstance(entry, dict)]
    problems += [source.at_value(path, "a case is a mapping of keys and values") for path in others]
    return [(path, entry) for path, entry in entries if isinstance(entry, dict)], problems


def _case(
    source: Source, path: Path, entry: Mapping[str, Data]
) -> tuple[Case | None, list[PolicyProblem]]:
    data, problems = _known(source, path, entry, Case)
    for key, model in (("user", User), ("expect", Expected)):
        data[key], found = _known(source, (*path, key), data.get(key), model)
        problems += found
    data["results"], found = _results(source, (*path, "results"), data.get("results"))
    problems += found
    given = {key: value for key, value in data.items() if key in entry}
    place = {"file": source.file, "line": source.line_of(path)}
    case, found = validated(Case, given | place, source, path)
    return case, problems + found


def _results(source: Source, path: Path, data: Any) -> tuple[Any, list[PolicyProblem]]:
    if not isinstance(data, tuple):
        return data, []
    read = [_known(source, (*path, index), item, Earlier) for index, item in enumerate(data)]
    return tuple(item for item, _ in read), [problem for _, found in read for problem in found]


def _known(
    source: Source, path: Path, data: Any, model: type[BaseModel]
) -> tuple[Any, list[PolicyProblem]]:
    """The entries that the model knows, with JSON where it takes JSON, and the other keys."""
    if not isinstance(data, dict):
        return data, []
    names = [name for name in model.model_fields if name not in ("file", "line")]
    known, problems = known_keys(source, path, data, known=names)
    for key in known.keys() & set(_JSON_KEYS):
        known[key] = _json(source, (*path, key), known[key])
    return known, problems


def _json(source: Source, path: Path, data: Any) -> Any:
    match data:
        case dict():
            return {key: _json(source, (*path, key), value) for key, value in data.items()}
        case tuple():
            return [_json(source, (*path, index), item) for index, item in enumerate(data)]
        case str() if not source.scalars[path].style and _NUMBER.match(data):
            return float(data)
    return data


def _name_twice(
    source: Source, path: Path, case: Case | None, before: Sequence[Case]
) -> Iterator[PolicyProblem]:
    for other in before:
        if case is not None and case.name == other.name:
            message = f"the name {case.name!r} is taken: it is that of line {other.line}"
            yield source.at_value((*path, "name"), message)
