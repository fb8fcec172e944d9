"""What keeps a value from having one canonical JSON form (RFC 8785), in words for Claude."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["DEPTH_MAX", "INTEGER_MAX", "at", "joined", "path_of", "plain_problems", "shown"]

DEPTH_MAX = 64
"""How deep arguments may nest."""
INTEGER_MAX = 2**53 - 1
"""The largest integer that every JSON reader reads as the same number."""
SHOWN_CHARACTERS_MAX = 80


def plain_problems(value: object, path: str = "", depth: int = 0) -> Iterator[str]:
    """What keeps this value from having one canonical JSON form (RFC 8785)."""
    match value:
        case None | bool():
            return
        case str():
            yield from _text_problems(value, path)
        case float() if not math.isfinite(value):
            yield f"{at(path)}expected a finite number, got {value}"
        # A float beyond this is whole, so it would be written, and read again, as an integer.
        case int() | float() if abs(value) > INTEGER_MAX:
            yield f"{at(path)}expected a number up to {INTEGER_MAX}, or text; got a larger one"
        case int() | float():
            return
        case list() | dict():
            yield from _inner_problems(value, path, depth)
        case _:
            yield f"{at(path)}expected JSON, got {type(value).__name__}"


def _inner_problems(value: list[Any] | dict[Any, Any], path: str, depth: int) -> Iterator[str]:
    if depth >= DEPTH_MAX:
        yield f"{at(path[:SHOWN_CHARACTERS_MAX])}nests deeper than {DEPTH_MAX} levels"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from plain_problems(item, f"{path}[{index}]", depth + 1)
    else:
        for key, item in value.items():
            yield from _key_problems(key, path)
            yield from plain_problems(item, joined(path, str(key)), depth + 1)


def _text_problems(text: str, path: str) -> Iterator[str]:
    try:
        text.encode()
    except UnicodeEncodeError:
        yield f"{at(path)}expected valid Unicode text, got half of a surrogate pair"


def _key_problems(key: object, path: str) -> Iterator[str]:
    if isinstance(key, str):
        yield from _text_problems(key, path)
    else:
        yield f"{at(path)}expected names that are text, got {shown(key)}"


def path_of(steps: Iterable[str | int]) -> str:
    """Steps as people write them: `lines[0].text`."""
    path = ""
    for step in steps:
        path = f"{path}[{step}]" if isinstance(step, int) else joined(path, step)
    return path


def joined(path: str, name: str) -> str:
    """The path of a property."""
    shown = name.encode(errors="replace").decode()
    return f"{path}.{shown}" if path else shown


def at(path: str) -> str:
    """A path as the beginning of a sentence; nothing at the top."""
    return f"`{path}`: " if path else ""


def shown(value: object) -> str:
    """A value, but not at length."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."
