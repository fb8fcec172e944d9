"""An office for tests of the loop: a store, reviewers with keys, a scripted Claude, a runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentrt import Agent, AuditStore, Policy, Runtime
from agentrt.approvals import KeyFile, make_key
from agentrt.claude import Claude
from agentrt.policy import Fact
from agentrt.run import Run, ToolCall
from agentrt.testing import Script, ScriptedClaude, Text, ToolUse, Turn, When
from agentrt.tools import Tool

MODEL = "claude-sonnet-5-5"

ALLOW_READS = "default: {read: allow}\nrules: []\n"


@dataclass
class Office:
    folder: Path
    tools: tuple[Tool[..., Any], ...]
    script: Script
    rules: str = ALLOW_READS
    clock_ahead_ms: int = 0
    facts: tuple[Fact, ...] = ()
    keys: dict[str, KeyFile] = field(default_factory=dict)
    claude: ScriptedClaude = field(init=False)

    def __post_init__(self) -> None:
        self.reviewer("ana", "owner")
        self.claude = ScriptedClaude(self.script)

    def reviewer(self, name: str, *roles: str) -> KeyFile:
        self.keys[name] = make_key(self.folder / f"key-{name}", comment=name)
        self._roles = {**getattr(self, "_roles", {}), name: roles}
        return self.keys[name]

    @property
    def policy(self) -> Policy:
        lines = ["reviewers:"]
        for name, key in self.keys.items():
            roles = ", ".join(self._roles[name])
            lines += [f"  - name: {name}", f"    roles: [{roles}]"]
            lines += [f'    keys: ["{key.public_key}"]']
        texts = {"rules.yaml": self.rules, "reviewers.yaml": "\n".join(lines) + "\n"}
        return Policy.from_texts(texts, self.tools, facts=self.facts)

    def agent(self, **options: Any) -> Agent:
        settings = {"name": "clerk", "model": MODEL, "instructions": "Help.", **options}
        return Agent(tools=self.tools, **settings)

    def store(self) -> AuditStore:
        return AuditStore(self.folder / "agentrt.db")

    @asynccontextmanager
    async def runtime(self, **options: Any) -> AsyncIterator[Runtime]:
        agent = options.pop("agent", None) or self.agent()
        claude = Claude.scripted(self.claude.url, **options.pop("claude_options", {}))
        store = options.pop("store", None) or self.folder / "agentrt.db"
        try:
            async with Runtime(
                store=store, policy=self.policy, agents=[agent], claude=claude, **options
            ) as runtime:
                yield runtime
        finally:
            await claude.close()

    def __enter__(self) -> Office:
        self.claude.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.claude.stop()


def asks_for(*uses: ToolUse, text: str = "Let me see.") -> tuple[Any, ...]:
    return (Text(text), *uses)


def one_call(tool: str, last_word: str = "Done.", **arguments: Any) -> Script:
    """A script in which Claude asks for one call and then says its last word."""
    return Script(
        turns=(
            Turn(when=When(turn=0), reply=asks_for(ToolUse(tool, arguments))),
            Turn(reply=(Text(last_word),)),
        )
    )


def in_one_turn(*uses: ToolUse, last_word: str = "Done.") -> Script:
    return Script(
        turns=(
            Turn(when=When(turn=0), reply=asks_for(*uses)),
            Turn(reply=(Text(last_word),)),
        )
    )


def only_call(run: Run) -> ToolCall:
    (call,) = run.all_calls
    return call


def types(events: Sequence[Any]) -> list[str]:
    return [event.type for event in events if hasattr(event, "type")]
