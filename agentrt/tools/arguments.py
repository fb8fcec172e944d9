"""Claude's input becomes completed arguments, or a list of what to put right."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from pydantic import JsonValue, ValidationError

from agentrt.errors import ArgumentsInvalid
from agentrt.tools.canonical import at, joined, path_of, plain_problems, shown
from agentrt.tools.schema import Parameters

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.exceptions import ValidationError as Mismatch

__all__ = ["Completer"]

_PROBLEMS_MAX = 10
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")

_WORDS = {
    "type": "{}",
    "const": "{!r}",
    "enum": "one of {}",
    "format": "text in the format {}",
    "pattern": "text that matches {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} properties",
    "maxProperties": "at most {} properties",
    "uniqueItems": "items that differ",
}


class Completer:
    """Checks one tool's input: plain JSON first, then the schema, then pydantic."""

    def __init__(self, tool: str, parameters: Parameters) -> None:
        self._tool = tool
        self._parameters = parameters

    def complete(self, arguments: object) -> dict[str, JsonValue]:
        """Return the arguments with their defaults; twice gives the same as once.

        Raises ArgumentsInvalid, in words meant for Claude.
        """
        completed = self._completed(arguments)
        if completed != arguments:
            self._check_stable(completed)
        return completed

    def python_values(self, arguments: Mapping[str, JsonValue]) -> dict[str, object]:
        """What the function gets. Raises ArgumentsInvalid."""
        try:
            return self._parameters.python_values(arguments)
        except ValidationError as error:
            raise self._invalid(_model_problems(error)) from error
        except Exception as error:  # a validator the tool's author wrote
            raise self._invalid([f"its own check failed with {type(error).__name__}"]) from error

    def _completed(self, arguments: object) -> dict[str, JsonValue]:
        if not isinstance(arguments, dict):
            raise self._invalid([f"expected an object, got {shown(arguments)}"])
        self._refuse(plain_problems(arguments))
        self._refuse(_schema_problems(self._validator.iter_errors(arguments)))
        completed = self._dumped(arguments)
        self._refuse(plain_problems(completed))
        return completed

    def _dumped(self, arguments: dict[str, JsonValue]) -> dict[str, JsonValue]:
        try:
            built = self._parameters.model.model_validate(arguments)
            return built.model_dump(mode="json", by_alias=True)
        except ValidationError as error:
            raise self._invalid(_model_problems(error)) from error
        except Exception as error:  # a validator the tool's author wrote
            raise self._invalid([f"its own check failed with {type(error).__name__}"]) from error

    def _check_stable(self, completed: dict[str, JsonValue]) -> None:
        # The function's values are built from the completed arguments: a validator that
        # changes them again would run something else than what was approved.
        try:
            again = self._completed(completed)
        except ArgumentsInvalid as error:
            raise self._unstable() from error
        if again != completed:
            raise self._unstable()

    def _unstable(self) -> ArgumentsInvalid:
        problem = "the tool reads its own arguments differently the second time"
        return self._invalid([f"{problem}. This is a fault of the tool: say so, do not try again"])

    def _refuse(self, problems: Iterable[str]) -> None:
        if found := list(dict.fromkeys(problems)):
            raise self._invalid(found)

    def _invalid(self, problems: list[str]) -> ArgumentsInvalid:
        more = len(problems) - _PROBLEMS_MAX
        lines = problems[:_PROBLEMS_MAX] + ([f"and {more} more"] if more > 0 else [])
        heading = f"The arguments do not fit {self._tool}:"
        return ArgumentsInvalid("\n".join([heading, *(f"- {line}" for line in lines)]))

    @cached_property
    def _validator(self) -> "Draft202012Validator":
        from jsonschema import Draft202012Validator

        return Draft202012Validator(self._parameters.schema, format_checker=_format_checker())


def _format_checker() -> "FormatChecker":
    from jsonschema import FormatChecker

    checker = FormatChecker()
    checker.checks("date-time", raises=ValueError)(_is_date_time)
    return checker


def _is_date_time(value: object) -> bool:
    """A date with a time, its offset optional; pydantic alone would take "1700000000" too."""
    if not isinstance(value, str):
        return True
    return bool(_DATE_TIME.match(value)) and bool(datetime.fromisoformat(value))


def _schema_problems(mismatches: Iterable["Mismatch"]) -> Iterator[str]:
    ordered = sorted(mismatches, key=lambda mismatch: [str(p) for p in mismatch.absolute_path])
    for mismatch in ordered:
        yield from _mismatch_problems(mismatch)


def _mismatch_problems(mismatch: "Mismatch") -> Iterator[str]:
    path = path_of(mismatch.absolute_path)
    schema = cast("Mapping[str, Any]", mismatch.schema)
    match mismatch.validator:
        case "required":
            missing = [n for n in schema["required"] if n not in cast("Any", mismatch.instance)]
            for name in missing:
                yield f"`{joined(path, name)}` is missing: expected {_expected_of(schema, name)}"
        case "additionalProperties" if schema.get("additionalProperties") is False:
            known = schema.get("properties", {})
            for name in cast("Any", mismatch.instance):
                if name not in known:
                    yield f"`{joined(path, name)}` is not known here: {_takes(known)}"
        case _:
            yield f"{at(path)}expected {_expected(mismatch)}, got {shown(mismatch.instance)}"


def _takes(known: Mapping[str, Any]) -> str:
    return f"expected only {', '.join(f'`{name}`' for name in known)}" if known else "takes nothing"


def _expected(mismatch: "Mismatch") -> str:
    keyword = str(mismatch.validator)
    if words := _WORDS.get(keyword):
        return words.format(_listed(mismatch.validator_value))
    return _expected_value(cast("Mapping[str, Any]", mismatch.schema))


def _expected_of(schema: Mapping[str, Any], name: str) -> str:
    return _expected_value(schema.get("properties", {}).get(name, {}))


def _expected_value(schema: Mapping[str, Any]) -> str:
    """A few words for what a schema asks."""
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_expected_value(choice) for choice in choices))
    for keyword in ("const", "enum", "format", "type"):
        if keyword in schema:
            return _WORDS[keyword].format(_listed(schema[keyword]))
    return "a value that fits the schema"


def _listed(value: object) -> object:
    return ", ".join(map(repr, value)) if isinstance(value, list) else value


def _model_problems(error: ValidationError) -> list[str]:
    return [
        f"{at(path_of(problem['loc']))}{problem['msg']}, got {shown(problem['input'])}"
        for problem in error.errors(include_url=False, include_context=False)
    ]
