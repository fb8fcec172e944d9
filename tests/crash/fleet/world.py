"""What every process of the fleet is told: store, scripted Claude, effects, tools, rules."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from agentrt import Agent, Call, Policy, Runtime, tool
from agentrt.carriers import Carrier, Embedded
from agentrt.claude import Claude
from agentrt.runtime import Load
from agentrt.testing import Script, Text, ToolUse, Turn, When
from agentrt.tools import Tool

__all__ = ["SCRIPT", "USERS", "Effects", "World", "say"]

RULES = """\
default: {read: allow}
rules:
  - {id: notes, decide: allow, tools: [write_note], why: Harmless.}
"""

USERS = ("mona", "tom", "yusuf", "li", "ana")

SCRIPT = Script(
    turns=(
        Turn(
            when=When(turn=0),
            reply=(
                Text("I look, write it down and pay."),
                ToolUse("look_up", {"name": "ana"}),
                ToolUse("write_note", {"text": "paid ana"}),
                ToolUse("send_money", {"to": "ana", "cents": 950}),
            ),
        ),
        Turn(reply=(Text("Done."),)),
    )
)


class Effects:
    """A server that takes effects by their key, counts them, and answers whether it has one.

    It answers one after the other, in the order in which they came, so that nothing which a dead
    worker had sent is counted after the question whether it was.
    """

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, name="effects", daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            connection.settimeout(10)
            with suppress(OSError, ValueError):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rw") as lines:
            verb, key = lines.readline().split()
            if verb == "do":
                self.seen[key] += 1
            lines.write(f"{self.seen[key]}\n")


def say(port: int, verb: str, key: str) -> int:
    """Tell the server of effects one line; how often it has seen the key."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as connection,
        connection.makefile("rw") as lines,
    ):
        lines.write(f"{verb} {key}\n")
        lines.flush()
        return int(lines.readline())


def tools_of(port: int) -> tuple[Tool[..., Any], ...]:
    @tool(effect="read")
    def look_up(name: str) -> str:
        """Look somebody up."""
        return f"{name} is known"

    @tool(effect="write", idempotent_for="1h")
    def write_note(text: str, call: Call) -> str:
        """Write a note; the same key twice is one note."""
        say(port, "do", f"note:{call.key}")
        return "written"

    def find_money(call: Call) -> str | None:
        """Whether it was sent."""
        return "sent" if say(port, "ask", call.key) else None

    @tool(effect="irreversible", check=find_money)
    def send_money(to: str, cents: int, call: Call) -> str:
        """Send money, which nobody can take back."""
        say(port, "do", call.key)
        return "sent"

    return look_up, write_note, send_money


@dataclass(frozen=True)
class World:
    """What every process of the fleet is told."""

    store: str
    claude: str
    effects: int
    keys: dict[str, tuple[str, str]]
    """Reviewers' key files and public keys, by name."""
    at_once: int

    @property
    def tools(self) -> tuple[Tool[..., Any], ...]:
        return tools_of(self.effects)

    @property
    def agent(self) -> Agent:
        return Agent(name="clerk", model="claude-sonnet-5-5", instructions="Pay.", tools=self.tools)

    @property
    def policy(self) -> Policy:
        people = [
            f"  - {{name: {name}, roles: [owner], keys: ['{public}']}}"
            for name, (_, public) in self.keys.items()
        ]
        texts = {"rules.yaml": RULES, "reviewers.yaml": "\n".join(["reviewers:", *people, ""])}
        return Policy.from_texts(texts, self.tools)

    def carrier(self) -> Carrier:
        if not self.store.startswith("postgresql"):
            return Embedded()
        from agentrt.carriers.procrastinate import Procrastinate

        return Procrastinate(self.store)

    def runtime(self, load: Load, claude: Claude) -> Runtime:
        return Runtime(
            store=self.store,
            policy=self.policy,
            agents=[self.agent],
            claude=claude,
            load=load,
            carrier=self.carrier(),
            service="fleet",
        )
