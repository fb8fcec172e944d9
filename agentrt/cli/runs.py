"""`agentrt runs`: look at runs, follow, resume or cancel them, state facts."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from agentrt.audit import AuditStore, RunRow
from agentrt.cli.durations import Duration
from agentrt.cli.exits import Exit
from agentrt.cli.ids import run_id, run_to_go_on
from agentrt.cli.output import Output, narrate, prints_one, prints_rows
from agentrt.cli.project import Project
from agentrt.cli.telling import Teller, summary, text_of
from agentrt.errors import CarriedElsewhere
from agentrt.events import ClaudeReplied, Record, RunFailed, RunStarted
from agentrt.run import Run, fold
from agentrt.visible import visible

__all__ = ["runs"]

POLL_S = 0.2

STATUSES = ("running", "waiting", "finished", "failed", "cancelled")

FIELDS = (*(name for name in RunRow.model_fields if name != "head_hash"), "parent")


@click.group
def runs() -> None:
    """Look at runs, follow, resume or cancel them, or state a fact.

    A RUN is its id or the beginning of it, or @last for the newest.

    \b
    Example:
      agentrt runs view @last
    """


@runs.command("list")
@click.option("--status", type=click.Choice(STATUSES), multiple=True, help="Only these.")
@click.option("--agent", metavar="NAME", help="Only of this agent.")
@click.option("--user", metavar="NAME", help="Only for this user.")
@prints_rows
@click.pass_obj
def list_(
    folder: Path, status: tuple[str, ...], agent: str | None, user: str | None, output: Output
) -> None:
    """List runs, newest first.

    \b
    Example:
      agentrt runs list --status waiting --json id,prompt
    """
    project = Project.find(folder)
    agents = (agent,) if agent else None
    rows: list[RunRow] = []
    parents: dict[str, str] = {}
    if project.has_store:
        with project.open_store() as store:
            limit = (output.limit or 0) + 1
            rows = store.runs(status=status, agents=agents, user=user, limit=limit)
            parents = store.parents(row.id for row in rows)
    output.rows(
        [_row(row, parents.get(row.id)) for row in rows],
        columns=("id", "status", "agent", "started_at", "held", "cost", "parent", "prompt"),
        fields=FIELDS,
        empty='No runs here yet. `agentrt run "..."` starts one.',
    )


def _row(row: RunRow, parent: str | None) -> dict[str, Any]:
    return {**row.model_dump(include=set(FIELDS)), "cost": _cost(row), "parent": parent}


def _cost(row: RunRow) -> str:
    if row.simulated:
        return "simulated"
    return f"${row.cost_usd}{' at least' if row.cost_unknown else ''}"


@runs.command
@click.option(
    "--for", "for_s", type=Duration(), metavar="TIME", default="10m", help="At least so long."
)
@prints_rows
@click.pass_obj
def stuck(folder: Path, for_s: float, output: Output) -> None:
    """List runs that should go on and do not; exits with 1 when there are any.

    One is stuck when it is ready and no living process carries it, or when the time is over in
    which it waited for a fact.

    \b
    Example:
      agentrt runs stuck --for 30m || page-somebody
    """
    from agentrt.notifications import stuck_runs

    project = Project.find(folder)
    rows: list[dict[str, Any]] = []
    if project.has_store:
        with project.open_store() as store:
            found = stuck_runs(store, for_ms=int(for_s * 1000))
            rows = [asdict(each) for each in found]
    columns = ("run", "agent", "since_at", "why")
    output.rows(
        rows,
        columns=columns,
        fields=(*columns, "simulated"),
        empty="No run is stuck.",
        total=len(rows),
    )
    sys.exit(Exit.FAILED if rows else Exit.OK)


@runs.command
@click.argument("run")
@prints_one
@click.pass_obj
def view(folder: Path, run: str, output: Output) -> None:
    """Show a run: what was said, each call with decision and result, what it cost.

    \b
    Example:
      agentrt runs view @last
    """
    with Project.find(folder).open_store() as store:
        records = store.records(run_id(store, run))
    state = fold(records)
    output.one(_data(state, records), _conversation(state, records, output))


def _data(run: Run, records: list[Record]) -> dict[str, Any]:
    return {
        "id": run.id,
        "parent": run.parent,
        "status": run.status,
        "agent": run.agent,
        "model": run.model,
        "environment": run.environment,
        "simulated": run.simulated,
        "user": run.user.name if run.user else None,
        "prompt": run.prompt_seen,
        "output": run.output,
        "error": list(run.error) if run.error else None,
        "turn": run.turn,
        "usage": run.usage.model_dump(),
        "cost_usd": str(run.cost_usd),
        "cost_unknown": run.cost_unknown,
        "started_at": run.started_at,
        "contradictions": [
            {"call": c.call, "tool": c.tool, "at": c.at, "text": c.text} for c in run.contradictions
        ],
        "events": [
            {"seq": record.seq, "at": record.at, **record.event.data()} for record in records
        ],
    }


def _conversation(run: Run, records: list[Record], output: Output) -> Iterator[str]:
    teller = Teller(run.id, now=int(time.time() * 1000), results=True)
    for record in records:
        yield from teller.tell(record.event)
        match record.event:
            case RunStarted() as started:
                who = visible(started.user.name) if started.user else "somebody"
                yield f"{output.time(record.at)}  {who}:"
                yield from _block(started.seen("prompt"))
            case ClaudeReplied() as reply:
                price = "" if run.simulated else f"  ${reply.cost_usd or ' unknown'}"
                yield f"{output.time(record.at)}  {reply.model}, {reply.latency_ms} ms{price}:"
                yield from _block(text_of(reply))
            case _:
                pass
    yield from (f"!! {c.call} {c.tool} CONTRADICTED: {visible(c.text)}" for c in run.contradictions)
    yield summary(run)


def _block(text: str) -> Iterator[str]:
    for line in visible(text, lines=True).splitlines():
        yield f"  | {line}"


@runs.command
@click.argument("run")
@click.option("--exit-status", is_flag=True, help="Exit as the run did: 0 only if it finished.")
@click.pass_obj
def watch(folder: Path, run: str, exit_status: bool) -> None:
    """Follow a run to its end, whoever carries it.

    \b
    Example:
      agentrt runs watch @last --exit-status && echo finished
    """
    from agentrt.cli.run import exit_of

    with Project.find(folder).open_store() as store:
        ended = _watch(store, run_id(store, run))
    narrate(summary(ended), bold=True)
    sys.exit(exit_of(ended) if exit_status else Exit.OK)


def _watch(store: AuditStore, id: str) -> Run:
    follower = Follower(store, Run(id))
    while not follower.tell().over:
        time.sleep(POLL_S)
    return follower.run


class Follower:
    """Tells what is new in a run: Claude's text on stdout, the rest on stderr."""

    def __init__(self, store: AuditStore, run: Run) -> None:
        """`run` is how far it was told already."""
        self.run = run
        self._store = store
        self._teller = Teller(run.id, now=store.clock())
        for record in store.records(run.id)[: run.seq]:
            list(self._teller.tell(record.event))  # heard, so that later facts make sense

    def tell(self) -> Run:
        """Tell what came since; the run as it stands now."""
        records = self._store.records(self.run.id, after=self.run.seq)
        for record in records:
            self._tell(record)
        self.run = fold(records, run=self.run)
        return self.run

    def _tell(self, record: Record) -> None:
        match record.event:
            case ClaudeReplied() as reply:
                if text := text_of(reply):
                    click.echo(visible(text, lines=True))
            case RunFailed() as failed:
                narrate(f"~ {failed.code}: {visible(failed.message)}")
            case event:
                for line in self._teller.tell(event):
                    narrate(line)


@runs.command
@click.argument("run")
@click.option("--reason", default="cancelled at the command line", help="Why; it is recorded.")
@click.pass_obj
def cancel(folder: Path, run: str, reason: str) -> None:
    """Stop a run, whoever carries it: calls that have not started never will.

    \b
    Example:
      agentrt runs cancel @last --reason "wrong customer"
    """
    from agentrt.loop.cancel import cancel as cancel_run

    with Project.find(folder).open_store(read_only=False) as store:
        found = run_id(store, run)
        asyncio.run(cancel_run(store, found, by=getpass.getuser(), reason=reason))
    narrate(f"{found} is cancelled")


@runs.command
@click.argument("run")
@click.argument("name")
@click.argument("value")
@click.option("--by", metavar="NAME", help="Who says so; default: the user of this machine.")
@click.pass_obj
def state(folder: Path, run: str, name: str, value: str, by: str | None) -> None:
    """State a fact that a run's policy waits for: the calls that need it are decided again.

    VALUE is JSON; what is no JSON is text. `agentrt policy facts` lists the facts that are
    stated, `agentrt approvals list --deferred` the calls that wait for one.

    \b
    Example:
      agentrt runs state @last run.fraud_score 12 --by risk-desk
    """
    from agentrt.loop import state as state_fact

    project = Project.find(folder)
    policy = project.policy
    with project.open_store(read_only=False) as store:
        found = run_id(store, run)
        stating = state_fact(store, policy, found, name, _value(value), by=by or getpass.getuser())
        stated = asyncio.run(stating)
    narrate(f"{found}: {name} is stated")
    if stated.status == "running":
        script = " --simulated SCRIPT" if stated.simulated else ""
        narrate(f"unless a process carries it on: agentrt runs resume {found}{script}")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@runs.command
@click.argument("run", required=False)
@click.option(
    "--simulated",
    "script",
    metavar="SCRIPT",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Carry simulated runs on, answered by this script.",
)
@click.option("--wait", is_flag=True, help="Go on until it is over, also while it waits.")
@click.pass_obj
def resume(folder: Path, run: str | None, script: Path | None, wait: bool) -> None:
    """Carry a run on: after an approval, a crash or an outage.

    Without RUN, every run that is ready and that no living process carries. Real runs go on
    with Claude, simulated ones with --simulated.

    \b
    Example:
      agentrt runs resume
      agentrt runs resume @last --simulated script.yaml
    """
    from agentrt.cli.run import exit_of

    project = Project.find(folder)
    with project.open_store() as store:
        simulated = script is not None
        ids = [run_to_go_on(store, run, script)] if run else _ready(store, simulated=simulated)
    if not ids:
        narrate("No run is ready to go on.")
        return
    ended = asyncio.run(_resume(project, ids, script, wait=wait))
    for state in ended:
        narrate(f"{summary(state)}  {state.id}", bold=True)
    sys.exit(max((exit_of(state) for state in ended), default=Exit.OK))


def _ready(store: AuditStore, *, simulated: bool) -> list[str]:
    rows = [row for row in store.runs(status=("running",)) if store.carrier(row.id) is None]
    others = [row for row in rows if row.simulated != simulated]
    if others:
        kind, how = ("real", "") if simulated else ("simulated", " --simulated SCRIPT")
        narrate(f"{len(others)} {kind} runs are ready too: agentrt runs resume{how}", bold=True)
    return [row.id for row in rows if row.simulated == simulated]


async def _resume(
    project: Project, ids: list[str], script: Path | None, *, wait: bool
) -> list[Run]:
    from agentrt.cli.run import open_runtime

    async with open_runtime(project, script) as runtime:
        followers = [Follower(runtime.store, runtime.store.load(run)) for run in ids]
        telling = asyncio.create_task(_tell_on(followers))
        going = (runtime.resume(run, by=getpass.getuser(), wait=wait) for run in ids)
        try:
            ended = await asyncio.gather(*going, return_exceptions=True)
        finally:
            telling.cancel()
        for follower in followers:
            follower.tell()
    return [state for state in map(_unless_elsewhere, ended) if state is not None]


def _unless_elsewhere(ended: Run | BaseException) -> Run | None:
    """The run; None when another process took it up meanwhile. Raises what else went wrong."""
    if isinstance(ended, CarriedElsewhere):
        narrate(visible(str(ended)))
        return None
    if isinstance(ended, BaseException):
        raise ended
    return ended


async def _tell_on(followers: list[Follower]) -> None:
    while True:
        for follower in followers:
            follower.tell()
        await asyncio.sleep(POLL_S)
