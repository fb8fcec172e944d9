"""What a reviewer signs: one verdict, on a call or several, exactly as they were shown."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

import rfc8785
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from agentrt.errors import SignatureInvalid

__all__ = ["Covered", "Statement"]

_BYTES_MAX = 64 * 1024

Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
# RFC 8785 numbers are doubles: whole ones are exact below 2^53.
Whole = Annotated[int, Field(ge=0, lt=2**53)]


class Covered(BaseModel):
    """A call as a verdict names it: exactly as it was shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    call: Text
    revision: Whole
    tool: Text
    tool_digest: Hex
    arguments_digest: Hex
    rules_digest: Hex
    expires_at: Whole
    """Milliseconds since the epoch; the approval must be used before."""


class Statement(Covered):
    """A reviewer's verdict on a call, with everything it depends on.

    It is good for one use on each call that it names; that is kept by `digest`, since one
    statement has many signature texts (SSHSIG armour can be re-wrapped).
    """

    version: Literal[1] = 1
    verdict: Literal["approve", "reject", "happened", "did_not_happen"]
    """The last two settle a call in doubt."""
    store: Text
    """The id of the audit store: an approval counts in one store only."""
    run: Text
    bundle: Hex
    head: Hex
    """Hash of the newest record of the run that the reviewer was shown."""
    reviewer: Text
    reason: str
    result: str = ""
    """What Claude is to be told of a call that happened; only when one is settled."""
    signed_at: Whole
    """Milliseconds since the epoch, by the reviewer's clock."""
    also: tuple[Covered, ...] = ()
    """The other calls that the verdict is on, where the rules let those of a turn go together."""

    @model_validator(mode="after")
    def _covers_what_goes_together(self) -> Self:
        if len({covered.call for covered in self.covered}) < len(self.covered):
            raise ValueError("it names a call twice")
        if any(covered.rules_digest != self.rules_digest for covered in self.also):
            raise ValueError("it names calls that other rules hold")
        if self.also and self.verdict not in ("approve", "reject"):
            raise ValueError("a doubt is settled by itself")
        return self

    @property
    def covered(self) -> tuple[Covered, ...]:
        """Every call that the verdict is on; the statement's own is the first."""
        return (self, *self.also)

    def to_bytes(self) -> bytes:
        """The statement as RFC 8785 JSON: what is signed."""
        # Absent when there are none: a statement on one call keeps the bytes it always had.
        without = set() if self.also else {"also"}
        return rfc8785.dumps(self.model_dump(mode="json", exclude=without))

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
