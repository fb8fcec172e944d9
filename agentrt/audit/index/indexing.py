"""Indexing: the records that came since are read, and the entries that they touch made anew.

Each batch is a transaction of its own, so that appends wait for it a few milliseconds at most,
and whoever is stopped in the middle goes on where it stopped.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from agentrt.audit.index.entries import (
    SEARCHED,
    Entry,
    Heading,
    Known,
    call_entry,
    named_in,
    run_entry,
)
from agentrt.audit.index.standing import standing
from agentrt.audit.index.tables import (
    FORMAT,
    argument,
    drop_index,
    entry,
    fact,
    make_index,
    mark,
    stale,
)
from agentrt.audit.index.views import drop_views, make_views
from agentrt.audit.index.words import put_words, take_words
from agentrt.audit.query.terms import CHOICES
from agentrt.audit.store import STORE_CHAIN, AuditStore
from agentrt.audit.tables import (
    CallRow,
    ContentRow,
    EventRow,
    RunRow,
    SharedRow,
    StoreRow,
    columns,
)

__all__ = ["Progress", "catch_up", "rebuild"]

BATCH = 1_000
"""Records read in one transaction."""

STALE_RUNS = 100
"""Runs read again in one transaction."""

Progress = Callable[[int], None]
Place = tuple[str, int]

_event, _content, _shared = columns(EventRow), columns(ContentRow), columns(SharedRow)
_run, _call, _store = columns(RunRow), columns(CallRow), columns(StoreRow)

ENDINGS = ("run.cancelled", "run.failed", "run.resumed")
"""What befalls a run and its open calls."""

_OUTCOME_VALUES = (*CHOICES["outcome"], "new")
"""All that an entry's outcome can have been: the one fact that changes."""


def catch_up(store: AuditStore, *, progress: Progress = lambda _count: None) -> int:
    """Read what came since the last time; how many records that were."""
    count = 0
    with store.reading() as connection:
        seen = standing(connection)
    if seen.current:
        return 0
    if not seen.exists:
        store.derive(_begin_anew)
    names = _Names()
    while True:
        done = store.derive(lambda connection: _Batch(connection, names).read())
        if not done:
            return count
        count += done
        progress(count)


def rebuild(store: AuditStore, *, progress: Progress = lambda _count: None) -> int:
    """Make the index anew from the records alone; how many were read."""
    store.derive(_begin_anew)
    return catch_up(store, progress=progress)


def _begin_anew(connection: Connection) -> None:
    drop_views(connection)
    drop_index(connection)
    make_index(connection)
    make_views(connection)
    own = connection.execute(select(_store.id)).scalar_one()
    connection.execute(insert(mark).values(format=FORMAT, store=own, pos=0))


class _Names:
    """The paths of arguments that policies and tools name, read once for each of them."""

    def __init__(self) -> None:
        self._of_bundle: dict[str, frozenset[str]] = {}
        self._of_definition: dict[str, Mapping[str, frozenset[str]]] = {}

    def of(
        self, connection: Connection, *, bundle: str, definition: str, tool: str
    ) -> frozenset[str]:
        """The paths that are indexed of a call of `tool`, decided by `bundle`."""
        if bundle not in self._of_bundle:
            self._read_bundles(connection)
        if definition not in self._of_definition:
            self._of_definition[definition] = _searchable(_body(connection, definition))
        by_tool = self._of_definition[definition].get(tool, frozenset())
        return self._of_bundle.setdefault(bundle, frozenset()) | by_tool

    def _read_bundles(self, connection: Connection) -> None:
        loaded = select(_event.header).where(
            _event.run == STORE_CHAIN, _event.type == "bundle.loaded"
        )
        for header in connection.execute(loaded).scalars():
            data = json.loads(header)
            if data["bundle"] not in self._of_bundle:
                files = json.loads(_body(connection, data["shared"]["files"]) or b"{}")
                self._of_bundle[data["bundle"]] = named_in(files.values())


def _body(connection: Connection, digest: str) -> bytes | None:
    body: bytes | None = connection.execute(
        select(_shared.body).where(_shared.digest == digest)
    ).scalar()
    return body


def _searchable(definition: bytes | None) -> Mapping[str, frozenset[str]]:
    tools = json.loads(definition or b"{}").get("tools", ())
    return {tool["name"]: frozenset(tool.get("searchable", ())) for tool in tools}


class _Batch:
    """The entries that some records touch."""

    def __init__(self, connection: Connection, names: _Names) -> None:
        self._connection = connection
        self._names = names
        self._calls: dict[str, str] = {}
        """The run of each call, in the order in which they came."""
        self._runs: dict[str, None] = {}
        self._first: dict[str, int] = {}
        """When an entry began."""

    def read(self) -> int:
        """Read one batch; how many records it was, and 1 at least while something is left."""
        here = self._connection.execute(select(mark.c.pos)).scalar_one()
        columns = (_event.pos, _event.run, _event.call, _event.type, _event.at)
        query = select(*columns).where(_event.pos > here).order_by(_event.pos).limit(BATCH)
        rows = self._connection.execute(query).all()
        for row in rows:
            self._touch(row)
        again = self._stale_runs()
        if not rows and not again:
            return 0
        self._write()
        if rows:
            self._connection.execute(update(mark).values(pos=rows[-1].pos))
        return len(rows) or 1

    def _touch(self, row: Any) -> None:
        if row.run == STORE_CHAIN:
            return
        if row.call is not None:
            self._calls[row.call] = row.run
            self._first.setdefault(row.call, row.at)
            return
        self._runs[row.run] = None
        self._first.setdefault(row.run, row.at)
        if row.type in ENDINGS:
            self._touch_calls([row.run])

    def _touch_calls(self, runs: Sequence[str]) -> None:
        query = select(_call.id, _call.run, _call.requested_at).where(_call.run.in_(runs))
        for name, run, at in self._connection.execute(query):
            self._calls[name] = run
            self._first.setdefault(name, at)

    def _stale_runs(self) -> bool:
        runs = list(self._connection.execute(select(stale.c.run).limit(STALE_RUNS)).scalars())
        self._runs |= dict.fromkeys(runs)
        self._touch_calls(runs)
        self._connection.execute(delete(stale).where(stale.c.run.in_(runs)))
        return bool(runs)

    def _write(self) -> None:
        numbers = self._numbers()
        made = {numbers[name]: made for name, made in self._made() if name in numbers}
        self._replace(made)

    def _numbers(self) -> Mapping[str, int]:
        """The number of each touched entry, new ones made in the order they came."""
        ids = [*self._runs, *self._calls]
        query = select(entry.c.id, entry.c.n).where(entry.c.id.in_(ids))
        known = {row.id: row.n for row in self._connection.execute(query)}
        new = sorted(
            (name for name in ids if name not in known and name in self._first), key=self._began
        )
        rows = [
            {
                "kind": "run" if name in self._runs else "call",
                "id": name,
                "run": self._calls.get(name, name),
                "at": self._first[name],
            }
            for name in new
        ]
        if rows:
            self._connection.execute(insert(entry), rows)
        return {row.id: row.n for row in self._connection.execute(query)}

    def _began(self, name: str) -> int:
        return self._first[name]

    def _made(self) -> Iterable[tuple[str, Entry]]:
        runs = {*self._runs, *self._calls.values()}
        rows = {
            row.id: row for row in self._connection.execute(select(*_run).where(_run.id.in_(runs)))
        }
        query = select(_call.id, _call.status).where(_call.id.in_(list(self._calls)))
        statuses = {row.id: row.status for row in self._connection.execute(query)}
        starts = self._starts(runs)
        known = {run: _known(rows[run], starts[run]) for run in runs & rows.keys() & starts.keys()}
        headings = self._headings()
        for name in self._runs:
            if name in known:
                yield name, run_entry(headings[name], known[name])
        for name, run in self._calls.items():
            if name in statuses and run in known:
                yield (
                    name,
                    call_entry(
                        headings[name],
                        known[run],
                        status=statuses[name],
                        named=self._named(headings[name], starts[run]),
                    ),
                )

    def _named(self, headings: Sequence[Heading], start: Mapping[str, Any]) -> frozenset[str]:
        decided = [each.data for each in headings if each.data["type"] == "call.decided"]
        if not decided:
            return frozenset()
        return self._names.of(
            self._connection,
            bundle=decided[-1]["bundle"],
            definition=start["shared"]["definition"],
            tool=decided[-1]["tool"],
        )

    def _starts(self, runs: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        query = select(_event.run, _event.header).where(_event.run.in_(list(runs)), _event.seq == 1)
        return {row.run: json.loads(row.header) for row in self._connection.execute(query)}

    def _headings(self) -> Mapping[str, Sequence[Heading]]:
        """The records of each touched entry, oldest first."""
        columns = (_event.run, _event.seq, _event.call, _event.header)
        ours = select(*columns).where(_event.call.in_(list(self._calls)))
        theirs = select(*columns).where(
            _event.run.in_(list(self._runs)), _event.call.is_(None), _event.type != "claude.asked"
        )
        rows = [row for query in (ours, theirs) for row in self._connection.execute(query).all()]
        bodies = self._bodies({row.run: None for row in rows})
        found: dict[str, list[Heading]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: row.seq):
            heading = Heading(json.loads(row.header), bodies.get((row.run, row.seq), {}))
            found[row.call or row.run].append(heading)
        return found

    def _bodies(self, runs: Iterable[str]) -> Mapping[Place, Mapping[str, bytes]]:
        """Content of these runs whose words are searched; never what is encrypted."""
        query = select(_content.run, _content.seq, _content.part, _content.body).where(
            _content.run.in_(list(runs)),
            _content.part.in_(sorted(SEARCHED)),
            _content.key_id.is_(None),
        )
        found: dict[Place, dict[str, bytes]] = defaultdict(dict)
        for run, seq, part, body in self._connection.execute(query):
            found[run, seq][part] = body
        return found

    def _replace(self, made: Mapping[int, Entry]) -> None:
        numbers = list(made)
        self._connection.execute(
            delete(fact).where(
                fact.c.name == "outcome", fact.c.value.in_(_OUTCOME_VALUES), fact.c.n.in_(numbers)
            )
        )
        self._put_facts(made)
        self._connection.execute(delete(argument).where(argument.c.n.in_(numbers)))
        rows = [
            {"n": n, "path": path, "value": value, "number": number}
            for n, each in made.items()
            for (path, value), number in each.arguments.items()
        ]
        if rows:
            self._connection.execute(insert(argument), rows)
        take_words(self._connection, numbers)
        put_words(self._connection, {n: each.words for n, each in made.items()})

    def _put_facts(self, made: Mapping[int, Entry]) -> None:
        if self._connection.dialect.name == "sqlite":
            from sqlalchemy.dialects.sqlite import insert as insert_into
        else:
            from sqlalchemy.dialects.postgresql import insert as insert_into  # type: ignore[assignment]
        rows = [
            {"name": name, "value": value, "n": n}
            for n, each in made.items()
            for name, value in sorted(each.facts)
        ]
        if rows:
            self._connection.execute(insert_into(fact).on_conflict_do_nothing(), rows)


def _known(row: Any, start: Mapping[str, Any]) -> Known:
    return Known(
        agent=row.agent,
        environment=row.environment,
        model=row.model,
        simulated=bool(row.simulated),
        status=row.status,
        user_ref=start.get("user_ref"),
    )
