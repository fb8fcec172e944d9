"""A record as bytes: canonical header, hash, commitments; and back.

The header is RFC 8785 JSON: it holds only objects with ASCII names, lists, strings, booleans,
null and integers below 2**53, for which sorted compact JSON is the canonical form. The hash is an
RFC 6962 leaf hash, `SHA-256(0x00 || header)`, so that records can be leaves of a Merkle tree.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agentrt.errors import RecordTooNew, StoreCorrupt, StoreError
from agentrt.events import FORMAT_VERSION, AnyEvent, Record, event_types, load_event

__all__ = ["Part", "Written", "commitment", "read_record", "record_hash", "write_record"]

_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)

SALT_BYTES = 16
ENVELOPE = frozenset({"v", "run", "seq", "at", "prev", "parts", "shared"})
"""Header fields that belong to the record; the others are the event's."""


@dataclass(frozen=True, slots=True)
class Part:
    """One erasable field: its bytes, and the salt that its commitment was made with."""

    name: str
    salt: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """A record and the bytes that are stored beside its header."""

    record: Record
    parts: tuple[Part, ...]
    shared: Mapping[str, bytes]
    """Bodies by their SHA-256."""


def write_record(
    event: AnyEvent, *, run: str, seq: int, at: int, prev: bytes, user_ref: str | None = None
) -> Written:
    """The record of `event` at this place of the chain of a run that works for `user_ref`."""
    bodies = event.parts()
    erasable = {name for name in bodies if event.storage[name].erasable}
    parts = tuple(
        Part(name, secrets.token_bytes(SALT_BYTES), bodies[name]) for name in sorted(erasable)
    )
    shared = {name: body for name, body in bodies.items() if name not in erasable}
    header = {
        **({"user_ref": user_ref} if user_ref else {}),
        **event.header(),
        "v": FORMAT_VERSION,
        "run": run,
        "seq": seq,
        "at": at,
        "prev": prev.hex(),
        "parts": {part.name: commitment(part.salt, part.body) for part in parts},
        "shared": {name: hashlib.sha256(body).hexdigest() for name, body in shared.items()},
    }
    raw = canonical(header)
    return Written(
        record=Record(run, seq, at, event, raw, record_hash(raw)),
        parts=parts,
        shared={header["shared"][name]: body for name, body in shared.items()},
    )


def read_record(
    header: bytes, hash: bytes, parts: Mapping[str, bytes], shared: Mapping[str, bytes]
) -> Record:
    """The record back from what is stored. It does not check the hashes: `verify` does.

    Raises StoreCorrupt for a header that is none, and RecordTooNew for one that a newer agentrt
    wrote: of a later format, of a type or with a field that this one does not know.
    """
    try:
        data: dict[str, Any] = json.loads(header)
        names = (*data["parts"], *data["shared"])
        bodies = {name: parts.get(name) for name in data["parts"]}
        bodies |= {name: shared.get(digest) for name, digest in data["shared"].items()}
        fields = {name: value for name, value in data.items() if name not in ENVELOPE}
        if data["type"] != "run.started":
            fields.pop("user_ref", None)  # of the record: only a start states it itself
        event = _event(data["v"], fields, bodies)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(header, hash, error) from error
    return Record(
        run=data["run"],
        seq=data["seq"],
        at=data["at"],
        event=event,
        header=header,
        hash=hash,
        forgotten=frozenset(name for name in names if bodies[name] is None),
    )


def _event(version: int, fields: Mapping[str, Any], bodies: Mapping[str, bytes | None]) -> AnyEvent:
    if version > FORMAT_VERSION:
        raise ValueError(version)
    return load_event(fields, bodies)


def _unreadable(header: bytes, hash: bytes, error: Exception) -> StoreError:
    """A record that is as it was written, by a newer agentrt; or one that nobody wrote so."""
    if record_hash(header) == hash and (unknown := _unknown(json.loads(header), error)):
        return RecordTooNew(
            f"A record of this run has {unknown}, which this agentrt does not know: a newer one "
            "wrote it, and the run is left to that one. Upgrade this one."
        )
    return StoreCorrupt(
        f"A record cannot be read: {type(error).__name__}. Run `agentrt audit verify`."
    )


def _unknown(data: Any, error: Exception) -> str | None:
    """What of an intact header this version does not know."""
    if not isinstance(data, dict) or not isinstance(data.get("v"), int):
        return None
    if data["v"] > FORMAT_VERSION:
        return f"the format {data['v']}"
    if data.get("type") not in event_types():
        return f"the type {data.get('type')!r}"
    if not isinstance(error, ValidationError):
        return None
    new = [each["loc"][-1] for each in error.errors() if each["type"] == "extra_forbidden"]
    return f"the field {new[0]!r}" if new and len(new) == error.error_count() else None


def canonical(header: Mapping[str, Any]) -> bytes:
    """RFC 8785 bytes of a header; the law is tested against the `rfc8785` package."""
    return _CANONICAL.encode(header).encode()


def record_hash(header: bytes) -> bytes:
    """SHA-256(0x00 || header), RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x00" + header).digest()


def commitment(salt: bytes, body: bytes) -> str:
    """SHA-256(salt || body) in base64; without the salt a short body could be guessed."""
    return base64.b64encode(hashlib.sha256(salt + body).digest()).decode()
