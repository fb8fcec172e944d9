"""The story as it is told on a terminal: what is said, called, held, decided and found."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from pydantic_core import from_json

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
    Event,
    RunFailed,
)
from agentrt.loop import Item
from agentrt.visible import visible

__all__ = ["Story"]

CHARACTERS_MAX = 160
"""Where arguments and results are cut; the audit store has them whole."""

WIDTH = 96

OUTCOMES = {"allow": ("+", "allowed"), "hold": ("!", "held"), "deny": ("x", "denied")}


@dataclass
class Story:
    """Tells a run as it happens. Whatever others wrote is made visible before it is shown."""

    speaker: str
    """What Claude is called: a scripted one is labelled as such."""
    decider: str
    """Stands behind the reviewer's name: how they decided."""
    out: TextIO = field(default_factory=lambda: sys.stdout)
    _told: int = 0
    """Facts of the run that were told."""
    _in_speech: bool = False
    _blank: bool = False
    _tools: dict[str, str] = field(default_factory=dict)

    def head(self, text: str) -> None:
        """Begin a chapter."""
        self._gap()
        self._print(f"== {text}\n")

    def say(self, text: str) -> None:
        """A text, with its line breaks."""
        for line in visible(text, lines=True).rstrip("\n").split("\n"):
            self._print(f"    {line}".rstrip())

    def quote(self, lines: Iterable[str]) -> None:
        """Lines with texts of others in them: a line break in one cannot pass for a new line."""
        for line in lines:
            first, *rest = visible(line, lines=True).split("\n")
            self._print("\n".join([f"    {first}", *(f"{'|':>52} {more}" for more in rest)]))

    async def listen(self, items: AsyncIterator[Item]) -> None:
        """Tell what is new: who follows a run hears all its facts again."""
        seq = 0
        async for item in items:
            if isinstance(item, Event):
                seq += 1
            if seq > self._told or not isinstance(item, Event):
                self.tell(item)
            self._told = max(self._told, seq)

    def tell(self, item: Item) -> None:
        """Tell one fact, or one piece of what Claude says."""
        match item:
            case TextDelta():
                self._speak(item.text)
            case ClaudeReplied():
                self._end_speech(item)
            case ClaudeFailed() | RunFailed():
                self._line("x", item.message)
            case CallDecided():
                self._decided(item)
            case CallApproved():
                self._line("=", f'approved by {item.by} ({self.decider}): "{item.reason}"')
            case CallRejected():
                self._line("=", f'rejected by {item.by} ({self.decider}): "{item.reason}"')
            case CallExpired():
                self._line("=", "nobody decided in time, so it counts as rejected")
            case CallFinished():
                did = "returned" if item.outcome == "ok" else "refused:"
                self._line(">", f"{self._tools[item.call]} {did} {_cut(item.result)}")
            case CallDoubted() | CallSettled():
                self._line("?", item.reason)
            case _:
                pass

    def _speak(self, text: str) -> None:
        if not self._in_speech:
            self._gap()
            self._print(f"    {self.speaker}: ", end="")
        self._in_speech = True
        self._print(visible(text, lines=True).replace("\n", "\n    "), end="")

    def _end_speech(self, reply: ClaudeReplied) -> None:
        """A reply that nobody streamed, since the screen was open, is told as a whole."""
        if not self._in_speech:
            for text in _texts(reply):
                self._speak(text)
        if self._in_speech:
            self._print("\n")
        self._in_speech = False

    def _decided(self, decided: CallDecided) -> None:
        self._tools[decided.call] = decided.tool
        sign, outcome = OUTCOMES[decided.verdict]
        self._line(sign, f"{decided.tool} {_cut(decided.arguments.decode())}")
        self._aside(f"{outcome} by {_basis(decided)}")
        if decided.verdict != "allow":
            self._aside(f"because {decided.reason}")
        for line in f"what it will do: {decided.preview}".splitlines() if decided.preview else ():
            self._aside(line)
        if decided.approver:
            roles = ", ".join(decided.approver.roles) or "any reviewer"
            until = _clock(decided.approver.expires_at)
            self._aside(f"waits for {decided.approver.quorum} of: {roles}; until {until}")

    def _line(self, sign: str, text: str) -> None:
        self._wrapped(text, first=f"  {sign} ", rest="    ")

    def _aside(self, text: str) -> None:
        self._wrapped(text, first="      ", rest="        ")

    def _wrapped(self, text: str, *, first: str, rest: str) -> None:
        shown = visible(text)
        self._print(
            textwrap.fill(
                shown, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
            )
        )

    def _gap(self) -> None:
        """One blank line, and not a second one."""
        if not self._blank:
            self._print("")

    def _print(self, text: str, *, end: str = "\n") -> None:
        self._blank = not text or text.endswith("\n")
        print(text, end=end, file=self.out, flush=True)


def _texts(reply: ClaudeReplied) -> Iterable[str]:
    return [block["text"] for block in from_json(reply.blocks) if block["type"] == "text"]


def _basis(decided: CallDecided) -> str:
    if decided.rules:
        rules = [f"{rule.file}:{rule.line} ({rule.id})" for rule in decided.rules]
        return f"rule {', '.join(rules)}"
    return f"{decided.basis.replace('_', ' ')} of the policy"


def _clock(at: int | None) -> str:
    return (
        "the end of time" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC):%H:%M} UTC"
    )


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS_MAX else f"{text[:CHARACTERS_MAX]} [...]"
