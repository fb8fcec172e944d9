"""Two processes take up the same approved runs at once, and each payment is made once.

Run as `python -m tests.crash.race FOLDER RUNS`; its last line is JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import anthropic  # noqa: F401 - imported once, for all children
import genai_prices  # noqa: F401
import jsonschema  # noqa: F401

from agentrt import Agent, AuditStore, Call, Policy, Runtime, tool
from agentrt.approvals import ApprovalQueue, KeyFile, make_key
from agentrt.claude import Claude
from agentrt.errors import CarriedElsewhere, RunOver
from agentrt.testing import Script, ScriptedClaude, Text, ToolUse, Turn, When
from tests.crash.children import ended, fork

SCRIPT = Script(
    turns=(
        Turn(when=When(turn=0), reply=(ToolUse("send_money", {"to": "ana"}),)),
        Turn(reply=(Text("Sent."),)),
    )
)


def main(folder: Path, runs: int) -> None:
    desk = RaceDesk(folder)
    server, url = _standin(folder)
    assert ended(fork(lambda: asyncio.run(desk.prepare(url, runs)))) == 0
    start = time.monotonic() + 1
    racers = [fork(lambda: asyncio.run(desk.race(url, start))) for _ in range(2)]
    codes = [ended(racer) for racer in racers]
    (folder / "stop").touch()
    ended(server)
    keys = Counter(desk.sent.read_text().split())
    with AuditStore(desk.store) as store:
        verification = store.verify()
        unfinished = [row.id for row in store.runs() if row.status != "finished"]
    report = {
        "runs": runs,
        "paid": len(keys),
        "paid_twice": [key for key, times in keys.items() if times > 1],
        "unfinished": unfinished,
        "codes": codes,
        "chain": [str(finding) for finding in verification.findings],
    }
    print(json.dumps(report))


def _standin(folder: Path) -> tuple[int, str]:
    """A child that is the scripted Claude until the file `stop` is there; and its URL."""
    address = folder / "url"

    def serve() -> None:
        with ScriptedClaude(SCRIPT) as claude:
            address.write_text(claude.url)
            while not (folder / "stop").exists():
                time.sleep(0.05)

    child = fork(serve)
    while not address.exists() or not address.read_text():
        time.sleep(0.01)
    return child, address.read_text()


class RaceDesk:
    """An agent that sends money; each payment is a line in a file, whoever made it."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "agentrt.db"
        self.sent = folder / "sent"
        self.sent.touch()
        self.key: KeyFile = make_key(folder / "key", comment="ana")

    def _agent(self) -> Agent:
        sent = self.sent

        @tool(effect="irreversible")
        def send_money(to: str, call: Call) -> str:
            """Send money."""
            with sent.open("a") as file:
                file.write(f"{call.key}\n")
            return "sent"

        return Agent(name="payer", model="claude-sonnet-5-5", tools=[send_money])

    def _policy(self, agent: Agent) -> Policy:
        reviewers = f'reviewers: [{{name: ana, roles: [owner], keys: ["{self.key.public_key}"]}}]'
        texts = {"rules.yaml": "rules: []\n", "reviewers.yaml": reviewers}
        return Policy.from_texts(texts, agent.toolset.values())

    async def prepare(self, url: str, runs: int) -> None:
        """Runs that are held, and then approved when nobody carries them any more."""
        agent = self._agent()
        policy = self._policy(agent)
        claude = Claude.scripted(url)
        async with Runtime(store=self.store, policy=policy, claude=claude) as runtime:
            await asyncio.gather(*[runtime.run(agent, "Pay.") for _ in range(runs)])
        with AuditStore(self.store) as store:
            queue = ApprovalQueue(store, policy.reviewers)
            for row in queue.held():
                await queue.approve(row.id, signer=self.key, reason="Paid once.")
        await claude.close()

    async def race(self, url: str, start: float) -> None:
        """Take up every run as soon as the other does."""
        agent = self._agent()
        claude = Claude.scripted(url)
        await asyncio.sleep(max(0, start - time.monotonic()))
        async with Runtime(
            store=self.store, policy=self._policy(agent), agents=[agent], claude=claude
        ) as runtime:
            for row in runtime.store.runs():
                with suppress(CarriedElsewhere, RunOver):
                    await runtime.resume(row.id)
            await asyncio.gather(*[runtime.wait(row.id) for row in runtime.store.runs()])
        await claude.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
