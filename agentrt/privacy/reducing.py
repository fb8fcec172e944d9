"""JSON data with some of its fields hashed or dropped."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agentrt.privacy.keep import KEEPS, Keep, strictest

__all__ = ["DROPPED", "Fields", "Hash", "hashed_with", "keyed", "merged", "reduced"]

Fields = Mapping[str, Keep]
"""How much is kept of each field, by its path: `iban`, `customer.email`, `rows[].note`.

`*` stands for all of the value.
"""

Hash = Callable[[Any], str]
"""What stands for a value that is hashed."""

DROPPED = "[dropped]"


def hashed_with(key: bytes) -> Hash:
    """The mark of a hashed value: equal values have equal marks, and only under this key."""

    def mark(value: Any) -> str:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return f"[hash: {keyed(key, text)}]"

    return mark


def keyed(key: bytes, text: str) -> str:
    """What stands for a text, and tells nothing of it without the key."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:24]


def merged(all_fields: Iterable[Fields]) -> dict[str, Keep]:
    """What several say together: of each field the strictest."""
    found: dict[str, Keep] = {}
    for fields in all_fields:
        for path, how in fields.items():
            found[path] = strictest(found.get(path, "log"), how) if how in KEEPS else how
    return {path: how for path, how in found.items() if how != "log"}


def reduced(value: Any, fields: Fields, mark: Hash) -> Any:
    """`value` with the fields hashed or dropped that `fields` names; the rest as it is."""
    return _at(value, "", fields, mark) if fields else value


def _at(value: Any, path: str, fields: Fields, mark: Hash) -> Any:
    how = fields.get(path or "*", "log")
    if how == "drop":
        return DROPPED
    if how == "hash":
        return value if value is None else mark(value)
    match value:
        case dict():
            return {key: _at(item, _inner(path, key), fields, mark) for key, item in value.items()}
        case list():
            return [_at(item, f"{path}[]", fields, mark) for item in value]
        case _:
            return value


def _inner(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
