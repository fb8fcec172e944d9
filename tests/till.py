"""A till for tests of policies that count: refunds of several runs and users, and a clock.

`python tests/till.py STORE` is the same till in another process: it gives back what it is told to
on its standard input, a line each: the user, the run and how many cents.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from worlds import AT, MODEL, Clock, asked, replied, started, use

from agentrt import Agent
from agentrt.approvals import ApprovalQueue, KeyFile
from agentrt.approvals.histories import Histories
from agentrt.audit import AuditStore
from agentrt.events import AnyEvent, RunFinished, RunStarted, User
from agentrt.loop import Carry, Surroundings
from agentrt.policy import Fact, Policy
from agentrt.run import Run, ToolCall, begin_after
from agentrt.tools import Tool, Tools, tool

__all__ = ["ALLOW", "Till", "cap", "read_mail", "refund", "send_mail"]

ALLOW = "  - {id: go, decide: allow, tools: [refund, send_mail, read_mail], why: Go.}\n"

CAP = 100
RACE_RULES = (
    f"rules:\n{ALLOW}  - {{id: cap, decide: deny, tools: [refund], why: Enough.,\n"
    f"     limit: {{sum: args.cents, most: {CAP}, per: [user]}}}}\n"
)


def cap(limit: str, decide: str = "deny", more: str = "") -> str:
    """Rules that allow everything, and one with this limit."""
    fields = f"id: cap, decide: {decide}, tools: [refund], limit: {limit}, why: Enough.{more}"
    return f"rules:\n{ALLOW}  - {{{fields}}}\n"


def refund(cents: int, to: str = "bob", **more: Any) -> dict[str, Any]:
    """What Claude writes to refund something."""
    return use("refund", cents=cents, to=to, id=f"toolu_{cents}_{to}_{len(more)}", **more)


def read_mail(number: int = 1) -> dict[str, Any]:
    """What Claude writes to read a mail."""
    return use("read_mail", number=number, id=f"toolu_read_{number}")


def send_mail(to: str) -> dict[str, Any]:
    """What Claude writes to send a mail."""
    return use("send_mail", to=to, id=f"toolu_send_{to}")


class Claudes(Exception):
    """A run has come so far that Claude would be asked."""


@dataclass
class Till:
    """Runs that are carried by hand, their replies given, over a real store."""

    path: Path
    rules: str
    reviewers: Mapping[str, tuple[KeyFile, tuple[str, ...]]] = field(default_factory=dict)
    facts: Sequence[Fact] = ()
    clock: Any = field(default_factory=Clock)
    texts: Mapping[str, str] = field(default_factory=dict)
    took_ms: int = 0
    """How long a call takes on the clock."""
    broken: frozenset[str] = frozenset()
    """Tools that break off, so that nobody knows what they did."""

    def __post_init__(self) -> None:
        self.store = AuditStore(self.path, clock=self.clock)
        self.done: list[int] = []
        self.tools = Tools(self._tools())
        self.reread()

    def __enter__(self) -> Till:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def reread(self, rules: str | None = None) -> None:
        """Go by other rules from now on, with nothing remembered of before."""
        self.rules = rules or self.rules
        self.policy = Policy.from_texts(self._texts(), self.tools.values(), facts=self.facts)
        self.histories = Histories(self.store, self.policy)

    @property
    def queue(self) -> ApprovalQueue:
        return ApprovalQueue(self.store, self.policy.reviewers)

    # --- runs -----------------------------------------------------------------------------

    async def run(
        self,
        id: str,
        *uses: dict[str, Any],
        user: str | None = "mona",
        parent: str | None = None,
        prompt: str = "Give it back.",
    ) -> Run:
        """A run whose first reply asks for `uses`, carried on as far as it goes."""
        await self.begin(id, *uses, user=user, parent=parent, prompt=prompt)
        return await self.carry(id)

    async def begin(
        self,
        id: str,
        *uses: dict[str, Any],
        user: str | None = "mona",
        parent: str | None = None,
        prompt: str = "Give it back.",
    ) -> Run:
        """The run up to its first reply."""
        event = self._started(user, prompt)
        if parent is not None:
            event = begin_after(self.store.load(parent), event)
        events: list[AnyEvent] = [event, asked(), replied(*uses)]
        return await self.store.append(Run(id), events)

    def _started(self, user: str | None, prompt: str) -> RunStarted:
        return started(
            prompt,
            user=User(name=user) if user else None,
            user_ref=self.store.ref(user) if user else None,
            bundle=self.policy.bundle,
            definition=Agent(
                name="desk", model=MODEL, instructions="", tools=tuple(self.tools.values())
            ).definition(),
        )

    async def reply(self, id: str, *uses: dict[str, Any]) -> Run:
        """Claude's next reply, and the run carried on."""
        run = self.store.load(id)
        turn = run.turn + 1
        await self.store.append(run, [asked(turn), replied(*uses, turn=turn)])
        return await self.carry(id)

    async def finish(self, id: str) -> Run:
        """The run with Claude's last word said."""
        run = self.store.load(id)
        return await self.store.append(run, [RunFinished(stop_reason="end_turn", output="Done.")])

    async def carry(self, id: str) -> Run:
        """Carry the run on until it waits, is over, or Claude would be asked."""
        await self.store.claim(id)
        around = Surroundings(
            store=self.store,
            histories=lambda: self.histories,
            tools=self.tools,
            claude=_no_claude,
        )
        try:
            return await asyncio.wait_for(Carry(self.store.load(id), around).on(), timeout=20)
        except Claudes:
            return self.store.load(id)
        finally:
            await self.store.release(id)

    def call(self, id: str, index: int = 0) -> ToolCall:
        """One of the calls of a run, as it is recorded."""
        return self.store.load(id).all_calls[index]

    def stands(self, *ids: str) -> list[str]:
        """How the calls of these runs stand."""
        return [call.status for run in ids for call in self.store.load(run).all_calls]

    # --- tools ----------------------------------------------------------------------------

    def _tools(self) -> Iterable[Tool[..., Any]]:
        @tool(effect="write", name="refund")
        def refund_it(cents: int, to: str = "bob", usd: float = 0) -> str:
            """Refund."""
            self._enter("refund")
            self.done.append(cents)
            return "refunded"

        @tool(effect="irreversible", labels=["egress"])
        def send_mail(to: str, text: str = "") -> str:
            """Send."""
            self._enter("send_mail")
            self.done.append(0)
            return "sent"

        @tool(effect="read", untrusted=["body"])
        def read_mail(number: int) -> dict[str, str]:
            """Read."""
            self._enter("read_mail")
            return {"body": f"mail {number}", "number": str(number)}

        return refund_it, send_mail, read_mail

    def _enter(self, tool: str) -> None:
        if self.took_ms:
            self.clock.now += self.took_ms
        if tool in self.broken:
            raise RuntimeError(tool)

    def _texts(self) -> dict[str, str]:
        people = [
            f"  - name: {name}\n    roles: [{', '.join(roles)}]\n    keys: ['{key.public_key}']\n"
            for name, (key, roles) in self.reviewers.items()
        ]
        texts = {"rules.yaml": self.rules, **self.texts}
        return {**texts, "reviewers.yaml": f"reviewers:\n{''.join(people)}"} if people else texts


def _no_claude() -> NoReturn:
    raise Claudes


async def _serve(path: str) -> None:
    with Till(Path(path), RACE_RULES, clock=lambda: AT) as till:
        print("ready", flush=True)
        for line in sys.stdin:
            user, run, cents = line.split()
            await till.run(run, refund(int(cents)), user=user)
            print(*till.stands(run), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
