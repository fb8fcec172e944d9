"""Google's CEL in a process of its own, since it may abort: JSON lines in, JSON lines out.

A line in is a list of questions, `{"text", "variables": {name: [type, value]}}` with the value
as JSON, or `{"parse": text}`. A line out answers one: `[kind, content]`. The text of a question
comes to a list whose first item, `depth` lists down, is what was asked for: a bare null aborts
Python 3.11.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]

_UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def main() -> None:
    for line in sys.stdin:
        for question in json.loads(line):
            print(json.dumps(_answer(question)), flush=True)


def _answer(question: dict[str, Any]) -> tuple[str, Any]:
    if "parse" in question:
        return _parsed(question["parse"])
    variables = question["variables"]
    try:
        expression = _compiled(question["text"], variables)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return "refused", str(error)
    try:
        data = {name: value for name, (_, value) in variables.items()}
        return _evaluated(expression.eval(data=data), question["depth"])
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return "error", str(error)


def _compiled(text: str, variables: dict[str, Any]) -> cel.Expression:
    environment = _environment(tuple((name, of) for name, (of, _) in variables.items()))
    try:
        return environment.compile(text)
    except Exception:
        if "dyn(" not in text and not variables:
            raise
        # What comes from outside is dyn, and of `dyn - dyn` the checker guesses that it is an int.
        return environment.compile(text, disable_check=True)


def _parsed(text: str) -> tuple[str, Any]:
    try:
        _environment(()).compile(text, disable_check=True)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return "refused", str(error)
    return "value", None


@cache
def _environment(variables: tuple[tuple[str, str], ...]) -> cel.Env:
    return cel.NewEnv(variables={name: _type(of) for name, of in variables})


def _type(signature: str) -> cel.Type:
    """`int`, `list(int)`, `map(string,dyn)`"""
    if signature.startswith("list("):
        return cel.Type.List(_type(signature[5:-1]))
    if signature.startswith("map("):
        key, _, value = signature[4:-1].partition(",")
        return cel.Type.Map(_type(key), _type(value))
    return getattr(cel.Type, signature.upper())


def _evaluated(value: cel.Value, depth: int) -> tuple[str, Any]:
    for _ in range(depth):
        if value.type() == cel.Type.ERROR:
            return "error", str(value.value())
        value = value.value()[0]
    return "value", _encoded(value)


def _encoded(value: cel.Value) -> Any:
    """As answers.py does it."""
    if value.type() == cel.Type.TIMESTAMP:
        return {"timestamp": str(_nanos_of_moment(value))}
    if value.type() == cel.Type.DURATION:
        return {"duration": str(_nanos_of_duration(str(value)))}
    return _encoded_plain(value.value())


def _nanos_of_moment(value: cel.Value) -> int:
    """Python's moment has no nanoseconds, but the text has: `1969-12-31T23:59:59.5Z`."""
    since: timedelta = value.value().replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)
    fraction = str(value).rstrip("Z").partition(".")[2]
    return since // timedelta(seconds=1) * 10**9 + int(fraction.ljust(9, "0"))


def _nanos_of_duration(text: str) -> int:
    """From `-1h30m0.5s`, as absl::FormatDuration writes it."""
    parts = re.findall(r"([0-9.]+)(h|ms|m|s|us|ns)", text)
    nanos = sum(Decimal(number) * _UNITS[unit] for number, unit in parts)
    return int(-nanos if text.startswith("-") else nanos)


def _encoded_plain(plain: Any) -> Any:
    match plain:
        case None | bool() | str():
            return plain
        case int():
            return {"int": str(plain)}
        case float():
            return {"double": repr(plain)}
        case list():
            return [_encoded(item) for item in plain]
        case dict():
            pairs = [[_encoded_plain(key), _encoded(item)] for key, item in plain.items()]
            return {"map": sorted(pairs, key=lambda pair: json.dumps(pair[0]))}
    return {"unknown": repr(plain)}


if __name__ == "__main__":
    main()
