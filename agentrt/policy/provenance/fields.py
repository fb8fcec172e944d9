"""The fields of a JSON result, each a text with a path such as `messages[].body`."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any

__all__ = ["fields_of", "is_field", "may_hold_field"]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
_EVERYTHING = ("", "*")
_DIGITS_MAX = 400
_READ_TWO_WAYS = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}")


def fields_of(result_text: str) -> Iterator[tuple[str, str]]:
    """Every text and number in a result with the path of its field, in their order.

    The name of a field is itself a text, in the object around it. All items of a list have one
    path. What is not JSON is one field, "", and so is a text alone. Of a name that is there
    twice, both values are told.
    """
    waiting: list[tuple[str, Any]] = [("", _read(result_text))]
    while waiting:
        path, value = waiting.pop()
        match value:
            case str():
                yield path, value
            case tuple():
                inside = [(_joined(path, name), item) for name, item in value]
                names = [(path, name) for name, _ in value]
                waiting += reversed(
                    [one for pair in zip(names, inside, strict=True) for one in pair]
                )
            case list():
                waiting += [(f"{path}[]", item) for item in reversed(value)]
            case _:  # true, false and null are no texts
                pass


def is_field(path: str, patterns: Collection[str]) -> bool:
    """Whether a pattern covers the field: `body` covers `body[].text`, `*` covers everything."""
    return any(
        pattern in _EVERYTHING or path == pattern or path.startswith((f"{pattern}.", f"{pattern}["))
        for pattern in patterns
    )


def may_hold_field(path: str, patterns: Collection[str]) -> bool:
    """Whether the text of the field may be, be in, or have in it what a pattern covers.

    A result that is not JSON, or had to be cut, is one field with all others in it: what is
    told of untrusted fields must be thought of it too.
    """
    around = any(not path or pattern.startswith((f"{path}.", f"{path}[")) for pattern in patterns)
    return around or is_field(path, patterns)


def _read(text: str) -> Any:
    """The JSON value with objects as pairs and numbers as they are written, or the text."""
    try:
        return json.loads(
            text,
            object_pairs_hook=tuple,
            parse_int=str,
            parse_float=_written_out,
            parse_constant=str,
        )
    except (ValueError, RecursionError):
        return text


def _written_out(number: str) -> str:
    """A JSON number so that it can be read in one way only: 1.125 is also how some write 1125."""
    value = Decimal(number)
    if abs(value.adjusted()) > _DIGITS_MAX:
        return number
    written = format(value, "f")
    return f"{written}0" if _READ_TWO_WAYS.fullmatch(written) else written


def _joined(path: str, name: str) -> str:
    if not _PLAIN_NAME.fullmatch(name):
        return f"{path}[{json.dumps(name)}]"
    return f"{path}.{name}" if path else name
