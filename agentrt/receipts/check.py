"""Checking a receipt: offline, without the store, with public keys alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from agentrt.approvals.signatures import verify
from agentrt.approvals.statement import Covered, Statement
from agentrt.errors import ReceiptInvalid, SignatureInvalid
from agentrt.events import CallApproved, CallDecided, CallRejected, CallSettled, Record
from agentrt.policy.public_keys import ED25519, ED25519_SK, PublicKey
from agentrt.policy.reviewers import APPROVAL_NAMESPACE
from agentrt.receipts.envelope import fingerprint_of, opened, to_json
from agentrt.receipts.evidence import Evidence
from agentrt.receipts.making import PREDICATE_TYPE, STATEMENT_TYPE, digest_of, statement_of

__all__ = ["Checked", "Signers", "check_receipt"]


@dataclass(frozen=True)
class Signers:
    """Who may sign approvals, as an `allowed_signers` file of OpenSSH says."""

    lines: tuple[tuple[tuple[str, ...], PublicKey, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The signers of such a file. Raises ReceiptInvalid."""
        lines = (line.strip() for line in text.splitlines())
        return cls(tuple(_signer(line) for line in lines if line and not line.startswith("#")))

    def keys_of(self, name: str, at: int) -> list[PublicKey]:
        """The keys that somebody could sign an approval with at a time (milliseconds)."""
        return [
            key
            for names, key, options in self.lines
            if name in names and _counts_at(options, at) and _for_approvals(options)
        ]


def _signer(line: str) -> tuple[tuple[str, ...], PublicKey, str]:
    found = re.fullmatch(rf"(\S+)\s+(.*?)\s*((?:{ED25519}|{re.escape(ED25519_SK)})\s.*)", line)
    if found is None:
        raise ReceiptInvalid(f"This is no line of an allowed_signers file: {line[:60]!r}.")
    try:
        return tuple(found[1].split(",")), PublicKey.parse(found[3]), found[2]
    except ValueError as error:
        raise ReceiptInvalid(f"The key of {found[1]} cannot be read: {error}.") from None


def _for_approvals(options: str) -> bool:
    found = re.search(r'namespaces="([^"]*)"', options)
    return found is None or APPROVAL_NAMESPACE in found[1].split(",")


def _counts_at(options: str, at: int) -> bool:
    moment = datetime.fromtimestamp(at / 1000, tz=UTC).strftime("%Y%m%d%H%M%SZ")
    after = re.search(r'valid-after="(\d+Z?)"', options)
    before = re.search(r'valid-before="(\d+Z?)"', options)
    return (after is None or after[1] <= moment) and (before is None or moment < before[1])


@dataclass(frozen=True)
class Checked:
    """A receipt that holds, and what it rests on."""

    predicate: dict[str, Any]
    key: str
    """Fingerprint of the runtime's key that signed it."""
    size: int
    """How many heads its checkpoint is over."""
    cosigned: tuple[str, ...]
    """Names under the checkpoint besides the runtime's, not checked here."""
    approvals: tuple[tuple[str, str, bool], ...] = field(default=())
    """Who signed, with which key, and whether that was held to known signers."""


def check_receipt(data: bytes, keys: Sequence[bytes], *, signers: Signers | None = None) -> Checked:
    """Check a receipt with the runtime's public keys, and approvals with those of `signers`.

    Signature, records, their place under the signed checkpoint, what is shown of content, the text
    of the rules, every approval; and that the receipt says what all this shows and nothing else.
    Raises ReceiptInvalid.
    """
    payload, key = opened(data, list(keys))
    statement = _statement(payload)
    predicate = statement["predicate"]
    evidence = Evidence.load(predicate.get("evidence") or {})
    checkpoint = evidence.check(key)
    call, store = _named(predicate)
    if checkpoint.origin != f"agentrt/{store}":
        raise ReceiptInvalid("The checkpoint is one of another store.")
    again = statement_of(evidence, store, call, fingerprint_of(key))
    if to_json(again) != payload:
        raise ReceiptInvalid("The receipt says something that its own evidence does not show.")
    records = [r for r in evidence.records() if getattr(r.event, "call", None) == call]
    _check_rules(evidence, records)
    names = [signature.name for signature in evidence.checkpoint.signatures]
    return Checked(
        predicate=predicate,
        key=fingerprint_of(key),
        size=checkpoint.size,
        cosigned=tuple(name for name in names if name != checkpoint.origin),
        approvals=tuple(_check_verdict(r, records, store, signers) for r in _signed(records)),
    )


def _statement(payload: bytes) -> dict[str, Any]:
    try:
        data = json.loads(payload)
        known = (data["_type"], data["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE)
    except (ValueError, KeyError, TypeError, RecursionError):
        known = False
    if not known or not isinstance(data["predicate"], dict):
        raise ReceiptInvalid(f"This is not a receipt of the kind {PREDICATE_TYPE}.")
    statement: dict[str, Any] = data
    return statement


def _named(predicate: dict[str, Any]) -> tuple[str, str]:
    try:
        return str(predicate["action"]["call"]), str(predicate["identities"]["store"])
    except (KeyError, TypeError):
        raise ReceiptInvalid("The receipt does not say which call it is of.") from None


def _check_rules(evidence: Evidence, records: Sequence[Record]) -> None:
    if evidence.rules is None:
        return
    last = [r.event for r in records if isinstance(r.event, CallDecided)][-1]
    if digest_of(evidence.rules) != last.rules_digest:
        raise ReceiptInvalid("The text of the rules is not that of the rules that decided.")


def _signed(records: Sequence[Record]) -> list[Record]:
    """The records that hold a person's signature, where it is shown."""
    kinds = (CallApproved, CallRejected, CallSettled)
    return [
        r
        for r in records
        if isinstance(r.event, kinds)
        and r.event.signature is not None
        and not {"statement", "signature"} & r.forgotten
    ]


def _check_verdict(
    record: Record, records: Sequence[Record], store: str, signers: Signers | None
) -> tuple[str, str, bool]:
    """Hold a signature to what it is about: a transplanted or forged one is found here."""
    event: Any = record.event
    try:
        said = Statement.from_bytes(event.statement)
        key = _signing_key(event, said, signers, record.at)
        _check_about(said, record, records, store)
    except SignatureInvalid as error:
        raise ReceiptInvalid(
            f"The signature in record {record.seq} does not hold: {error}"
        ) from None
    if key != event.key or said.digest != event.statement_digest:
        raise ReceiptInvalid(f"Record {record.seq} names another key or statement than it holds.")
    return said.reviewer, key, signers is not None


def _signing_key(event: Any, said: Statement, signers: Signers | None, at: int) -> str:
    if signers is not None:
        keys = signers.keys_of(said.reviewer, at)
        if not keys:
            raise SignatureInvalid(f"{said.reviewer} is none of the signers, or not at that time.")
        return verify(event.statement, event.signature, keys)
    return verify(event.statement, event.signature, [_key_within(event.signature)])


def _key_within(signature: str) -> PublicKey:
    """The key that the signature itself brings: who it belongs to is not said by it."""
    from sshsig.sshsig import SshsigSignature, ssh_dearmor_sshsig

    try:
        return PublicKey(SshsigSignature(ssh_dearmor_sshsig(signature)).public_key)
    except (ValueError, NotImplementedError):
        raise SignatureInvalid("This is not an SSH signature.") from None


VERDICTS = {"call.approved": ("approve",), "call.rejected": ("reject",)}


def _check_about(said: Statement, record: Record, records: Sequence[Record], store: str) -> None:
    event: Any = record.event
    decisions = [r for r in records if isinstance(r.event, CallDecided) and r.seq < record.seq]
    covered = next((each for each in said.covered if each.call == event.call), None)
    if covered is None or not decisions:
        raise SignatureInvalid("It speaks of another call.")
    happened = ("happened",) if getattr(event, "happened", False) else ("did_not_happen",)
    if said.verdict not in VERDICTS.get(event.type, happened):
        raise SignatureInvalid("It says something else.")
    if (said.store, said.run) != (store, record.run):
        raise SignatureInvalid("It is about another store or run.")
    if not any(_fits(covered, each.event) for each in decisions):
        raise SignatureInvalid("It is about other arguments, another tool or other rules.")


def _fits(covered: Covered, decided: Any) -> bool:
    return (covered.tool, covered.tool_digest, covered.arguments_digest, covered.rules_digest) == (
        decided.tool,
        decided.tool_digest,
        decided.arguments_digest,
        decided.rules_digest,
    )
