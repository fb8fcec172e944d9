"""Integrity: every record, its content and its chain against their hashes, at the speed of hashing.

It folds no run and compares no list, so it keeps nothing but the head of each run; see `verify` for
the walk that does. What it needs of a header it finds by its place in the canonical form, and only
of a record that does not fit is the JSON read.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Connection, LargeBinary, bindparam, select
from sqlalchemy.ext.compiler import compiles

from agentrt.audit.erasures import Places, erased_in, place_of
from agentrt.audit.findings import Finding, Verification
from agentrt.audit.statements import Prepared
from agentrt.audit.tables import ContentRow, EventRow, SharedRow, columns
from agentrt.errors import StoreCorrupt

__all__ = ["Heads", "check_records"]

_event, _content, _shared = columns(EventRow), columns(ContentRow), columns(SharedRow)

PAGE = 5_000

PLACES = re.compile(
    rb'"parts":(\{[^{}]*\}),.*?"prev":"([0-9a-f]*)",.*?"run":"([^"\\]*)",.*?'
    rb'"seq":([0-9]+),.*?"shared":(\{[^{}]*\})'
)
"""The fields of the record in a canonical header, whose keys are sorted and strings escaped."""

Progress = Callable[[int], None]
Row = tuple[int, bytes, bytes]
Parts = Mapping[str, str]
Contents = Mapping[tuple[bytes, int], bytes]
"""Of a page: the commitments of each record's content as they come out now, written as in its
header."""


class _header_bytes(ColumnElement[bytes]):  # noqa: N801 - reads as the function it is
    """The header as bytes: a damaged text may not even be UTF-8."""

    inherit_cache = True
    type = LargeBinary()


@compiles(_header_bytes, "sqlite")
def _in_sqlite(_element: _header_bytes, _compiler: Any, **_options: Any) -> str:
    return "CAST(event.header AS BLOB)"


@compiles(_header_bytes, "postgresql")
def _in_postgresql(_element: _header_bytes, _compiler: Any, **_options: Any) -> str:
    return "convert_to(event.header, 'UTF8')"


def _records(*where: Any) -> Prepared:
    query = select(_event.pos, _header_bytes(), _event.hash).select_from(EventRow)
    return Prepared(query.where(*where).order_by(_event.pos).limit(PAGE))


ALL = _records(_event.pos > bindparam("after"))
OF_RUN = _records(_event.pos > bindparam("after"), _event.run == bindparam("run"))
NEWER_OF_RUN = _records(
    _event.pos > bindparam("after"),
    _event.run == bindparam("run"),
    _event.seq > bindparam("seq"),
)
CONTENT = Prepared(
    select(_content.seq, _content.part, _content.salt, _content.body)
    .where(
        _content.run == bindparam("run"),
        _content.seq.between(bindparam("low"), bindparam("high")),
    )
    .order_by(_content.seq, _content.part)
)


@dataclass(slots=True)
class Heads:
    """How far each run was followed: `seq` and hash of its newest record, by its name's bytes."""

    of: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    shared: set[bytes] = field(default_factory=lambda: {b"{}"})
    """What headers say of shared texts that are as they were."""
    erased: Mapping[str, Places] | None = None

    def erased_in(self, connection: Connection) -> Mapping[str, Places]:
        """What records say of content that is no longer as it was written: read when asked for."""
        if self.erased is None:
            self.erased = erased_in(connection)
        return self.erased


def check_records(
    connection: Connection,
    result: Verification,
    *,
    run: str | None = None,
    heads: Heads | None = None,
    progress: Progress = lambda _count: None,
) -> Heads:
    """Check all records, or those of one run, in the order of arrival, and go on from `heads`."""
    heads = heads if heads is not None else Heads()
    heads.erased = None
    for rows in _pages(connection, run, heads):
        _check_page(connection, rows, heads, result)
        progress(result.records)
    return heads


def _check_page(
    connection: Connection, rows: Sequence[Row], heads: Heads, result: Verification
) -> None:
    found = [PLACES.search(header) for _, header, _ in rows]
    contents = _contents(connection, found)
    of, shared = heads.of, heads.shared
    result.records += len(rows)
    for row, match in zip(rows, found, strict=True):
        _, header, digest = row
        if match is None:
            _tell(connection, row, contents, heads, result)
            continue
        promised, prev, run, number, texts = match.groups()
        seq = int(number)
        last, head = of.get(run, (0, b""))
        if (
            hashlib.sha256(b"\x00" + header).digest() != digest
            or seq != last + 1
            or prev != head.hex().encode()
            or promised[1:-1] != contents.get((run, seq), b"")
            or texts not in shared
        ):
            _tell(connection, row, contents, heads, result)
        of[run] = (seq, digest if type(digest) is bytes else b"")


# --- what is wrong with a record that does not fit --------------------------------------------


def _tell(
    connection: Connection, row: Row, contents: Contents, heads: Heads, result: Verification
) -> None:
    pos, header, _ = row
    data = _data(header)
    if data is None:
        what = f"the record at position {pos} is not readable"
        result.findings.append(Finding("the store", None, what))
        return
    run, seq = data["run"], data["seq"]
    for what in _wrong_with(connection, row, data, contents, heads, result):
        result.findings.append(Finding(run, seq, what))
    heads.of[run.encode()] = (seq, _bytes(row[2]))


def _wrong_with(
    connection: Connection,
    row: Row,
    data: Mapping[str, Any],
    contents: Contents,
    heads: Heads,
    result: Verification,
) -> Iterator[str]:
    _, header, digest = row
    if hashlib.sha256(b"\x00" + header).digest() != digest:
        yield "its header is not what its hash was made of"
    run, seq = data["run"].encode(), data["seq"]
    last, head = heads.of.get(run, (0, b""))
    if seq != last + 1:
        yield f"it stands after record {last}: records are missing, swapped or repeated"
    elif data.get("prev") != head.hex():
        yield "it does not name the hash of the record before it"
    parts = from_json(b"{%s}" % contents.get((run, seq), b""))
    yield from _wrong_content(data, parts, heads.erased_in(connection), result)
    yield from _wrong_shared(connection, data["shared"], heads)


def _wrong_content(
    data: Mapping[str, Any], parts: Parts, erased: Mapping[str, Places], result: Verification
) -> Iterator[str]:
    promised: Parts = data["parts"]
    places = erased.get(data["run"], {})
    for name, written in promised.items():
        expected = places.get(place_of(data["seq"], name), written)
        if expected is None:
            result.erased += 1
        if name not in parts and expected is not None:
            yield f"its content {name!r} is gone and no record says that it was forgotten"
        elif name in parts and expected is None:
            yield f"its content {name!r} is there, and a record says that it was forgotten"
        elif name in parts and parts[name] != expected:
            yield f"its content {name!r} was changed"
    for name in parts.keys() - promised.keys():
        yield f"it has a content {name!r} that it does not speak of"


def _wrong_shared(connection: Connection, promised: Parts, heads: Heads) -> Iterator[str]:
    intact = True
    for name, digest in promised.items():
        query = select(_shared.body).where(_shared.digest == digest)
        body = connection.execute(query).scalar()
        if not isinstance(body, bytes) or hashlib.sha256(body).hexdigest() != digest:
            intact = False
            yield f"its text {name!r} was changed or is gone"
    if intact:
        heads.shared.add(_object(promised))


def _data(header: bytes) -> dict[str, Any] | None:
    """The header, if it has the shape of one."""
    try:
        data = from_json(header, allow_inf_nan=False)
        seq = data["seq"]
        shaped = (
            type(data["run"]) is str
            and type(seq) is int
            and seq > 0
            and _is_texts(data["parts"])
            and _is_texts(data["shared"])
        )
    except (ValueError, TypeError, KeyError):
        return None
    return data if shaped else None


def _is_texts(value: Any) -> bool:
    return type(value) is dict and all(type(each) is str for each in value.values())


# --- out of the tables ------------------------------------------------------------------------


def _pages(connection: Connection, run: str | None, heads: Heads) -> Iterator[list[Row]]:
    last = 0
    while True:
        if run is None:
            rows = ALL.rows(connection, after=last)
        elif known := heads.of.get(run.encode()):
            rows = NEWER_OF_RUN.rows(connection, after=last, run=run, seq=known[0])
        else:
            rows = OF_RUN.rows(connection, after=last, run=run)
        if not rows:
            return
        yield rows
        if rows[-1][0] <= last:
            raise StoreCorrupt("The table of records is damaged: it comes back to where it was.")
        last = rows[-1][0]


def _contents(connection: Connection, found: Sequence[re.Match[bytes] | None]) -> Contents:
    """The content of a page, which holds a stretch of each of a few runs."""
    spans: dict[bytes, tuple[int, int]] = {}
    for match in found:
        if match is not None:
            run, seq = match[3], int(match[4])
            low, high = spans.get(run, (seq, seq))
            spans[run] = (min(low, seq), max(high, seq))
    made: dict[tuple[bytes, int], bytes] = {}
    sha256 = hashlib.sha256
    for run, (low, high) in spans.items():
        rows = CONTENT.rows(connection, run=run.decode(errors="replace"), low=low, high=high)
        for seq, part, salt, body in rows:
            try:
                digest = sha256(salt + body).digest()
            except TypeError:  # a damaged file may give anything where bytes were written
                digest = sha256(_bytes(salt) + _bytes(body)).digest()
            entry = b'"%s":"%s"' % (str(part).encode(), b2a_base64(digest, newline=False))
            if (before := made.get((run, seq))) is None:
                made[run, seq] = entry
            else:
                made[run, seq] = before + b"," + entry
    return made


def _object(texts: Parts) -> bytes:
    entries = (b'"%s":"%s"' % (name.encode(), texts[name].encode()) for name in sorted(texts))
    return b"{%s}" % b",".join(entries)


def _bytes(value: Any) -> bytes:
    """What a damaged file gives where bytes were written may be anything."""
    return bytes(value) if isinstance(value, bytes | memoryview) else b""
