"""Armed decisions: a key decides only what has been looked at, by somebody who meant it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import inf

from agentrt.approvals import Shown, group_digest
from agentrt.policy.rules import SEVERITIES
from agentrt.run import ToolCall

__all__ = [
    "CONFIRMED_DIGITS",
    "VIEW_S",
    "Arming",
    "Key",
    "confirmation",
    "reason_min",
    "severest",
]

VIEW_S = 0.6
"""How long a call, and then the form, must have been in view unchanged."""

FOCUS_S = 0.3
"""How long the terminal must have had the focus: the click that brings it decides nothing."""

REPEAT_S = 0.7
"""The same key sooner than this is taken for a held one; keyboards begin to repeat by then."""

BURST_S = 0.03
"""Keys closer together than this were not typed one by one: a paste without brackets."""

REASON_MIN = 10
CONFIRMED_DIGITS = 6
"""How much of the digest of the arguments is retyped for a critical call."""


@dataclass(frozen=True, slots=True)
class Arming:
    """What is in view and since when, and since when the terminal has the focus. Seconds."""

    subject: Hashable = None
    since: float = inf
    focused_since: float = -inf
    pasted_at: float = -inf

    def seeing(self, subject: Hashable, *, at: float) -> Arming:
        """With `subject` drawn now; anything else than before begins anew."""
        return self if subject == self.subject else replace(self, subject=subject, since=at)

    def focused(self, *, at: float) -> Arming:
        """With the focus come back."""
        return replace(self, focused_since=at)

    def blurred(self) -> Arming:
        """With the focus gone."""
        return replace(self, focused_since=inf)

    @property
    def is_blurred(self) -> bool:
        """Whether the terminal is without the focus."""
        return self.focused_since == inf

    def pasted(self, *, at: float) -> Arming:
        """With something pasted just now."""
        return replace(self, pasted_at=at)

    def why_not(self, *, at: float) -> str | None:
        """What a decision key still waits for."""
        if at < self.focused_since + FOCUS_S:
            return "the terminal has only just got the focus, or has none"
        if at < self.pasted_at + VIEW_S:
            return "something was pasted just now"
        if at < self.since + VIEW_S:
            return "it has not been in view, unchanged, for 0.6 s"
        return None


@dataclass(frozen=True, slots=True)
class Key:
    """A key that came, and how soon after the one before it."""

    name: str = ""
    at: float = -inf
    repeated: bool = False
    """It may be held down."""
    burst: bool = False
    """It came faster than anyone types."""

    def then(self, name: str, *, at: float) -> Key:
        """The next key."""
        since = at - self.at
        return Key(name, at, name == self.name and since < REPEAT_S, since < BURST_S)

    @property
    def why_not(self) -> str | None:
        """Why it does not count as a decision."""
        if self.repeated:
            return f"the key {self.name} is held down, or came twice: wait a moment, press it once"
        if self.burst:
            return "that came faster than keys are typed: press it again"
        return None


def reason_min(group: Sequence[Shown], verdict: str) -> int:
    """How many characters a reason must have; the call that asks for most says it for all."""
    return max(_reason_min(shown.call, verdict) for shown in group)


def confirmation(group: Sequence[Shown], verdict: str) -> str:
    """What must be retyped: with a critical call the end of the digest; otherwise nothing."""
    critical = any(_severity(shown.call) == "critical" for shown in group)
    return group_digest(group)[-CONFIRMED_DIGITS:] if critical and verdict == "approve" else ""


def severest(group: Sequence[Shown]) -> str | None:
    """The highest of the severities, as it was recorded."""
    shown = max(group, key=lambda shown: SEVERITIES.index(_severity(shown.call)))
    return shown.call.approver.severity if shown.call.approver else None


def _reason_min(call: ToolCall, verdict: str) -> int:
    if call.approver is None or SEVERITIES.index(_severity(call)) >= SEVERITIES.index("high"):
        return REASON_MIN
    return 1 if verdict == "reject" or call.approver.reason_required else 0


def _severity(call: ToolCall) -> str:
    """A severity that nobody knows counts as the highest."""
    said = call.approver.severity if call.approver else ""
    return said if said in SEVERITIES else SEVERITIES[-1]
