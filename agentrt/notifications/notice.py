"""A notice: what somebody outside is told, by ids and never by content."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from agentrt.run.state import moment
from agentrt.visible import visible

__all__ = ["KINDS", "Kind", "Notice"]

Kind = Literal["held", "expiring", "expired", "in_doubt", "stuck", "test"]

KINDS: dict[str, str] = {
    "held": "waits for approval",
    "expiring": "expires soon and nobody has decided it",
    "expired": "expired: it counts as rejected",
    "in_doubt": "is in doubt: somebody has to say whether it happened",
    "stuck": "is stuck",
    "test": "this is a test",
}
"""What there is to be told of, and how it is said of a call (or a run)."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell. The same thing has the same id, so that it is told once."""

    id: str
    kind: Kind
    at: int
    """Milliseconds since the epoch."""
    run: str = ""
    call: str = ""
    tool: str = ""
    agent: str = ""
    rule: str = ""
    severity: str = ""
    environment: str = ""
    simulated: bool = False
    expires_at: int | None = None
    why: str = ""
    """In our own words; never what a person or Claude wrote."""

    @property
    def command(self) -> str:
        """What to type to look at it."""
        return f"agentrt tui --at {self.call or self.run}" if self.call or self.run else "agentrt"

    @property
    def title(self) -> str:
        """One line, without anything that would start another."""
        mark = "[simulated] " if self.simulated else ""
        risk = f" ({self.severity})" if self.severity else ""
        what = f"{self.tool}{risk}" if self.call else (self.run or "agentrt")
        return visible(" ".join(f"{mark}{what} {KINDS[self.kind]}".split()))[:200]

    def event(self, source: str) -> dict[str, Any]:
        """As a CloudEvent 1.0 in JSON."""
        data = {name: value for name, value in asdict(self).items() if value not in ("", None)}
        for name in ("id", "kind", "at"):
            del data[name]
        if self.expires_at is not None:
            data["expires_at"] = moment(self.expires_at).isoformat()
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": source,
            "type": f"agentrt.{self.kind}",
            "time": moment(self.at).isoformat(),
            "subject": self.call or self.run,
            "datacontenttype": "application/json",
            "data": {**data, "title": self.title, "command": self.command},
        }

    def to_json(self) -> str:
        """As it is kept until it is delivered."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The notice that was kept so."""
        return cls(**json.loads(text))
