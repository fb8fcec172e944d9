"""The story as it is told on a terminal: what is said, called, held, decided and found."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TextIO

from pydantic_core import from_json

from agentrt import ToolCall
from agentrt.claude import TextDelta
from agentrt.events import (
    CallApproved,
    CallDecided,
    CallDoubted,
    CallExpired,
    CallFinished,
    CallRejected,
    CallSettled,
    ClaudeFailed,
    ClaudeReplied,
    RunFailed,
)
from agentrt.loop import Item
from agentrt.run.why import Why
from agentrt.visible import visible
from examples.support_desk.proof import Proof

__all__ = ["Story"]

WIDTH = 150
"""Characters after which arguments and results are cut; the audit store has them whole."""

SIGNS = {"allow": "+", "hold": "!", "deny": "x"}
VERBS = {"allow": "allowed", "hold": "held", "deny": "denied"}


@dataclass
class Story:
    """Tells a run as it happens. Everything that others wrote is made visible first."""

    speaker: str = "claude"
    decider: str = "reviewer"
    """How the one who decides does so; stands behind their name."""
    out: TextIO = field(default_factory=lambda: sys.stdout)
    seq: int = 0
    """How many facts of the run were told."""
    _streaming: bool = False
    _tools: dict[str, str] = field(default_factory=dict)

    def heading(self, text: str) -> None:
        """Begin a chapter."""
        self._print(f"\n== {text}\n")

    def say(self, text: str) -> None:
        """Something in our own words, or a text that others wrote, on lines of its own."""
        for line in text.splitlines():
            self._print(f"   {visible(line)}".rstrip())

    def tell(self, item: Item) -> None:
        """Tell a piece of text, or a fact of the run."""
        match item:
            case TextDelta():
                self._stream(item.text)
            case ClaudeReplied():
                self._end_stream(item)
            case ClaudeFailed() | RunFailed():
                self._mark("x", visible(item.message))
            case CallDecided():
                self._decided(item)
            case CallApproved() | CallRejected():
                said = "approved" if isinstance(item, CallApproved) else "rejected"
                who = f"{visible(item.by)} ({self.decider})"
                self._mark("=", f'{said} by {who}: "{visible(item.reason)}"')
            case CallExpired():
                self._mark("=", "nobody decided in time: it counts as rejected")
            case CallFinished():
                name = self._tools.get(item.call, "the call")
                said = "returned" if item.outcome == "ok" else "refused"
                self._mark(">", f"{name} {said} {_cut(item.result)}")
            case CallDoubted() | CallSettled():
                self._mark("?", visible(item.reason))
            case _:
                pass

    def past(self, items: Iterable[Item]) -> None:
        """Facts of the run that were recorded since the last one told."""
        for item in items:
            self.tell(item)
