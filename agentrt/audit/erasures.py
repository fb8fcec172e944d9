"""What the records say of content that is no longer as it was written: erased, or replaced."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, LargeBinary, cast, func, select

from agentrt.audit.tables import EventRow, columns

__all__ = ["Places", "erased_in", "place_of"]

Places = Mapping[str, str | None]
"""By place, `seq/field`: the commitment to what is there now, or None when nothing may be."""

MARK = '"type":"content.'
"""In the header of every record of an erasure, which is canonical JSON."""

TYPES = ("content.reduced", "content.forgotten")

_event = columns(EventRow)


def place_of(seq: int, part: str) -> str:
    """How a record of an erasure names a field of another record of its run."""
    return f"{seq}/{part}"


def erased_in(connection: Connection, run: str | None = None) -> dict[str, Places]:
    """What was erased or replaced, by run; of one run when it is named.

    Headers are searched, not columns made from them: `verify` trusts nothing else.
    """
    query = select(_as_bytes(connection)).where(_event.header.contains(MARK)).order_by(_event.pos)
    query = query if run is None else query.where(_event.run == run)
    found: dict[str, dict[str, str | None]] = {}
    for header in _readable(connection.execute(query).scalars()):
        if header.get("type") in TYPES:
            places = found.setdefault(str(header.get("run")), {})
            places.update(header.get("replaced") or {})
            places.update(dict.fromkeys(header.get("erased") or ()))
    return dict(found)


def _as_bytes(connection: Connection) -> Any:
    """The header as bytes: a damaged text may not even be UTF-8."""
    if connection.dialect.name == "postgresql":
        return func.convert_to(_event.header, "UTF8")
    return cast(_event.header, LargeBinary)


def _readable(headers: Iterable[Any]) -> Iterable[dict[str, Any]]:
    """Headers that are some; whether they are as they were written is for `verify` to say."""
    for header in headers:
        try:
            data = json.loads(bytes(header))
        except (ValueError, TypeError, RecursionError):
            continue
        if isinstance(data, dict):
            yield data
