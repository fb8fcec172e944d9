"""The evidence in a receipt: records as they were hashed, what is shown of their content, and the
proof that they are under a signed checkpoint.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from agentrt.audit.notes import Checkpoint, Note, Verifier
from agentrt.audit.proofs import Sealed
from agentrt.audit.records import commitment, read_record, record_hash
from agentrt.audit.tree import Leaf
from agentrt.errors import NoteInvalid, NotProven, ReceiptInvalid, StoreCorrupt
from agentrt.events import Record

__all__ = ["Evidence", "Shown"]

Shown = Mapping[tuple[str, int], Mapping[str, tuple[bytes, bytes]]]
"""Salt and body of each part of content that is shown, by record."""


@dataclass(frozen=True)
class Evidence:
    """Stretches of runs that end in sealed heads."""

    checkpoint: Note
    stretches: Sequence[Sealed]
    shown: Shown = field(default_factory=dict)
    rules: Any = None
    """What `rules_digest` of the last decision is the hash of: the rules' own text as data."""

    def check(self, key: bytes) -> Checkpoint:
        """Hold all of it to the checkpoint, and that to the key. Raises ReceiptInvalid."""
        try:
            checkpoint = Checkpoint.parse(self.checkpoint.text)
            Verifier(checkpoint.origin, key).verify(self.checkpoint)
            for stretch in self.stretches:
                stretch.check(checkpoint)
        except (NoteInvalid, NotProven) as error:
            raise ReceiptInvalid(f"The records are not proven: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise ReceiptInvalid("The records of this receipt cannot be read.") from None
        self._check_shown()
        return checkpoint

    def _check_shown(self) -> None:
        known = {(record.run, record.seq): record for record in self.records()}
        for place, parts in self.shown.items():
            header = json.loads(known[place].header) if place in known else {"parts": {}}
            for name, (salt, body) in parts.items():
                if header["parts"].get(name) != commitment(salt, body):
                    raise ReceiptInvalid(
                        f"The {name} that is shown is not what record {place[1]} commits to."
                    )

    def records(self) -> list[Record]:
        """The records, oldest first within each run. Raises ReceiptInvalid."""
        found: dict[tuple[str, int], Record] = {}
        try:
            for stretch in self.stretches:
                for header in stretch.headers:
                    data = json.loads(header)
                    place = data["run"], data["seq"]
                    parts = {name: body for name, (_, body) in self.shown.get(place, {}).items()}
                    found[place] = read_record(header, record_hash(header), parts, {})
        except (StoreCorrupt, ValueError, KeyError, TypeError):
            raise ReceiptInvalid("A record of this receipt cannot be read.") from None
        return [found[place] for place in sorted(found)]

    # --- as data --------------------------------------------------------------------------

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "checkpoint": str(self.checkpoint),
            "stretches": [
                {
                    "headers": [header.decode() for header in stretch.headers],
                    "leaf_index": stretch.index,
                    "inclusion": [_text(node) for node in stretch.path],
                }
                for stretch in self.stretches
            ],
            "shown": [
                {"run": run, "seq": seq, "part": name, "salt": _text(salt), "body": _text(body)}
                for (run, seq), parts in sorted(self.shown.items())
                for name, (salt, body) in sorted(parts.items())
            ],
            "rules": self.rules,
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Self:
        """The evidence of such data. Raises ReceiptInvalid."""
        try:
            shown: dict[tuple[str, int], dict[str, tuple[bytes, bytes]]] = {}
            for each in data["shown"]:
                parts = shown.setdefault((each["run"], each["seq"]), {})
                parts[each["part"]] = _bytes(each["salt"]), _bytes(each["body"])
            return cls(
                checkpoint=Note.parse(data["checkpoint"]),
                stretches=[_stretch(each) for each in data["stretches"]],
                shown=shown,
                rules=data["rules"],
            )
        except NoteInvalid as error:
            raise ReceiptInvalid(str(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise ReceiptInvalid("The evidence of this receipt cannot be read.") from None


def _stretch(data: Mapping[str, Any]) -> Sealed:
    headers = tuple(header.encode() for header in data["headers"])
    last = json.loads(headers[-1])
    return Sealed(
        headers=headers,
        leaf=Leaf(last["run"], last["seq"], hashlib.sha256(b"\x00" + headers[-1]).digest()),
        index=data["leaf_index"],
        path=tuple(_bytes(node) for node in data["inclusion"]),
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
