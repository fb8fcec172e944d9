"""The checks that every file of a bundle goes through: known keys, and values of their types."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agentrt.policy.problems import PolicyProblem, suggestion
from agentrt.policy.yaml_source import Data, Path, Source

__all__ = ["Checked", "known_keys", "validated"]

Model = TypeVar("Model", bound=BaseModel)
Checked = tuple[Model | None, list[PolicyProblem]]
"""The value, or what is wrong with it."""

_TYPES_SAID = {
    "string_type": "must be text; put it in quotes if it looks like something else",
    "string_too_short": "must not be empty",
    "tuple_type": "must be a list, such as [a, b]",
    "too_short": "must not be empty",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be a whole number from 1 to 99",
    "less_than_equal": "must be a whole number from 1 to 99",
    "dict_type": "must be a mapping of keys and values",
    "mapping_type": "must be a mapping of keys and values",
    "model_type": "must be a mapping of keys and values",
    "string_pattern_mismatch": "must begin with a letter or digit, with no blanks in it",
}


def known_keys(
    source: Source,
    path: Path,
    data: Mapping[str, Data],
    *,
    known: Collection[str],
    later: Collection[str] = (),
) -> tuple[dict[str, Data], list[PolicyProblem]]:
    """The entries whose keys are known, and a problem for each other one."""
    others = [key for key in data if key not in known]
    problems = [source.at_key((*path, key), _unknown(key, known, later)) for key in others]
    return {key: value for key, value in data.items() if key in known}, problems


def _unknown(key: str, known: Collection[str], later: Collection[str]) -> str:
    if key in later:
        return f"{key!r} is not supported yet: this version would not heed it, so it is refused"
    return f"unknown key {key!r}{suggestion(key, known)}"


def validated(
    model: type[Model], data: Mapping[str, Any], source: Source, path: Path
) -> Checked[Model]:
    """`data` as the model, or every problem pydantic finds, at its place in the file."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, [
            source.at_value((*path, *details["loc"]), _said(details))
            for details in error.errors()
            if not _follows(details)
        ]


def _follows(error: ErrorDetails) -> bool:
    """Whether pydantic tells it only because of another problem, which is told already."""
    of_wrong_items = error["type"] == "too_short" and bool(error["input"])
    return of_wrong_items or error["type"] == "default_factory_not_called"


def _said(error: ErrorDetails) -> str:
    """A problem in our words; pydantic's own where we have none."""
    match error["type"]:
        case "missing":
            return f"{error['loc'][-1]!r} is missing"
        case "value_error":
            return str(error["ctx"]["error"])
        case "literal_error":
            return _not_one_of(error["input"], re.findall(r"'(\w+)'", error["ctx"]["expected"]))
        case kind:
            return _TYPES_SAID.get(kind, error["msg"])


def _not_one_of(value: object, words: list[str]) -> str:
    choice = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
    if not isinstance(value, str):
        return f"must be {choice}"
    return f"{value!r} is not {choice}{suggestion(value, words)}"
