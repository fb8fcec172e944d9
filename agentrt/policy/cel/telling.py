"""Values as JSON: whole, or cut to what a person reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agentrt.policy.cel.errors import Failed
from agentrt.policy.cel.times import Duration, Timestamp
from agentrt.policy.cel.values import INT_MAX, INT_MIN, double_text

__all__ = ["plain", "told"]

_DEPTH_MAX = 100
_TOLD_CHARACTERS_MAX = 200
_TOLD_ITEMS_MAX = 20
_TOLD_DEPTH_MAX = 4


def plain(value: Any, depth: int = 0) -> Any:
    """What a condition came to, as JSON: moments and durations are written out."""
    if depth > _DEPTH_MAX:
        raise Failed(f"the value nests deeper than {_DEPTH_MAX} levels")
    match value:
        case Timestamp() | Duration():
            return str(value)
        case list():
            return [plain(item, depth + 1) for item in value]
        case dict():
            return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    return value


def told(value: Any, depth: int = 0) -> Any:
    """The value for a person to read: long texts, long lists and deep nesting are cut."""
    match value:
        case None | bool():
            return value
        case str():
            return _cut(value)
        case int() | float():
            return _number(value)
        case Timestamp() | Duration():
            return str(value)
        case list() | tuple() | Mapping() if depth >= _TOLD_DEPTH_MAX:
            return f"[{len(value)} items]"
        case list() | tuple():
            return _told_list(value, depth)
        case Mapping():
            return _told_map(value, depth)
    return f"[{type(value).__name__}]"


def _told_list(items: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    found = [told(item, depth + 1) for item in items[:_TOLD_ITEMS_MAX]]
    more = len(items) - len(found)
    return [*found, f"[{more} more]"] if more else found


def _told_map(entries: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    keys = list(entries)
    found = {_cut(_key(key)): told(entries[key], depth + 1) for key in keys[:_TOLD_ITEMS_MAX]}
    more = len(keys) - len(found)
    return {**found, "[more]": more} if more > 0 else found


def _number(value: float) -> Any:
    if isinstance(value, int):
        return value if INT_MIN <= value <= INT_MAX else "[a number beyond 64 bits]"
    return value if math.isfinite(value) else double_text(value)


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _cut(text: str) -> str:
    clean = text[: _TOLD_CHARACTERS_MAX + 1].encode(errors="replace").decode()
    if len(clean) <= _TOLD_CHARACTERS_MAX:
        return clean
    return f"{clean[: _TOLD_CHARACTERS_MAX - 3]}..."
