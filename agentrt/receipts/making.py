"""Making a receipt: the records of a call, with their proofs, under the runtime's signature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import rfc8785
from sqlalchemy import Connection, select

from agentrt.audit import AuditStore
from agentrt.audit.keys import SigningKey
from agentrt.audit.notes import Checkpoint, Note
from agentrt.audit.proofs import Sealed, sealed
from agentrt.audit.sealing import newest_checkpoint
from agentrt.audit.tables import ContentRow, columns
from agentrt.errors import NotFound, PolicyError
from agentrt.events import CallDecided, FactStated, Record, RunCancelled, RunStarted
from agentrt.policy import Policy
from agentrt.policy.rules import Approve
from agentrt.receipts.envelope import sealed_envelope, to_json
from agentrt.receipts.evidence import Evidence, Shown
from agentrt.receipts.predicate import tell

__all__ = ["PREDICATE_TYPE", "make_receipt", "statement_of"]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:agentrt:receipt:v1"

KEPT_BACK = frozenset({"history"})
"""Content that no receipt shows: a whole conversation before this one."""

DECIDING = (("deny",), ("hold",), ("allow",), ("deny", "hold"), ("hold", "allow"))
"""Which of the rules that matched may have decided, the others having had no say."""

_content = columns(ContentRow)


def make_receipt(
    store: AuditStore, call: str, key: SigningKey, *, withhold: Collection[str] = ()
) -> bytes:
    """The receipt of a call as a file. What is forgotten, or in `withhold`, is committed to only.

    The records must be under a checkpoint: raises NotFound while they are not, or when there is no
    decision on such a call.
    """
    row = store.find_call(call)
    records = _records(store, row.run, row.id)
    with store.reading() as connection:
        note = newest_checkpoint(connection)
        if note is None:
            raise NotFound("There is no checkpoint yet: `agentrt audit checkpoint`.")
        evidence = Evidence(
            checkpoint=note,
            stretches=_stretches(connection, records, note),
            shown=_shown(connection, records, row.id, KEPT_BACK | set(withhold)),
            rules=_rules(store, records, row.id),
        )
    statement = statement_of(evidence, store.id, row.id, key.public.fingerprint)
    return sealed_envelope(to_json(statement), key)


def statement_of(evidence: Evidence, store: str, call: str, key: str) -> dict[str, Any]:
    """The in-toto statement over the call's own records, which is all that evidence shows."""
    records = evidence.records()
    said = tell(store, call, key, records, evidence.rules)
    own = [record for record in records if getattr(record.event, "call", None) == call]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": f"agentrt/{store}/{record.run}/{record.seq}",
                "digest": {"sha256": hashlib.sha256(record.header).hexdigest()},
            }
            for record in own
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {**said, "evidence": evidence.data()},
    }


# --- which records ----------------------------------------------------------------------------


def _records(store: AuditStore, run: str, call: str) -> list[Record]:
    """The start of the run and of those it follows, and what speaks of the call or led to it."""
    beginnings = [store.records(each)[0] for each in store.ancestors(run)]
    own = store.records(run)
    decided = [r for r in own if isinstance(r.event, CallDecided) and r.event.call == call]
    if not decided:
        raise NotFound(f"There is no decision on {call} yet, so there is no receipt.")
    first = decided[0].seq
    return [*beginnings, *(record for record in own if _belongs(record, call, first))]


def _belongs(record: Record, call: str, first: int) -> bool:
    event = record.event
    if getattr(event, "call", None) == call or isinstance(event, RunStarted | RunCancelled):
        return True
    if isinstance(event, FactStated):
        return record.seq > first
    return isinstance(event, CallDecided) and record.seq < first


def _stretches(connection: Connection, records: Iterable[Record], note: Note) -> list[Sealed]:
    """As few as cover the records: one that ends behind a later record covers that too."""
    checkpoint = Checkpoint.parse(note.text)
    reached: dict[str, int] = {}
    found = []
    for record in records:
        if record.seq > reached.get(record.run, 0):
            found.append(sealed(connection, record.run, record.seq, checkpoint))
            reached[record.run] = found[-1].leaf.seq
    return found


def _shown(
    connection: Connection, records: Iterable[Record], call: str, withheld: Collection[str]
) -> Shown:
    """The content of what speaks of the call; of other calls nothing."""
    found: dict[tuple[str, int], dict[str, tuple[bytes, bytes]]] = {}
    query = select(_content.part, _content.salt, _content.body)
    for record in records:
        if isinstance(record.event, CallDecided) and record.event.call != call:
            continue
        mine = query.where(_content.run == record.run, _content.seq == record.seq)
        for part, salt, body in connection.execute(mine):
            if part not in withheld and part not in record.forgotten:
                found.setdefault((record.run, record.seq), {})[part] = (salt, body)
    return found


# --- the rules as they were -------------------------------------------------------------------


def _rules(store: AuditStore, records: Sequence[Record], call: str) -> Any:
    """What the digest of the deciding rules was made of; None when it cannot be made again."""
    events = [record.event for record in records]
    last = [e for e in events if isinstance(e, CallDecided) and e.call == call][-1]
    texts = store.bundle(last.bundle)
    candidates = [_by_default(last), {"unknown_tool": "deny"}]
    if texts is not None:
        candidates += _by_rules(texts, last)
    fitting = (said for said in candidates if digest_of(said) == last.rules_digest)
    return next(fitting, None)


def _by_rules(texts: Any, decided: CallDecided) -> list[dict[str, Any]]:
    try:
        known = {rule.id: rule for rule in Policy.parse(texts).rules}
    except PolicyError:
        return []
    matched = [known[ref.id] for ref in decided.rules if ref.id in known]
    # A rule that denies or allows may have held the call, when what it asks for was not known.
    chosen = [[rule for rule in matched if rule.decide in some] for some in DECIDING]
    return [{"rules": [rule.meaning() for rule in each]} for each in (matched, *chosen)]


def _by_default(decided: CallDecided) -> dict[str, Any]:
    terms = None
    if decided.verdict == "hold":
        terms = Approve().for_effect(decided.effect).model_dump(mode="json")  # type: ignore[arg-type]
    meaning = {"effect": decided.effect, "decide": decided.verdict, "approve": terms}
    return {"default": meaning}


def digest_of(rules: Any) -> str:
    """As `rules_digest` of a decision is made."""
    return hashlib.sha256(rfc8785.dumps(json.loads(json.dumps(rules)))).hexdigest()
