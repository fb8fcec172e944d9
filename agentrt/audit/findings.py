"""What a verification found: things in a store that cannot have been written so."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Finding", "Verification"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the store that cannot have been written so."""

    run: str
    seq: int | None
    what: str

    def __str__(self) -> str:
        place = f"record {self.seq} of {self.run}" if self.seq is not None else self.run
        return f"{place}: {self.what}"


@dataclass(slots=True)
class Verification:
    """What was looked at, and what was found."""

    runs: int = 0
    records: int = 0
    erased: int = 0
    """Fields whose content is gone, as a record says."""
    findings: list[Finding] = field(default_factory=list)
    heads: int = 0
    """Heads of runs under the newest checkpoint."""
    checkpoints: int = 0
    """Checkpoints whose root and signature were checked."""
    unsealed: int = 0
    """Records that no checkpoint covers yet: these alone could be cut off without a trace."""
    lists: bool = False
    """Whether the lists were compared with what the records say."""

    @property
    def ok(self) -> bool:
        """Whether all is as it was written."""
        return not self.findings
