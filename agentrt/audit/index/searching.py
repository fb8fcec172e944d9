"""Searching: a query to one statement that walks the rarest of its terms, newest first.

Databases guess from statistics which term is rare. Here it is counted, up to a thousand, so that
the answer takes as long with old statistics as with new ones, and as long on page 9,000 as on 1.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    and_,
    false,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from agentrt.audit.index.tables import argument, entry, fact
from agentrt.audit.index.words import matching
from agentrt.audit.query.terms import ARGUMENT, BUNDLE_SHOWN, PEOPLE, Query, Term, Value, path_of
from agentrt.errors import QueryInvalid

__all__ = ["NEWEST", "OLDEST", "Found", "search"]

NEWEST, OLDEST = "newest", "oldest"

RARE = 1_000
"""How far a term is counted; of those that are found more often, any will do."""

COUNT_MAX = 1_000
"""How far the answer is counted."""

VALUES_MAX = 200
"""Values that one pattern may stand for."""

SKEW_MS = 60_000
"""How far clocks of two machines may differ: entries are numbered as they arrived."""

Ref = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Found:
    """One page of an answer."""

    entries: tuple[Any, ...]
    """Rows with `id`, `kind`, `run`, `at` and `n`, in the order that was asked for."""
    cursor: str | None
    """Where the next page begins; None when this is the last one."""
    count: int
    """How many there are on all pages, counted up to `COUNT_MAX`."""
    hints: tuple[str, ...] = ()
    """What may be wrong with a question that nothing fits."""

    @property
    def counted(self) -> bool:
        """Whether `count` is all, and not only where counting stopped."""
        return self.count < COUNT_MAX


def search(
    connection: Connection,
    query: Query,
    *,
    ref: Ref,
    limit: int,
    sort: str = NEWEST,
    cursor: str | None = None,
) -> Found:
    """The entries that fit, one page of them.

    `sort` is `newest`, `oldest`, or an argument's path: `args.amount_cents` has the largest first,
    `-args.amount_cents` the smallest. `ref` is the store's hash of a name. Raises QueryInvalid.
    """
    return _Search(connection, query, ref).page(limit=limit, order=_Order.of(sort), cursor=cursor)


@dataclass(frozen=True, slots=True)
class _Order:
    """In which order entries come."""

    path: str | None
    """The argument whose number decides; None: when they came."""
    descending: bool

    @classmethod
    def of(cls, sort: str) -> _Order:
        """The order of these words. Raises QueryInvalid."""
        if sort in (NEWEST, OLDEST):
            return cls(None, sort == NEWEST)
        name = sort.removeprefix("-")
        if not name.startswith(ARGUMENT) or name == ARGUMENT:
            raise QueryInvalid(
                f"There is no order '{sort}': say newest, oldest, args.NAME or -args.NAME."
            )
        return cls(path_of(name), name == sort)

    def sorted(self, column: Any) -> Any:
        """The column, in this direction."""
        return column.desc() if self.descending else column.asc()

    def behind(self, columns: Sequence[Any], values: Sequence[Any]) -> ColumnElement[bool]:
        """Whether a row comes behind these values."""
        if len(columns) == 1:
            behind: ColumnElement[bool]
            behind = columns[0] < values[0] if self.descending else columns[0] > values[0]
            return behind
        row, other = tuple_(*columns), tuple_(*(literal(value) for value in values))
        return row < other if self.descending else row > other


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to the entries: a selectable of numbers for each value of a term."""

    rows: tuple[Any, ...]
    """Selects of one column `n`."""
    ordered: bool
    """Whether each of them comes out by number without sorting."""


class _Search:
    """One question, with the values of its patterns looked up."""

    def __init__(self, connection: Connection, query: Query, ref: Ref) -> None:
        self._connection = connection
        self._query = query
        self._ref = ref
        self._hints: list[str] = []
        self._terms = [self._resolved(term) for term in query.terms]

    def page(self, *, limit: int, order: _Order, cursor: str | None) -> Found:
        """One page of the answer."""
        after = _read_cursor(cursor, order, self._query)
        rows = self._rows(limit + 1, order, after)
        shown = tuple(rows[:limit])
        more = len(rows) > limit
        return Found(
            entries=shown,
            cursor=_write_cursor(shown[-1], order, self._query) if more else None,
            count=self._count(order) if more or after else len(shown),
            hints=() if shown or after else tuple(self._hints),
        )

    def _rows(self, limit: int, order: _Order, after: Sequence[Any] | None) -> Sequence[Any]:
        if order.path is not None:
            return self._by_number(limit, order, order.path, after)
        lowest = self._lowest()
        way = self._way(lowest)
        parts = []
        for rows in way.rows:
            found = rows.subquery()
            query = (
                select(entry.c.n, entry.c.id, entry.c.kind, entry.c.run, entry.c.at)
                .select_from(found.join(entry, entry.c.n == found.c.n))
                .where(*self._conditions(found.c.n))
            )
            if lowest:
                query = query.where(found.c.n >= lowest)
            if after is not None:
                query = query.where(order.behind([found.c.n], after))
            ordered = query.order_by(order.sorted(found.c.n)).limit(limit).subquery()
            parts.append(select(ordered))
        together = union_all(*parts).subquery() if len(parts) > 1 else parts[0].subquery()
        # A call that fits two values of one term comes from both.
        query = select(together).distinct() if len(parts) > 1 else select(together)
        return self._connection.execute(
            query.order_by(order.sorted(together.c.n)).limit(limit)
        ).all()

    def _by_number(
        self, limit: int, order: _Order, path: str, after: Sequence[Any] | None
    ) -> Sequence[Any]:
        number = argument.c.number
        query = (
            select(entry.c.n, entry.c.id, entry.c.kind, entry.c.run, entry.c.at, number)
            .select_from(argument.join(entry, entry.c.n == argument.c.n))
            .where(argument.c.path == path, number.is_not(None))
            .where(*self._conditions(argument.c.n))
        )
        if after is not None:
            query = query.where(order.behind([number, argument.c.n], after))
        ordered = query.order_by(order.sorted(number), order.sorted(argument.c.n)).limit(limit)
        return self._connection.execute(ordered).all()

    def _count(self, order: _Order) -> int:
        if order.path is not None:
            return len(self._by_number(COUNT_MAX, order, order.path, None))
        return len(self._rows(COUNT_MAX, _Order(None, descending=True), None))

    # --- which way ------------------------------------------------------------------------

    def _way(self, lowest: int) -> _Way:
        ways = [self._way_of(term) for term in self._terms if not term.negated]
        counted = [(self._counted(way, lowest), way) for way in ways]
        rare = [each for each in counted if each[0] < RARE]
        if rare:
            return min(rare, key=lambda each: each[0])[1]
        by_number = [way for _, way in counted if way.ordered]
        return by_number[0] if by_number else _Way((select(entry.c.n),), ordered=True)

    def _counted(self, way: _Way, lowest: int) -> int:
        total = 0
        for rows in way.rows:
            found = rows.subquery()
            few = select(literal(1)).select_from(found)
            few = few.where(found.c.n >= lowest) if lowest else few
            some = few.limit(RARE).subquery()
            total += self._connection.execute(select(func.count()).select_from(some)).scalar_one()
        return total

    def _lowest(self) -> int:
        """The number from which on entries can be new enough."""
        if self._query.since is None:
            return 0
        first = (
            select(entry.c.n)
            .where(entry.c.at >= self._query.since - SKEW_MS)
            .order_by(entry.c.at, entry.c.n)
            .limit(1)
        )
        return self._connection.execute(first).scalar() or 1 << 62

    def _way_of(self, term: Term) -> _Way:
        if term.key == "text":
            dialect = self._connection.dialect.name
            rows = tuple(matching(dialect, value)[0] for value in term.values)
            return _Way(rows, ordered=True)
        if term.key in ("run", "call"):
            return _Way((select(entry.c.n).where(_has_id(term)),), ordered=False)
        if term.key.startswith(ARGUMENT):
            path = path_of(term.key)
            rows = tuple(
                select(argument.c.n).where(argument.c.path == path, _compares(value))
                for value in term.values
            )
            return _Way(rows, ordered=all(value.operator == "=" for value in term.values))
        return _Way(
            tuple(
                select(fact.c.n).where(fact.c.name == term.key, fact.c.value == value.text)
                for value in term.values
            )
            or (select(fact.c.n).where(false()),),
            ordered=True,
        )

    # --- what must hold -------------------------------------------------------------------

    def _conditions(self, n: Any) -> Iterator[ColumnElement[bool]]:
        yield entry.c.kind == self._query.kind
        if self._query.since is not None:
            yield entry.c.at >= self._query.since
        if self._query.until is not None:
            yield entry.c.at < self._query.until
        for term in self._terms:
            holds = self._holds(term, n)
            yield ~holds if term.negated else holds

    def _holds(self, term: Term, n: Any) -> ColumnElement[bool]:
        if term.key == "text":
            dialect = self._connection.dialect.name
            return or_(*(_says(dialect, value, n) for value in term.values))
        if term.key in ("run", "call"):
            return _has_id(term)
        if term.key.startswith(ARGUMENT):
            rows = (
                select(literal(1))
                .select_from(argument)
                .where(
                    argument.c.n == n,
                    argument.c.path == path_of(term.key),
                    or_(*(_compares(value) for value in term.values)),
                )
            )
            return rows.correlate_except(argument).exists()
        rows = (
            select(literal(1))
            .select_from(fact)
            .where(
                fact.c.name == term.key,
                fact.c.value.in_([value.text for value in term.values]),
                fact.c.n == n,
            )
        )
        return rows.correlate_except(fact).exists()

    # --- what is meant --------------------------------------------------------------------

    def _resolved(self, term: Term) -> Term:
        """The term with names of people as their hashes, and patterns as the values they fit."""
        if term.key in PEOPLE:
            return self._of_people(term)
        if term.key.startswith(ARGUMENT):
            self._check_path(term)
            return term
        if term.key in ("text", "run", "call"):
            return term
        if term.key == "bundle":
            term = replace(term, values=tuple(_short(value) for value in term.values))
        values = [each for value in term.values for each in self._of_fact(term, value)]
        return Term(term.key, tuple(values), term.negated, term.at)

    def _of_people(self, term: Term) -> Term:
        if any(value.pattern for value in term.values):
            raise QueryInvalid(
                f"`{term.key}:` takes whole names: the index keeps hashes of them, and no names."
            )
        hashed = (
            value.text[1:] if value.text.startswith("@") else self._ref(value.text)
            for value in term.values
        )
        return Term(term.key, tuple(Value(text) for text in hashed), term.negated, term.at)

    def _of_fact(self, term: Term, value: Value) -> Iterator[Value]:
        if value.pattern:
            fitting = [each for each in self._known_values(term.key) if value.matches(each)]
            if len(fitting) > VALUES_MAX:
                raise QueryInvalid(
                    f"`{term.key}:{value.text}` fits more than {VALUES_MAX} values: say more of it."
                )
            yield from (Value(each) for each in fitting)
            return
        known = select(literal(1)).where(fact.c.name == term.key, fact.c.value == value.text)
        if self._connection.execute(known.limit(1)).scalar() is None:
            self._hint(term.key, value.text)
        yield value

    def _hint(self, key: str, text: str) -> None:
        near = get_close_matches(text, self._known_values(key, limit=1_000), n=1)
        meant = f"; did you mean '{near[0]}'?" if near else "."
        self._hints.append(f"Nothing has the {key} '{text}'{meant}")

    def _known_values(self, name: str, *, limit: int = 10_000) -> list[str]:
        """The values of a fact, each found by one look into the index."""
        return self._distinct(fact.c.value, fact.c.name == name, limit)

    def _distinct(self, column: Any, *rest: Any) -> list[str]:
        *where, limit = rest
        found: list[str] = []
        while len(found) < limit:
            beyond = [column > found[-1]] if found else []
            query = select(column).where(*where, *beyond).order_by(column).limit(1)
            value = self._connection.execute(query).scalar()
            if value is None:
                break
            found.append(value)
        return found

    def _check_path(self, term: Term) -> None:
        path = path_of(term.key)
        here = select(literal(1)).where(argument.c.path == path).limit(1)
        if self._connection.execute(here).scalar() is not None:
            return
        known = self._distinct(argument.c.path, true(), 1_000)
        near = get_close_matches(path, known, n=1)
        meant = f" Did you mean `args.{near[0]}`?" if near else ""
        named = ", ".join(f"args.{each}" for each in known[:20]) or "none"
        self._hints.append(
            f"No indexed call has `args.{path}`.{meant} Indexed are arguments that a rule speaks "
            f"of or a tool names with searchable=: {named}."
        )


def _short(bundle: Value) -> Value:
    return bundle if bundle.pattern else Value(bundle.text[:BUNDLE_SHOWN])


def _compares(value: Value) -> ColumnElement[bool]:
    column, number = argument.c.number, literal(value.number)
    match value.operator:
        case ">":
            return column > number
        case ">=":
            return column >= number
        case "<":
            return column < number
        case "<=":
            return column <= number
        case _:
            return _equals(value, value.number)


def _equals(value: Value, number: float | None) -> ColumnElement[bool]:
    if value.pattern:
        return _fits(argument.c.value, value)
    same = argument.c.value == value.text[:256]
    # 6400 and 6400.0 are one number, written in two ways.
    return same if number is None or _plain(value) else or_(same, argument.c.number == number)


def _plain(value: Value) -> bool:
    return value.text.isdigit()


def _has_id(term: Term) -> ColumnElement[bool]:
    column = entry.c.run if term.key == "run" else entry.c.id
    return or_(*(_fits(column, value) for value in term.values))


def _fits(column: Column[Any], value: Value) -> ColumnElement[bool]:
    """The text, or a pattern: what stands before its first `*` is looked up in the index."""
    if not value.pattern:
        return column == value.text
    beginning = value.text.split("*", 1)[0]
    escaped = value.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    like = column.like(escaped.replace("*", "%"), escape="\\")
    if not beginning:
        return like
    return and_(column >= beginning, column < f"{beginning}\U0010ffff", like)


def _says(dialect: str, value: Value, n: Any) -> ColumnElement[bool]:
    rows, number = matching(dialect, value)
    found: ColumnElement[bool] = rows.where(number == n).exists()
    return found


# --- cursors ------------------------------------------------------------------------------


def _write_cursor(row: Any, order: _Order, query: Query) -> str:
    place = [row.n] if order.path is None else [row.number, row.n]
    return base64.urlsafe_b64encode(json.dumps([_mark(order, query), *place]).encode()).decode()


def _read_cursor(cursor: str | None, order: _Order, query: Query) -> Sequence[Any] | None:
    if cursor is None:
        return None
    try:
        kind, *place = _list(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, TypeError) as error:
        raise QueryInvalid(
            "This is no cursor of an answer: take the one that was printed."
        ) from error
    numbers = all(isinstance(each, int | float) for each in place)
    if kind != _mark(order, query) or not numbers or len(place) != (1 if order.path is None else 2):
        raise QueryInvalid("The cursor belongs to another question or another order.")
    return place


def _list(text: bytes) -> list[Any]:
    read = json.loads(text)
    if not isinstance(read, list) or not read:
        raise ValueError(text)
    return read


def _mark(order: _Order, query: Query) -> str:
    """What a cursor belongs to; relative times move on, so they are not part of it."""
    import hashlib

    said = repr((query.terms, query.kind, order))
    return hashlib.sha256(said.encode()).hexdigest()[:12]
