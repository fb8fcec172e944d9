"""The tables: one of events that only grows, content beside it, and projections of both.

Every column of `event` but the header and its hash is GENERATED from the header, so that
no column can say anything which the hash does not cover.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Computed,
    Index,
    Integer,
    LargeBinary,
    Text,
    func,
    literal_column,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlmodel import Field, SQLModel

__all__ = [
    "ApprovalRow",
    "CallRow",
    "CheckpointRow",
    "ChoreRow",
    "ContentRow",
    "CosignatureRow",
    "EventRow",
    "LeafRow",
    "LeaseRow",
    "ModelCallRow",
    "NodeRow",
    "NoticeRow",
    "ProcessRow",
    "RunRow",
    "ServedRow",
    "SharedRow",
    "StoreRow",
    "WorkerRow",
    "columns",
    "in_header",
    "of_user",
]

BIG = BigInteger().with_variant(Integer, "sqlite")
"""64 bits: a plain `int` becomes 32 bits on PostgreSQL, too few for milliseconds."""

STRICT = {"sqlite_strict": True}


class FromHeader(Computed):
    """A generated column: the database itself reads it from the header's field of this name."""

    def __init__(self, field: str, kind: str) -> None:
        super().__init__(f"header ->> '$.{field}'", persisted=False)
        self.field, self.kind = field, kind

    def copy(self, **_options: Any) -> FromHeader:
        """The same for another table, as SQLAlchemy asks for it."""
        return FromHeader(self.field, self.kind)


@compiles(FromHeader, "postgresql")
def _stored(generated: FromHeader, _compiler: Any, **_options: Any) -> str:
    # The header keeps its exact bytes, so it is text; stored, since only that can be indexed.
    return (
        f"GENERATED ALWAYS AS (((header::json) ->> '{generated.field}')::{generated.kind}) STORED"
    )


def _generated(name: str, kind: Any = Text, *, cast: str = "text") -> Any:
    """A column that the database reads from the header's field of this name."""
    return Field(default=None, sa_type=kind, sa_column_args=[FromHeader(name, cast)])


def columns(table: type[SQLModel]) -> Any:
    """The columns of a table, for queries: SQLModel types its attributes as plain values."""
    return table.__table__.c  # type: ignore[attr-defined]


def _where(name: str, *columns: str, unique: bool = False, only: str) -> Index:
    condition = text(only)
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


class in_header(ColumnElement[str]):  # noqa: N801 - reads as the function it is
    """A field of an event's header that has no column of its own."""

    inherit_cache = True
    type = Text()

    def __init__(self, field: str) -> None:
        self.field = field


@compiles(in_header, "sqlite")
def _in_sqlite(element: in_header, _compiler: Any, **_options: Any) -> str:
    return f"event.header ->> '$.{element.field}'"


@compiles(in_header, "postgresql")
def _in_postgresql(element: in_header, _compiler: Any, **_options: Any) -> str:
    return f"(event.header::json) ->> '{element.field}'"


class EventRow(SQLModel, table=True):
    """A record. `pos` is its place of arrival in this database and no part of the record."""

    __tablename__ = "event"
    __table_args__ = (
        Index("event_place", "run", "seq", unique=True),
        _where("event_call", "call", only="call IS NOT NULL"),
        _where("event_tool", "tool", "at", only="tool IS NOT NULL"),
        _where("event_reviewer", "reviewer_ref", "at", only="reviewer_ref IS NOT NULL"),
        _where("event_user", "user_ref", "pos", only="user_ref IS NOT NULL"),
        # What the runtime promises is said in the database too: one start and one result per
        # attempt, one decision per revision.
        _where("event_started", "call", "attempt", unique=True, only="type = 'call.started'"),
        _where("event_finished", "call", "attempt", unique=True, only="type = 'call.finished'"),
        _where("event_decided", "call", "revision", unique=True, only="type = 'call.decided'"),
        STRICT,
    )

    pos: int | None = Field(default=None, sa_type=BIG, primary_key=True)
    header: str = Field(sa_type=Text)
    hash: bytes = Field(sa_type=LargeBinary)
    run: str = _generated("run")
    seq: int = _generated("seq", Integer, cast="integer")
    at: int = _generated("at", BIG, cast="bigint")
    type: str = _generated("type")
    call: str | None = _generated("call")
    attempt: int | None = _generated("attempt", Integer, cast="integer")
    revision: int | None = _generated("revision", Integer, cast="integer")
    tool: str | None = _generated("tool")
    verdict: str | None = _generated("verdict")
    reviewer_ref: str | None = _generated("reviewer_ref")
    user_ref: str | None = _generated("user_ref")


class ContentRow(SQLModel, table=True):
    """One erasable field of a record; the header holds SHA-256(salt || body)."""

    __tablename__ = "content"
    __table_args__ = (STRICT,)

    run: str = Field(sa_type=Text, primary_key=True)
    seq: int = Field(sa_type=Integer, primary_key=True)
    part: str = Field(sa_type=Text, primary_key=True)
    salt: bytes = Field(sa_type=LargeBinary)
    body: bytes = Field(sa_type=LargeBinary)
    key_id: int | None = Field(default=None, sa_type=Integer)
    """The key that `body` is encrypted with; None: it is not encrypted."""


class SharedRow(SQLModel, table=True):
    """A text that many records share, under its SHA-256; it names no person."""

    __tablename__ = "shared"
    __table_args__ = (STRICT,)

    digest: str = Field(sa_type=Text, primary_key=True)
    body: bytes = Field(sa_type=LargeBinary)


class StoreRow(SQLModel, table=True):
    """The store itself: one row."""

    __tablename__ = "store"

    id: str = Field(sa_type=Text, primary_key=True)
    format: int = Field(sa_type=Integer)
    ref_key: bytes = Field(sa_type=LargeBinary)
    """The key of the hashes that stand for names in headers."""
    created_at: int = Field(sa_type=BIG)


class LeafRow(SQLModel, table=True):
    """A leaf of the Merkle tree: the head of a run as it was when it was sealed."""

    __tablename__ = "leaf"
    __table_args__ = (Index("leaf_run", "run", "seq", unique=True), STRICT)

    idx: int = Field(sa_type=Integer, primary_key=True, sa_column_kwargs={"autoincrement": False})
    """The place in the tree, from 0."""
    run: str = Field(sa_type=Text)
    seq: int = Field(sa_type=Integer)
    head: bytes = Field(sa_type=LargeBinary)


class NodeRow(SQLModel, table=True):
    """The hash of a complete subtree: of the `2**level` leaves from `n * 2**level` on."""

    __tablename__ = "node"
    __table_args__ = (STRICT,)

    level: int = Field(sa_type=Integer, primary_key=True)
    n: int = Field(sa_type=Integer, primary_key=True)
    hash: bytes = Field(sa_type=LargeBinary)


class CheckpointRow(SQLModel, table=True):
    """A signed note over the tree as it was when it had `size` leaves."""

    __tablename__ = "checkpoint"
    __table_args__ = (STRICT,)

    size: int = Field(sa_type=Integer, primary_key=True, sa_column_kwargs={"autoincrement": False})
    note: str = Field(sa_type=Text)
    at: int = Field(sa_type=BIG)
    """When it was signed."""
    pos: int = Field(sa_type=BIG)
    """The last place of arrival at that time: what came later is to be sealed next."""


class CosignatureRow(SQLModel, table=True):
    """A witness's signature under a checkpoint, as the line that stands under the note."""

    __tablename__ = "cosignature"
    __table_args__ = (STRICT,)

    size: int = Field(sa_type=Integer, primary_key=True)
    name: str = Field(sa_type=Text, primary_key=True)
    line: str = Field(sa_type=Text)


class LeaseRow(SQLModel, table=True):
    """Which process carries a run. Not in the events: losing it costs a wait, never an effect."""

    __tablename__ = "lease"

    run: str = Field(sa_type=Text, primary_key=True)
    process: str = Field(sa_type=Text)


class ProcessRow(SQLModel, table=True):
    """A process that worked on a store on a server: its locks cannot say that it ended in peace."""

    __tablename__ = "process"

    id: str = Field(sa_type=Text, primary_key=True)
    host: str = Field(sa_type=Text)
    started_at: int = Field(sa_type=BIG)
    """By the clock of the database, as `ended_at`."""
    ended_at: int | None = Field(default=None, sa_type=BIG)


class WorkerRow(SQLModel, table=True):
    """A process that carries runs: what it said of itself, and when it was last heard of."""

    __tablename__ = "worker"

    process: str = Field(sa_type=Text, primary_key=True)
    service: str = Field(sa_type=Text)
    host: str = Field(sa_type=Text)
    pid: int = Field(sa_type=Integer)
    version: str = Field(sa_type=Text)
    agents: str = Field(sa_type=Text)
    """The agents that it has, as a JSON list."""
    simulated: bool
    runs_at_once: int = Field(sa_type=Integer)
    started_at: int = Field(sa_type=BIG)
    seen_at: int = Field(sa_type=BIG)
    """By the clock of the database, as `started_at`."""
    draining: bool


class ServedRow(SQLModel, table=True):
    """When a user's run was taken up last: users take turns."""

    __tablename__ = "served"

    user: str = Field(sa_type=Text, primary_key=True)
    """Empty for runs of nobody in particular."""
    at: int = Field(sa_type=BIG)


class ChoreRow(SQLModel, table=True):
    """A chore of the store: which process has it, how long, and when it was done last."""

    __tablename__ = "chore"

    name: str = Field(sa_type=Text, primary_key=True)
    process: str = Field(sa_type=Text)
    until: int = Field(sa_type=BIG)
    """By the clock of the database; then another process may have it."""
    done_at: int = Field(sa_type=BIG)


class NoticeRow(SQLModel, table=True):
    """What a target of notifications is told, and whether it was. Not in the events."""

    __tablename__ = "notice"
    __table_args__ = (Index("notice_due", "state", "due_at"),)

    target: str = Field(sa_type=Text, primary_key=True)
    id: str = Field(sa_type=Text, primary_key=True)
    state: str = Field(sa_type=Text)
    """`due`, `told`, `given up`, or `before`: it was there when the target was first served."""
    attempts: int = Field(sa_type=Integer)
    due_at: int = Field(sa_type=BIG)
    at: int = Field(sa_type=BIG)
    body: str = Field(sa_type=Text)


class RunRow(SQLModel, table=True):
    """Projection: where each run stands."""

    __tablename__ = "run"
    __table_args__ = (
        Index("run_status", "status", "started_at"),
        Index("run_started", "started_at"),
        # By the user first, so that whose turn it is can be looked up user by user.
        Index("run_ready", "status", text("coalesce(\"user\", '')"), "started_at"),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    head_seq: int = Field(sa_type=Integer)
    head_hash: bytes = Field(sa_type=LargeBinary)
    head_at: int = Field(sa_type=BIG)
    status: str = Field(sa_type=Text)
    agent: str = Field(sa_type=Text)
    model: str = Field(sa_type=Text)
    environment: str = Field(sa_type=Text)
    simulated: bool
    user: str | None = Field(default=None, sa_type=Text)
    prompt: str = Field(sa_type=Text)
    """The beginning of the prompt, for lists."""
    turn: int = Field(sa_type=Integer)
    held: int = Field(sa_type=Integer)
    in_doubt: int = Field(sa_type=Integer)
    error: str | None = Field(default=None, sa_type=Text)
    cost_usd: str = Field(sa_type=Text)
    cost_unknown: bool
    started_at: int = Field(sa_type=BIG)
    wake_at: int | None = Field(default=None, sa_type=BIG, index=True)
    """When the next held call expires."""


class CallRow(SQLModel, table=True):
    """Projection: what became of each call; the held ones are the approval queue."""

    __tablename__ = "call"
    __table_args__ = (
        Index("call_run", "run", "turn", "index"),
        Index("call_status", "status", "expires_at"),
        Index("call_tool_requested", "tool", "requested_at"),
    )

    id: str = Field(sa_type=Text, primary_key=True)
    run: str = Field(sa_type=Text)
    turn: int = Field(sa_type=Integer)
    index: int = Field(sa_type=Integer)
    agent: str = Field(sa_type=Text)
    user: str | None = Field(default=None, sa_type=Text)
    simulated: bool
    tool: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    """As the run says, or `deferred` for a held call that waits for a fact at first."""
    effect: str = Field(sa_type=Text)
    verdict: str = Field(sa_type=Text)
    revision: int = Field(sa_type=Integer)
    rule: str | None = Field(default=None, sa_type=Text)
    """The first deciding rule as `id file:line`."""
    severity: str | None = Field(default=None, sa_type=Text)
    summary: str = Field(sa_type=Text)
    """What it will do: the preview, or the beginning of the arguments."""
    quorum: int = Field(sa_type=Integer)
    approvals: int = Field(sa_type=Integer)
    attempt: int = Field(sa_type=Integer)
    requested_at: int = Field(sa_type=BIG)
    decided_at: int | None = Field(default=None, sa_type=BIG)
    expires_at: int | None = Field(default=None, sa_type=BIG)
    finished_at: int | None = Field(default=None, sa_type=BIG)


class ModelCallRow(SQLModel, table=True):
    """Projection: one row per request to Claude, for reports."""

    __tablename__ = "model_call"
    __table_args__ = (Index("model_call_at", "simulated", "at"),)

    run: str = Field(sa_type=Text, primary_key=True)
    seq: int = Field(sa_type=Integer, primary_key=True)
    at: int = Field(sa_type=BIG)
    turn: int = Field(sa_type=Integer)
    agent: str = Field(sa_type=Text)
    environment: str = Field(sa_type=Text)
    simulated: bool
    model: str = Field(sa_type=Text)
    request_id: str | None = Field(default=None, sa_type=Text)
    outcome: str = Field(sa_type=Text)
    """The stop reason, or the kind of failure."""
    failed: bool
    input_tokens: int = Field(default=0, sa_type=Integer)
    cache_write_tokens: int = Field(default=0, sa_type=Integer)
    cache_read_tokens: int = Field(default=0, sa_type=Integer)
    output_tokens: int = Field(default=0, sa_type=Integer)
    cost_usd: str | None = Field(default=None, sa_type=Text)
    """Decimal dollars; NULL is unknown, never zero."""
    latency_ms: int = Field(sa_type=Integer)
    first_token_ms: int | None = Field(default=None, sa_type=Integer)


class ApprovalRow(SQLModel, table=True):
    """Projection: what reviewers said."""

    __tablename__ = "approval"
    __table_args__ = (Index("approval_call", "call"), Index("approval_by", "by", "at"))

    run: str = Field(sa_type=Text, primary_key=True)
    seq: int = Field(sa_type=Integer, primary_key=True)
    at: int = Field(sa_type=BIG)
    call: str = Field(sa_type=Text)
    verdict: str = Field(sa_type=Text)
    by: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    key: str = Field(sa_type=Text)


of_user = func.coalesce(columns(RunRow).user, literal_column("''"))
"""Whom a run works for, nobody being one of them; as the index of ready runs has it."""
