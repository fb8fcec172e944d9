"""`python -m examples.other_carrier`: a run is started in one place, Celery tells another of it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from celery import Celery

from agentrt import Agent, Policy, Runtime, tool
from agentrt.claude import Claude
from agentrt.runtime import Load
from agentrt.testing import Script, ScriptedClaude, Text, ToolUse, Turn, When
from examples.other_carrier.celery_carrier import CeleryCarrier

SCRIPT = Script(
    turns=(
        Turn(when=When(turn=0), reply=(ToolUse("look_up", {"order": "4417"}),)),
        Turn(reply=(Text("It was charged twice."),)),
    )
)


@tool(effect="read")
def look_up(order: str) -> str:
    """Look up an order."""
    return f"order {order}: two charges"


AGENT = Agent(name="desk", model="claude-sonnet-5-5", instructions="Help.", tools=[look_up])
POLICY = Policy.from_texts({"rules.yaml": "default: {read: allow}\nrules: []\n"}, [look_up])


def celery_on(folder: Path) -> Celery:
    """A Celery app whose broker is a folder: no server is needed."""
    waiting, answered = folder / "waiting", folder / "answered"
    for each in (waiting, answered):
        each.mkdir(parents=True, exist_ok=True)
    options = {
        "data_folder_in": str(waiting),
        "data_folder_out": str(waiting),
        "processed_folder": str(answered),
        "polling_interval": 0.02,
    }
    app = Celery("agentrt", broker="filesystem://")
    app.conf.update(broker_transport_options=options, broker_connection_retry_on_startup=True)
    return app


async def carry(folder: Path, claude_url: str) -> str:
    """Start a run where none is carried, and carry it where Celery tells of it; its output."""
    claude = Claude.scripted(claude_url)
    carrier = CeleryCarrier(celery_on(folder))
    parts = {"store": folder / "agentrt.db", "policy": POLICY, "agents": [AGENT], "claude": claude}
    async with Runtime(**parts, load=Load(runs_at_once=0), carrier=carrier) as backend:  # type: ignore[arg-type]
        run = await backend.start(AGENT, "Was order 4417 charged twice?")
    async with Runtime(**parts, carrier=carrier) as worker:  # type: ignore[arg-type]
        ended = await asyncio.wait_for(worker.wait(run), timeout=60)
    await claude.close()
    return f"{ended.id} {ended.status}: {ended.output}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ScriptedClaude(SCRIPT) as claude:
        print(asyncio.run(carry(Path(folder), claude.url)))


if __name__ == "__main__":
    main()
