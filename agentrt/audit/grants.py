"""Grants: what each role of a PostgreSQL server may do with a store, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlmodel import SQLModel

from agentrt.audit.schema import own_tables, table_name
from agentrt.audit.tables import (
    ApprovalRow,
    CallRow,
    CheckpointRow,
    ChoreRow,
    ContentRow,
    CosignatureRow,
    EventRow,
    LeafRow,
    LeaseRow,
    ModelCallRow,
    NodeRow,
    NoticeRow,
    ProcessRow,
    RunRow,
    ServedRow,
    SharedRow,
    WorkerRow,
)

__all__ = ["ROLES", "Role", "grants"]


def _tables(*rows: type[SQLModel]) -> tuple[str, ...]:
    return tuple(table_name(row) for row in rows)


RECORDED = _tables(EventRow, ContentRow, SharedRow)
PROJECTED = _tables(RunRow, CallRow, ModelCallRow, ApprovalRow)
SEALED = _tables(LeafRow, NodeRow, CheckpointRow, CosignatureRow)
WORKING = _tables(LeaseRow, WorkerRow, ServedRow, ProcessRow, ChoreRow, NoticeRow)

REVIEWERS_EVENTS = (
    "call.approved",
    "call.rejected",
    "call.decided",
    "call.settled",
    "call.expired",
    "fact.stated",
    "run.cancelled",
)
"""What a person adds to a run: verdicts, the revision of an edit, answers, an end."""


@dataclass(frozen=True)
class Role:
    """What one kind of user may do."""

    about: str
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Privileges, each on some tables; everything may be read."""
    events: tuple[str, ...] | None = ()
    """The types of the records that it may add; None: all."""


ROLES: Mapping[str, Role] = {
    "runtime": Role(
        "agents and workers",
        {
            "INSERT": (*RECORDED, *PROJECTED, *SEALED, *WORKING),
            "UPDATE": (*PROJECTED, *WORKING),
            "DELETE": WORKING,
        },
        events=None,
    ),
    "reviewer": Role(
        "people who approve",
        {"INSERT": (*RECORDED, *PROJECTED), "UPDATE": PROJECTED},
        events=REVIEWERS_EVENTS,
    ),
    "auditor": Role("people who only read"),
    "eraser": Role(
        "retention and erasure on request",
        {"INSERT": (*RECORDED, *PROJECTED), "UPDATE": PROJECTED, "DELETE": ("content",)},
        events=("content.forgotten", "run.cancelled"),
    ),
}


def grants(names: Mapping[str, str]) -> Iterator[str]:
    """The statements that give each role its privileges, by the name it has on the server.

    To be run by the owner of the tables, which should be a role that nobody logs in as.
    """
    everything = ", ".join(_quoted(table.name) for table in own_tables())
    yield f"REVOKE ALL ON {everything}, alembic_version FROM PUBLIC;"
    yield "ALTER TABLE event ENABLE ROW LEVEL SECURITY;"
    yield "DROP POLICY IF EXISTS agentrt_read ON event;"
    yield "CREATE POLICY agentrt_read ON event FOR SELECT USING (true);"
    for kind, role in ROLES.items():
        yield from _of_role(kind, role, _quoted(names[kind]), everything)


def _of_role(kind: str, role: Role, name: str, everything: str) -> Iterator[str]:
    yield f"-- {name}: {role.about}"
    yield f"GRANT SELECT ON {everything}, alembic_version TO {name};"
    for privilege, tables in role.tables.items():
        yield f"GRANT {privilege} ON {', '.join(_quoted(table) for table in tables)} TO {name};"
    if role.events == ():
        return
    yield f"GRANT USAGE ON SEQUENCE event_pos_seq TO {name};"
    yield f"DROP POLICY IF EXISTS agentrt_{kind} ON event;"
    allowed = "true" if role.events is None else f"type IN ({_listed(role.events)})"
    yield f"CREATE POLICY agentrt_{kind} ON event FOR INSERT TO {name} WITH CHECK ({allowed});"


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
