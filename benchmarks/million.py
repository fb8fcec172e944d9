"""A store of a million records, made by raw inserts: true chains, commitments and lists.

Each run is one of a shop's: somebody asks, Claude reads an order and asks for a refund, which
policy allows, holds or denies; what is held is approved or rejected. It is made once and kept in
the folder for temporary files.
"""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from agentrt.audit import AuditStore
from agentrt.audit.records import canonical, commitment, record_hash
from agentrt.audit.tables import ApprovalRow, CallRow, ModelCallRow, RunRow

__all__ = ["AGENTS", "REVIEWERS", "RULES", "TOOLS", "USERS", "a_million"]

RECORDS = 1_000_000
RUNS_AT_ONCE = 500

VERSION = 1
"""Of what is made here: a store of another one is made again."""

AGENTS = tuple(f"agent-{number}" for number in range(8))
USERS = tuple(f"user-{number}@shop.example" for number in range(2_000))
REVIEWERS = tuple(f"reviewer-{number}" for number in range(12))
TOOLS = ("find_order", *(f"refund_{kind}" for kind in ("card", "cash", "voucher", "invoice")))
RULES = tuple(f"rule-{number}" for number in range(40))
WORDS = (
    *("lamp", "chair", "table", "shelf", "invoice", "courier", "delayed", "broken", "twice"),
    *("charged", "wrong", "colour", "missing", "return", "refund", "address", "postcode"),
    *("account", "customer", "angry", "polite", "urgent", "today", "yesterday"),
)

STARTED_AT = 1_750_000_000_000
STEP_MS = 400
BUNDLE = "b" * 64
RULES_TEXT = {"rules.yaml": "rules: [{id: rule-0, when: args.cents > 100, decide: hold}]"}

INSERT_EVENT = "INSERT INTO event (header, hash) VALUES (?, ?)"
INSERT_CONTENT = "INSERT INTO content (run, seq, part, salt, body) VALUES (?, ?, ?, ?, ?)"


def a_million(*, records: int = RECORDS) -> Path:
    """The path of the store, made now if it is not there yet."""
    path = Path(tempfile.gettempdir()) / f"agentrt-{records}-v{VERSION}.db"
    done = path.with_suffix(".done")
    if not done.exists():
        for old in path.parent.glob(f"{path.name}*"):
            old.unlink()
        _make(path, records)
        done.touch()
    return path


def _make(path: Path, records: int) -> None:
    with AuditStore(path) as store:
        dice = random.Random(5)
        number = total = 0
        store.derive(lambda connection: _begin(connection.connection.driver_connection, store))
        while total < records:
            made = [_Told(store, number + each, dice) for each in range(RUNS_AT_ONCE)]
            store.derive(lambda connection, made=made: _insert(connection, made))  # type: ignore[misc]
            number += RUNS_AT_ONCE
            total += sum(len(run.headers) for run in made)


def _begin(connection: Any, store: AuditStore) -> None:
    """The policy, and the agent's definition that all runs share."""
    files = json.dumps(RULES_TEXT).encode()
    definition = json.dumps({"name": "agent", "tools": []}).encode()
    for body in (files, definition):
        digest = hashlib.sha256(body).hexdigest()
        connection.execute("INSERT INTO shared (digest, body) VALUES (?, ?)", (digest, body))
    run = _Told(store, -1, random.Random(0), empty=True)
    run.id = "store"
    shared = {"files": hashlib.sha256(files).hexdigest()}
    run.add({"type": "bundle.loaded", "bundle": BUNDLE, "service": "benchmark"}, shared=shared)
    connection.executemany(INSERT_EVENT, run.headers)


def _insert(connection: Any, runs: list[_Told]) -> None:
    own = connection.connection.driver_connection
    own.executemany(INSERT_EVENT, [row for run in runs for row in run.headers])
    own.executemany(INSERT_CONTENT, [row for run in runs for row in run.content])
    for table in (RunRow, CallRow, ModelCallRow, ApprovalRow):
        rows = [row for run in runs for kind, row in run.rows if kind is table]
        connection.execute(insert(table), rows)


DEFINITION = hashlib.sha256(json.dumps({"name": "agent", "tools": []}).encode()).hexdigest()


@dataclass
class _Told:
    """One run, and all rows of it."""

    store: AuditStore
    number: int
    dice: random.Random
    empty: bool = False
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    content: list[tuple[Any, ...]] = field(default_factory=list)
    rows: list[tuple[type, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = f"r_{self.number & 0xFFFFFFFFFFFFFFFF:016x}"
        self.at = STARTED_AT + self.number * 13 * STEP_MS
        self.agent = self.dice.choice(AGENTS)
        self.user = self.dice.choice(USERS)
        self.user_ref = self.store.ref(self.user)
        if not self.empty:
            self._tell()

    def add(
        self,
        event: Mapping[str, Any],
        parts: Mapping[str, Any] | None = None,
        shared: Mapping[str, str] | None = None,
    ) -> int:
        """Put a record at the end of the chain; its place."""
        seq = len(self.headers) + 1
        self.at += STEP_MS
        bodies = {name: json.dumps(value).encode() for name, value in (parts or {}).items()}
        salts = {name: self.dice.randbytes(16) for name in bodies}
        raw = canonical(
            {
                **({"user_ref": self.user_ref} if not self.empty else {}),
                **event,
                **({"cause": seq - 1} if seq > 1 else {}),
                "v": 1,
                "run": self.id,
                "seq": seq,
                "at": self.at,
                "prev": self.headers[-1][1].hex() if self.headers else "",
                "parts": {name: commitment(salts[name], body) for name, body in bodies.items()},
                "shared": dict(shared or {}),
            }
        )
        self.headers.append((raw.decode(), record_hash(raw)))
        self.content += [(self.id, seq, name, salts[name], bodies[name]) for name in bodies]
        return seq

    def _tell(self) -> None:
        prompt = self._text(30)
        began = self.at + STEP_MS
        self.add(
            {
                "type": "run.started", "agent": self.agent, "model": "claude-sonnet-5-5",
                "bundle": BUNDLE, "environment": "production", "service": "benchmark",
                "simulated": False, "turns_max": 20, "deadline_ms": 3_600_000,
            },
            {"prompt": prompt, "user": {"name": self.user, "roles": [], "verified": "oidc"}},
            {"definition": DEFINITION},
        )  # fmt: skip
        order = f"{self.dice.randrange(10**6):06}"
        cents = int(self.dice.paretovariate(1.1) * 100) % 10_000_000
        self._claude(1, [("find_order", {"order": order})])
        self._call(1, "find_order", {"order": order}, "read", "allow")
        self._claude(2, [(tool := self.dice.choice(TOOLS[1:]), {"order": order, "cents": cents})])
        verdict = self.dice.choices(("allow", "hold", "deny"), (60, 38, 2))[0]
        arguments = {"cents": cents, "order": order}
        self._call(2, tool, arguments, "irreversible", verdict)
        self._claude(3, [])
        self.add({"type": "run.finished", "stop_reason": "end_turn"}, {"output": self._text(20)})
        self.rows.append((RunRow, self._run_row(began, prompt)))

    def _text(self, words: int) -> str:
        return " ".join(self.dice.choices(WORDS, k=words)) + f" case{self.number}"

    def _claude(self, turn: int, uses: list[tuple[str, Mapping[str, Any]]]) -> None:
        self.add(
            {
                "type": "claude.asked", "turn": turn, "ask": 1, "model": "claude-sonnet-5-5",
                "messages": turn * 2 - 1, "tokens_max": 4096, "request_digest": "d" * 64,
            }
        )  # fmt: skip
        blocks = [{"type": "text", "text": self._text(25)}]
        blocks += [
            {"type": "tool_use", "id": f"toolu_{turn}", "name": name, "input": given}  # type: ignore[dict-item]
            for name, given in uses
        ]
        seq = self.add(
            {
                "type": "claude.replied", "turn": turn, "message_id": f"msg_{self.number}_{turn}",
                "model": "claude-sonnet-5-5", "stop_reason": "tool_use" if uses else "end_turn",
                "usage": {"input_tokens": 900, "output_tokens": 80}, "cost_usd": "0.0039",
                "latency_ms": 900,
            },
            {"blocks": blocks},
        )  # fmt: skip
        self.rows.append((ModelCallRow, self._model_row(seq, turn, ended=not uses)))

    def _call(
        self, turn: int, tool: str, arguments: Mapping[str, Any], effect: str, verdict: str
    ) -> None:
        call = f"c_{self.number * 4 + turn:016x}"
        rule = self.dice.choice(RULES)
        body = json.dumps(arguments, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(body.encode()).hexdigest()
        self.add(
            {
                "type": "call.decided", "call": call, "revision": 1, "tool": tool,
                "verdict": verdict, "basis": "rules", "rules_digest": "c" * 64, "bundle": BUNDLE,
                "rules": [{"id": rule, "file": "rules.yaml", "line": 5}], "effect": effect,
                "labels": ["moves_money"] if effect == "irreversible" else ["reads_private"],
                "repeatable": effect == "read", "tool_digest": "e" * 64,
                "arguments_digest": digest,
            },
            {"arguments": arguments, "reason": "A rule says so."},
        )  # fmt: skip
        requested = self.at
        status = {"deny": "denied"}.get(verdict, "finished")
        if verdict == "hold":
            status = self._reviewed(call, status)
        if status == "finished":
            self._ran(call, digest)
        row = self._call_row(call, turn, tool, effect, verdict, status, rule, requested, body)
        self.rows.append((CallRow, row))

    def _reviewed(self, call: str, status: str) -> str:
        reviewer = self.dice.choice(REVIEWERS)
        yes = self.dice.random() < 0.9
        seq = self.add(
            {
                "type": "call.approved" if yes else "call.rejected", "call": call, "revision": 1,
                "reviewer_ref": self.store.ref(reviewer), "key": "SHA256:none",
                "statement_digest": "f" * 64,
            },
            {
                "by": reviewer, "reason": "", "statement": {"call": call},
                "signature": "none",
            },
        )  # fmt: skip
        row = {
            "run": self.id, "seq": seq, "at": self.at, "call": call,
            "verdict": "approve" if yes else "reject", "by": reviewer, "reason": "",
            "key": "SHA256:none",
        }  # fmt: skip
        self.rows.append((ApprovalRow, row))
        return status if yes else "rejected"

    def _ran(self, call: str, digest: str) -> None:
        self.add(
            {
                "type": "call.started", "call": call, "revision": 1, "attempt": 1,
                "key": f"{self.id}:{call}", "process": "p_1", "deadline_at": self.at + 60_000,
                "arguments_digest": digest, "tool_digest": "e" * 64, "bundle": BUNDLE,
            }
        )  # fmt: skip
        self.add(
            {
                "type": "call.finished", "call": call, "attempt": 1, "outcome": "ok",
                "duration_ms": 20,
            },
            {"result": self._text(40)},
        )  # fmt: skip

    def _run_row(self, began: int, prompt: str) -> dict[str, Any]:
        return {
            "id": self.id, "head_seq": len(self.headers), "head_hash": self.headers[-1][1],
            "head_at": self.at, "status": "finished", "agent": self.agent,
            "model": "claude-sonnet-5-5", "environment": "production", "simulated": False,
            "user": self.user, "prompt": prompt[:200], "turn": 3, "held": 0, "in_doubt": 0,
            "error": None, "cost_usd": "0.0117", "cost_unknown": False, "started_at": began,
            "wake_at": None,
        }  # fmt: skip

    def _call_row(
        self, call: str, turn: int, tool: str, effect: str, verdict: str, status: str, rule: str,
        requested: int, body: str,
    ) -> dict[str, Any]:  # fmt: skip
        return {
            "id": call, "run": self.id, "turn": turn, "index": 0, "agent": self.agent,
            "user": self.user, "simulated": False, "tool": tool, "status": status,
            "effect": effect, "verdict": verdict, "revision": 1,
            "rule": f"{rule} rules.yaml:5", "severity": "high" if verdict == "hold" else None,
            "summary": body, "quorum": 1, "approvals": int(verdict == "hold"),
            "attempt": int(status == "finished"), "requested_at": requested,
            "decided_at": self.at, "expires_at": None, "finished_at": self.at,
        }  # fmt: skip

    def _model_row(self, seq: int, turn: int, *, ended: bool) -> dict[str, Any]:
        return {
            "run": self.id, "seq": seq, "at": self.at, "turn": turn, "agent": self.agent,
            "environment": "production", "simulated": False, "model": "claude-sonnet-5-5",
            "request_id": None, "outcome": "end_turn" if ended else "tool_use", "failed": False,
            "input_tokens": 900, "cache_write_tokens": 0, "cache_read_tokens": 0,
            "output_tokens": 80, "cost_usd": "0.0039", "latency_ms": 900, "first_token_ms": None,
        }  # fmt: skip
