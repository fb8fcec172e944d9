"""What a reviewer signs: one verdict on one call, exactly as it was shown."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from agentrt.errors import SignatureInvalid

__all__ = ["Statement"]

_BYTES_MAX = 64 * 1024

Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
# RFC 8785 numbers are doubles: whole ones are exact below 2^53.
Whole = Annotated[int, Field(ge=0, lt=2**53)]


class Statement(BaseModel):
    """A reviewer's verdict, with everything it depends on.

    It is good for one use; that is kept by `digest`, since one statement has many signature
    texts (SSHSIG armour can be re-wrapped).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    verdict: Literal["approve", "reject", "happened", "did_not_happen"]
    """The last two settle a call in doubt."""
    store: Text
    """The id of the audit store: an approval counts in one store only."""
    run: Text
    call: Text
    revision: Whole
    tool: Text
    tool_digest: Hex
    arguments_digest: Hex
    rules_digest: Hex
    bundle: Hex
    head: Hex
    """Hash of the newest record of the run that the reviewer was shown."""
    reviewer: Text
    reason: str
    result: str = ""
    """What Claude is to be told of a call that happened; only when one is settled."""
    signed_at: Whole
    """Milliseconds since the epoch, by the reviewer's clock."""
    expires_at: Whole
    """Milliseconds since the epoch; the approval must be used before."""

    def to_bytes(self) -> bytes:
        """The statement as RFC 8785 JSON: what is signed."""
        return rfc8785.dumps(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The statement of exactly these bytes. Raises SignatureInvalid for any other text."""
        if len(data) > _BYTES_MAX:
            raise SignatureInvalid("What was signed is too long to be an approval.")
        try:
            statement = cls.model_validate_json(data)
        except ValidationError as error:
            raise SignatureInvalid(f"What was signed is no approval: {_first(error)}.") from None
        if statement.to_bytes() != data:
            raise SignatureInvalid("What was signed is not in the one form an approval has.")
        return statement

    @property
    def digest(self) -> str:
        """SHA-256 of the signed bytes."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {found['msg']}" if where else found["msg"]
