"""The views: tables made to be read by people and their own tools, the same in both databases.

`agentrt audit index` keeps them in the store, so that Datasette, sqlite3 and psql show them;
`agentrt audit sql` has them in any store. docs/auditor.md describes each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import Connection

from agentrt.audit.index.tables import has_index

__all__ = ["VIEWS", "drop_views", "in_dialect", "make_views"]

_RECORD = """
SELECT e.run, e.seq, {time:e.at} AS time, e.at, e.type, e.call, e.tool, e.verdict,
  {field:e:cause} AS cause, {hex:e.hash} AS hash, e.header
FROM event e
"""

_CALL = """
SELECT c.id AS call, c.run, c.turn, {time:c.requested_at} AS time, {day:c.requested_at} AS day,
  c.agent, c."user" AS user_name, c.tool, c.effect, {field:d:labels} AS labels,
  {field:d:basis} AS basis, c.verdict, c.status, c.rule, {field:d:bundle} AS bundle, c.severity,
  c.attempt, c.summary,
  (SELECT {list:a.by} FROM approval a WHERE a.call = c.id AND a.verdict = 'approve') AS approvers,
  (SELECT {list:a.by} FROM approval a WHERE a.call = c.id AND a.verdict = 'reject') AS rejecters,
  c.simulated, c.requested_at, c.decided_at, c.finished_at
FROM call c
LEFT JOIN event d ON d.call = c.id AND d.revision = c.revision AND d.type = 'call.decided'
"""

_APPROVAL = """
SELECT a.run, a.seq, {time:a.at} AS time, a.call, c.tool, c.agent, c."user" AS user_name,
  a.verdict, a.by AS reviewer, a.reason,
  (a.at - h.at) / 1000.0 AS seconds,
  CASE WHEN a.by = c."user" THEN 1 ELSE 0 END AS own,
  c.severity, a.key, a.at
FROM approval a
JOIN call c ON c.id = a.call
LEFT JOIN event v ON v.run = a.run AND v.seq = a.seq
LEFT JOIN event h ON h.call = a.call AND h.type = 'call.decided' AND h.revision = v.revision
"""

_RUN = """
SELECT r.id AS run, {time:r.started_at} AS time, {day:r.started_at} AS day, r.status, r.agent,
  r.model, r.environment, r."user" AS user_name, r.prompt, r.turn, r.held, r.in_doubt, r.error,
  {real:r.cost_usd} AS cost_usd, r.cost_unknown, {field:s:bundle} AS bundle,
  {nested:s:shared:definition} AS prompt_version, {field:s:parent} AS parent, r.simulated,
  r.started_at
FROM run r
JOIN event s ON s.run = r.id AND s.seq = 1
WHERE r.id <> 'store'
"""

_MODEL_CALL = """
SELECT m.run, m.seq, {time:m.at} AS time, {day:m.at} AS day, m.agent, r."user" AS user_name,
  m.environment, m.model, m.outcome, m.failed, m.input_tokens, m.cache_write_tokens,
  m.cache_read_tokens, m.output_tokens, {real:m.cost_usd} AS cost_usd, m.latency_ms,
  m.first_token_ms, m.request_id, m.simulated, m.at
FROM model_call m
JOIN run r ON r.id = m.run
"""

_POLICY = """
SELECT e.seq, {time:e.at} AS time, e.type, {field:e:bundle} AS bundle,
  {field:e:service} AS service, e.at
FROM event e
WHERE e.run = 'store' AND e.type IN ('bundle.loaded', 'bundle.refused')
"""

_ARGUMENT = """
SELECT n.id AS call, n.run, a.path, a.value, a.number, {time:n.at} AS time, n.at
FROM search_argument a
JOIN search_entry n ON n.n = a.n
"""

VIEWS: Mapping[str, str] = {
    "audit_records": _RECORD,
    "audit_calls": _CALL,
    "audit_approvals": _APPROVAL,
    "audit_runs": _RUN,
    "audit_model_calls": _MODEL_CALL,
    "audit_policies": _POLICY,
    "audit_arguments": _ARGUMENT,
}
"""Each view by its name, with what databases say differently in braces."""

OF_INDEX = frozenset({"audit_arguments"})
"""Views of what only an index has."""

_DIALECTS: Mapping[str, Mapping[str, str]] = {
    "sqlite": {
        "time": "strftime('%Y-%m-%dT%H:%M:%SZ', {0} / 1000, 'unixepoch')",
        "day": "strftime('%Y-%m-%d', {0} / 1000, 'unixepoch')",
        "field": "({0}.header ->> '$.{1}')",
        "nested": "({0}.header ->> '$.{1}.{2}')",
        "hex": "lower(hex({0}))",
        "list": "group_concat({0}, ', ')",
        "real": "CAST({0} AS REAL)",
    },
    "postgresql": {
        "time": "to_char(to_timestamp({0} / 1000) AT TIME ZONE 'UTC', "
        '\'YYYY-MM-DD"T"HH24:MI:SS"Z"\')',
        "day": "to_char(to_timestamp({0} / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
        "field": "({0}.header::jsonb ->> '{1}')",
        "nested": "({0}.header::jsonb -> '{1}' ->> '{2}')",
        "hex": "encode({0}, 'hex')",
        "list": "string_agg({0}, ', ')",
        "real": "CAST({0} AS DOUBLE PRECISION)",
    },
}


def make_views(connection: Connection, *, temporary: bool = False) -> None:
    """Make the views, for good or for as long as the connection lasts."""
    indexed = has_index(connection)
    word = "TEMPORARY VIEW" if temporary else "VIEW"
    for name, text in VIEWS.items():
        if indexed or name not in OF_INDEX:
            body = in_dialect(text, connection.dialect.name)
            if not temporary:
                connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
            connection.exec_driver_sql(f"CREATE {word} {name} AS {body}")


def drop_views(connection: Connection) -> None:
    """Remove the views: tables that they speak of can be changed then."""
    for name in VIEWS:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")


def in_dialect(text: str, dialect: str) -> str:
    """A statement with what is in braces said as this database says it."""
    words = _DIALECTS[dialect]

    def written(found: re.Match[str]) -> str:
        word, *arguments = found[1].split(":")
        return words[word].format(*arguments)

    return re.sub(r"\{([^}]+)\}", written, text).replace("%", "%%" if dialect != "sqlite" else "%")
