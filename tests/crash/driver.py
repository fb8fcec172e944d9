"""Kills the support desk's run at every point, takes it up again, and looks at the world.

Run as `python -m tests.crash.driver FOLDER`; its last line is JSON.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import anthropic  # noqa: F401 - imported once, for all children
import genai_prices  # noqa: F401
import jsonschema  # noqa: F401

from agentrt.approvals import ApprovalQueue
from agentrt.audit import AuditStore
from agentrt.run import Run
from examples.support_desk.desk import Desk, work_alone
from examples.support_desk.world import CUSTOMER, World
from tests.crash.children import Surroundings, ended, fork
from tests.crash.points import Point, count_points, kill_at
from tests.crash.verdict import Verdict, judge


def main(folder: Path) -> None:
    with Surroundings() as around:
        points = _points(around, folder / "clean")
        verdicts = [_kill_and_finish(around, point, folder) for point in points]
    report = {
        "points": len(points),
        "killed": sum(verdict.killed for verdict in verdicts),
        "doubts": sum(verdict.doubts for verdict in verdicts),
        "wrong": [what for verdict in verdicts for what in verdict.wrong],
    }
    print(json.dumps(report))


def _points(around: Surroundings, folder: Path) -> list[Point]:
    """Every point that a run which nobody kills comes by."""
    desk = _desk(around, folder)
    report = folder / "points.json"

    def run() -> None:
        counter = count_points()
        asyncio.run(work_alone(desk))
        report.write_text(json.dumps(counter.seen))

    assert ended(fork(run)) == 0
    seen: dict[str, int] = json.loads(report.read_text())
    return [Point(kind, number) for kind, count in seen.items() for number in range(1, count + 1)]


def _kill_and_finish(around: Surroundings, point: Point, folder: Path) -> Verdict:
    desk = _desk(around, folder / str(point).replace(" ", "-"))

    def come_to_the_point() -> None:
        kill_at(point)
        asyncio.run(work_alone(desk))

    killed = ended(fork(come_to_the_point)) == -signal.SIGKILL
    finished = ended(fork(lambda: asyncio.run(_finish(desk)))) == 0
    with AuditStore(desk.world.folder / "agentrt.db") as store:
        verdict = judge(desk.world, store)
    wrong = [*verdict.wrong, *([] if finished else ["could not be finished"])]
    return replace(verdict, killed=killed, wrong=tuple(f"{point}: {what}" for what in wrong))


def _desk(around: Surroundings, folder: Path) -> Desk:
    world = World.make(folder)
    around.use_mailbox(world.mailbox)
    return Desk(world, around.claude_url)


async def _finish(desk: Desk) -> None:
    """Carry the run to its end as people would: approve what is held, settle what is in doubt."""
    async with desk.runtime() as runtime:
        if not runtime.store.runs():
            await runtime.start(desk.agent, desk.world.message, user=CUSTOMER)
        (row,) = runtime.store.runs()
        run = runtime.store.load(row.id)
        while not run.over:
            await _answer(desk, runtime.approvals, run)
            run = await runtime.resume(run.id)


async def _answer(desk: Desk, queue: ApprovalQueue, run: Run) -> None:
    for call in run.held:
        await queue.approve(call.id, signer=desk.world.key, reason="approved without a person")
    for call in run.in_doubt:
        happened = any(refund.key == call.key for refund in desk.world.refunds())
        await queue.settle(
            call.id, happened=happened, signer=desk.world.key, reason="looked at the database"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
