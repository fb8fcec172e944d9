"""What a tool gave back, as JSON text of a bounded size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from agentrt.errors import ToolDefinitionError
from agentrt.tools.canonical import INTEGER_MAX

__all__ = ["RESULT_BYTES_MAX", "Result", "result_json"]

RESULT_BYTES_MAX = 100_000


@dataclass(frozen=True)
class Result:
    """A result as it is recorded and sent to Claude."""

    json_text: str
    """Always valid JSON: a string, when the result was text or had to be cut."""
    cut_bytes: int = 0
    """How many bytes of the result were left out."""


def result_json(
    value: object,
    *,
    max_bytes: int = RESULT_BYTES_MAX,
    change: Callable[[Any], Any] = lambda value: value,
) -> Result:
    """Write a result as JSON; beyond `max_bytes` of UTF-8 it is cut, and says so at its end.

    `change` is made to it before, as JSON data: what is cut could no longer be recognized.
    Integers beyond 2**53-1, NaN and infinities become text, as JSON has no place for them.
    Raises ToolDefinitionError when it cannot be written: the tool ran all the same.
    """
    plain = change(_plain(value))
    text = plain if isinstance(plain, str) else to_json(plain).decode()
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return Result(to_json(plain).decode())
    kept = encoded[:max_bytes].decode(errors="ignore")
    cut_bytes = len(encoded) - len(kept.encode())
    notice = f"\n[{cut_bytes} of {len(encoded)} bytes were cut here: ask for less at once.]"
    return Result(to_json(kept + notice).decode(), cut_bytes)


def _plain(value: object) -> Any:
    if isinstance(value, Iterator):
        raise _unwritable(f"it is a {type(value).__name__}, not a list")
    try:
        plain = to_jsonable_python(value, inf_nan_mode="strings")
        _refuse_bytes(value)
        return _readable_everywhere(plain)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise _unwritable(str(error)) from error


def _unwritable(reason: str) -> ToolDefinitionError:
    advice = "Return text, numbers, lists, dicts, dates, dataclasses or pydantic models"
    return ToolDefinitionError(
        f"The tool ran but its result cannot be written as JSON: {reason}. {advice}."
    )


def _refuse_bytes(value: object) -> None:
    """Bytes that happen to be UTF-8 would become text today and an error tomorrow."""
    match value:
        case bytes() | bytearray() | memoryview():
            raise ValueError("it contains bytes: decode them")
        case dict():
            for item in value.values():
                _refuse_bytes(item)
        case list() | tuple() | set() | frozenset():
            for item in value:
                _refuse_bytes(item)


def _readable_everywhere(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int() if abs(value) > INTEGER_MAX:
            return str(value)
        case float() if value != value or value in (float("inf"), float("-inf")):
            return str(value)
        case str():
            value.encode()
            return value
        case list():
            return [_readable_everywhere(item) for item in value]
        case dict():
            return {str(key): _readable_everywhere(item) for key, item in value.items()}
    return value
