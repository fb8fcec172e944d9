"""The envelope: DSSE with one Ed25519 signature, in the one form in which its bytes may be."""

from __future__ import annotations

import base64
import json
from typing import Any

from agentrt.audit.keys import SigningKey
from agentrt.errors import ReceiptInvalid
from agentrt.policy.public_keys import PublicKey

__all__ = ["PAYLOAD_TYPE", "fingerprint_of", "opened", "sealed_envelope", "to_json"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"

BYTES_MAX = 64 * 1024 * 1024


def to_json(data: Any) -> bytes:
    """JSON with sorted keys and no blanks, in ASCII: equal data has equal bytes."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sealed_envelope(payload: bytes, key: SigningKey) -> bytes:
    """The payload under a signature, as a file."""
    signature = {
        "keyid": key.public.fingerprint,
        "sig": base64.b64encode(key.sign(_encoded(payload))).decode(),
    }
    return _file(payload, signature)


def _file(payload: bytes, signature: dict[str, str]) -> bytes:
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [signature],
    }
    return to_json(envelope) + b"\n"


def opened(data: bytes, keys: list[bytes]) -> tuple[bytes, bytes]:
    """The payload, and the one of `keys` that signed it. Raises ReceiptInvalid.

    A file that says the same in other bytes is refused: every byte of a receipt counts.
    """
    if len(data) > BYTES_MAX:
        raise ReceiptInvalid("This is too long to be a receipt.")
    try:
        envelope = json.loads(data)
        payload = base64.b64decode(envelope["payload"], validate=True)
        (signature,) = envelope["signatures"]
        body = base64.b64decode(signature["sig"], validate=True)
        said = {"keyid": str(signature["keyid"]), "sig": base64.b64encode(body).decode()}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ReceiptInvalid(
            "This is not a receipt: no DSSE envelope with one signature."
        ) from None
    if _file(payload, said) != data:
        raise ReceiptInvalid("This receipt is not in the one form that it has: it was changed.")
    key = next((key for key in keys if fingerprint_of(key) == said["keyid"]), None)
    if key is None:
        raise ReceiptInvalid(
            f"This receipt says that {said['keyid']} signed it, which is none of the keys given."
        )
    _verify(key, body, payload)
    return payload, key


def _verify(key: bytes, signature: bytes, payload: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _encoded(payload))
    except (InvalidSignature, ValueError):
        raise ReceiptInvalid("The signature is not over this receipt: it was changed.") from None


def _encoded(payload: bytes) -> bytes:
    """What is signed: the pre-authentication encoding of DSSE, version 1."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def fingerprint_of(raw: bytes) -> str:
    """As `ssh-keygen -l` prints it."""
    strings = (b"ssh-ed25519", raw)
    return PublicKey(b"".join(len(s).to_bytes(4, "big") + s for s in strings)).fingerprint
