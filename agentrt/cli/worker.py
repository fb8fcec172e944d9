"""`agentrt worker` and `agentrt workers`: carry runs on; who does, and what waits."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from agentrt.agent import Agent
from agentrt.audit import AuditStore, Present
from agentrt.claude import Claude
from agentrt.cli.durations import Duration
from agentrt.cli.exits import Exit
from agentrt.cli.output import Output, narrate, prints_rows
from agentrt.cli.project import Project
from agentrt.cli.run import runtime_of
from agentrt.errors import ProjectError
from agentrt.runtime import Load
from agentrt.visible import visible
from agentrt.workers import GRACE_S, Worker

__all__ = ["worker", "workers"]

COUNT_MAX = 100_000
"""Ready runs are counted up to here."""

FIELDS = (
    "process",
    "service",
    "host",
    "pid",
    "version",
    "agents",
    "simulated",
    "runs_at_once",
    "state",
    "started_at",
    "seen_at",
    "carries",
)
COLUMNS = ("process", "service", "host", "version", "state", "started_at", "carried")


@click.command
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    help="Carry so many runs at once. Default: [workers] concurrency, else 100.",
)
@click.option(
    "--agent",
    "agent_names",
    metavar="NAME",
    multiple=True,
    help="Carry the runs of this agent only; may be given several times.",
)
@click.option(
    "--simulated",
    "answers",
    metavar="SCRIPT",
    help="Carry simulated runs: a script, or the URL of `agentrt standin`, answers.",
)
@click.option(
    "--grace",
    "grace_s",
    type=Duration(),
    metavar="TIME",
    help="How long runs may go on after the first SIGTERM. Default: [workers] grace_s, else 30s.",
)
@click.pass_obj
def worker(
    folder: Path,
    concurrency: int | None,
    agent_names: tuple[str, ...],
    answers: str | None,
    grace_s: float | None,
) -> None:
    """Carry runs on, whoever started them, until SIGTERM or ^C.

    On the first signal nothing new is begun, and what runs comes to its end or to where it
    waits, within the grace time. On the second the process ends at once. What it leaves, other
    workers find; killed at any moment it loses nothing.

    \b
    Example:
      agentrt worker --concurrency 20
      agentrt worker --agent desk --grace 2m
      agentrt worker --simulated script.yaml
    """
    project = Project.find(folder)
    chosen = {name: project.agent(name) for name in agent_names} or dict(project.agents)
    if not chosen:
        raise ProjectError(f"{project.file} has no agent, so that there is nothing to carry.")
    load = project.load_of(concurrency)
    grace = grace_s if grace_s is not None else float(project.workers.get("grace_s", GRACE_S))
    names = ", ".join(sorted(chosen))
    with _told(), _answering(answers) as url:
        narrate(f"carries up to {load.runs_at_once} runs at once of {visible(names)}", bold=True)
        asyncio.run(_serve(project, chosen, url, load=load, grace_s=grace))
    narrate("stopped")


@contextmanager
def _told() -> Iterator[None]:
    """Tell on stderr which runs are taken and let go."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("agentrt")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


async def _serve(
    project: Project,
    agents: Mapping[str, Agent],
    url: str | None,
    *,
    load: Load,
    grace_s: float,
) -> None:
    claude = Claude() if url is None else Claude.scripted(url)
    runtime = runtime_of(
        project, claude, agents=agents, service="agentrt worker", take_up=True, load=load
    )
    serving = Worker(runtime, grace_s=grace_s)
    _stop_on_signals(serving, grace_s)
    try:
        await serving.serve()
    finally:
        await claude.close()


@contextmanager
def _answering(answers: str | None) -> Iterator[str | None]:
    """Where the scripted Claude is, if one answers: at an address, or started from a file."""
    from agentrt.testing import Script, ScriptedClaude

    if answers is None or answers.startswith("http://"):
        yield answers
        return
    if not Path(answers).is_file():
        raise ProjectError(f"There is no script {visible(answers)}.")
    with ScriptedClaude(Script.load(Path(answers))) as server:
        yield server.url


def _stop_on_signals(serving: Worker, grace_s: float) -> None:
    """The first signal drains, the second ends the process as a kill would."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, _at_once)
        narrate(f"stopping: nothing new is begun, what runs has {grace_s:g} s", bold=True)
        serving.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, first)


def _at_once(_number: int, _frame: object) -> None:
    os._exit(Exit.INTERRUPTED)  # nothing is lost: what ran is found by the others


@click.command
@prints_rows
@click.pass_obj
def workers(folder: Path, output: Output) -> None:
    """Who is there to carry runs, what each carries, and what waits.

    A process that died is shown as dead until another comes; one that has been silent for half
    a minute as silent: its runs go on elsewhere.

    \b
    Example:
      agentrt workers
      agentrt workers --json process,host,carries
    """
    with Project.find(folder).open_store() as store:
        rows = [_row(store, each) for each in store.claims.present()]
        output.rows(
            rows,
            columns=COLUMNS,
            fields=FIELDS,
            empty="Nobody is there to carry runs. `agentrt worker` is.",
        )
        ready, waiting = store.claims.ready(most=COUNT_MAX), store.claims.waiting()
    many = "more than " if ready >= COUNT_MAX else ""
    narrate(f"{many}{ready} runs are ready and not carried; {waiting} wait for a person")


def _row(store: AuditStore, each: Present) -> dict[str, Any]:
    return {
        **{name: getattr(each, name) for name in FIELDS if name != "state"},
        "state": _state(store, each),
        "carried": f"{len(each.carries)} of {each.runs_at_once}",
    }


def _state(store: AuditStore, each: Present) -> str:
    if not each.alive:
        return "silent" if store.is_alive(each.process) else "dead"
    return "draining" if each.draining else "alive"
