"""The scripted world: an agent that looks, notes, pays and faxes, and people who decide.

Looking is a read, a note a write that its key makes harmless to repeat, a payment irreversible
with a `check`, a fax irreversible without one, and what is shouted is denied.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from agentrt import Agent, AuditStore, Call, Policy, Runtime, tool
from agentrt.approvals import KeyFile, make_key
from agentrt.claude import Claude
from agentrt.testing import Script, Text, ToolUse, Turn, When
from agentrt.tools import Tool
from tests.crash.effects import Effect, Effects

__all__ = ["FOLLOW_UP", "PROMPT", "REVIEWERS", "SCRIPT", "Clock", "World"]

PROMPT = "Pay the invoice and tell them."
FOLLOW_UP = "And the second one."
REVIEWERS = ("ana", "bob")

RULES = """\
default: {read: allow}
rules:
  - {id: notes, decide: allow, tools: [write_note], why: Harmless.}
  - {id: payments, decide: hold, tools: [send_money], why: Money., approve: {expires: 1h}}
  - {id: faxes, decide: hold, tools: [send_fax], why: Paper., approve: {quorum: 2}}
  - {id: quiet, decide: deny, tools: [shout], why: Nobody shouts here.}
"""

SCRIPT = Script(
    turns=(
        Turn(when=When(user=FOLLOW_UP, after="send_money"), reply=(Text("Paid too."),)),
        Turn(
            when=When(user=FOLLOW_UP),
            reply=(ToolUse("send_money", {"to": "bo", "cents": 42}),),
        ),
        Turn(
            when=When(turn=0),
            reply=(
                Text("I look, write it down, pay, and tell everybody."),
                ToolUse("look_up", {"name": "ana"}),
                ToolUse("write_note", {"text": "paying ana"}),
                ToolUse("send_money", {"to": "ana", "cents": 950}),
                ToolUse("shout", {"text": "PAID"}),
            ),
        ),
        Turn(when=When(turn=1), reply=(ToolUse("send_fax", {"to": "ana", "text": "Paid."}),)),
        Turn(reply=(Text("Done."),)),
    )
)


class Clock:
    """The time in milliseconds, which can be made to jump."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


def tools_of(world: World) -> tuple[Tool[..., Any], ...]:
    """Coroutines, so that a parent which has tried them out has no threads when it forks."""

    def do(name: str, call: Call, **arguments: Any) -> None:
        told = json.dumps(arguments, sort_keys=True)
        where = (world.user, call.run, call.id, call.key)
        world.effects.do(Effect(*where, name, told, os.getpid(), world.clock()))

    async def find(call: Call) -> str | None:
        """Whether it was sent."""
        return "sent" if world.effects.count(call.key) else None

    @tool(effect="read")
    async def look_up(name: str, call: Call) -> str:
        """Look somebody up."""
        do("look_up", call, name=name)
        return f"{name} is known"

    @tool(effect="write", idempotent_for="24h")
    async def write_note(text: str, call: Call) -> str:
        """Write a note; the same key twice is one note."""
        do("write_note", call, text=text)
        return "written"

    @tool(effect="irreversible", check=find)
    async def send_money(to: str, cents: int, call: Call) -> str:
        """Send money, which nobody can take back."""
        do("send_money", call, to=to, cents=cents)
        return "sent"

    @tool(effect="irreversible")
    async def send_fax(to: str, text: str, call: Call) -> str:
        """Send a fax, of which nobody can ask whether it went out."""
        do("send_fax", call, to=to, text=text)
        return "sent"

    @tool(effect="write", idempotent_for="24h")
    async def shout(text: str, call: Call) -> str:
        """Shout, which is forbidden."""
        do("shout", call, text=text)
        return "shouted"

    return look_up, write_note, send_money, send_fax, shout


@dataclass(frozen=True)
class World:
    """One store, or one user's runs in a store that many share, and all that is around it."""

    store: str
    user: str
    claude: Claude
    """Made once, before the children are forked: it costs more than all that they do."""
    effects: Effects
    keys: dict[str, KeyFile]
    clock: Clock = field(default_factory=Clock)

    @staticmethod
    def make_keys(folder: Path) -> dict[str, KeyFile]:
        return {name: make_key(folder / name, comment=name) for name in REVIEWERS}

    @cached_property
    def agent(self) -> Agent:
        return Agent(
            name="clerk",
            model="claude-sonnet-5-5",
            instructions="Pay.",
            tools=tools_of(self),
            deadline_s=86_400,  # a clock that jumps must not end it
        )

    @cached_property
    def policy(self) -> Policy:
        people = [
            f"  - {{name: {name}, roles: [owner], keys: ['{key.public_key}']}}"
            for name, key in self.keys.items()
        ]
        texts = {"rules.yaml": RULES, "reviewers.yaml": "\n".join(["reviewers:", *people, ""])}
        return Policy.from_texts(texts, self.agent.toolset.values())

    def open(self) -> AuditStore:
        return AuditStore(self.store, clock=self.clock)

    def runtime(self, store: AuditStore) -> Runtime:
        return Runtime(
            store=store,
            policy=self.policy,
            agents=[self.agent],
            claude=self.claude,
            take_up=False,
            service="crash",
        )
