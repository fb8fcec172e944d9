"""`agentrt run`: an agent carried from a prompt to its output, told as it happens."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import click

from agentrt.agent import Agent
from agentrt.approvals import KeyFile
from agentrt.audit import AuditStore, RunRow
from agentrt.claude import Claude, TextDelta, ThinkingDelta
from agentrt.cli.durations import Duration
from agentrt.cli.exits import Exit
from agentrt.cli.ids import run_to_go_on
from agentrt.cli.output import at_terminal, json_line, narrate
from agentrt.cli.project import Project, key_path
from agentrt.cli.telling import Teller, summary, text_of
from agentrt.events import (
    AnyEvent,
    CallDecided,
    ClaudeAsked,
    ClaudeFailed,
    ClaudeReplied,
    RunStarted,
)
from agentrt.loop import Item
from agentrt.run import Run
from agentrt.runtime import Load, Runtime
from agentrt.visible import visible

__all__ = [
    "Narrator",
    "exit_of",
    "open_runtime",
    "run",
    "runtime_of",
    "simulated_option",
]

OnHold = Literal["wait", "exit", "reject"]

_LIMITS = frozenset({"turn_limit", "deadline", "max_tokens", "context_window"})
"""Failures that say a limit was reached."""

simulated_option = click.option(
    "--simulated",
    "script",
    metavar="SCRIPT",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Let a scripted Claude answer: no key, no cost. The run is labelled simulated.",
)


@click.command
@click.argument("prompt")
@click.option("--agent", "agent_name", metavar="NAME", help="Which agent, if there are several.")
@click.option("--user", metavar="NAME", help="On whose behalf it runs.")
@click.option(
    "--after",
    metavar="RUN",
    help="Go on with the conversation of this run: the same agent, for the same user.",
)
@simulated_option
@click.option(
    "--on-hold",
    type=click.Choice(["wait", "exit", "reject"]),
    help="When a call is held: wait for a person (default at a terminal), exit with 8 "
    "(default elsewhere), or reject it with your key.",
)
@click.option("--wait", "wait_s", type=Duration(), metavar="TIME", help="Wait at most so long.")
@click.option("--key", type=click.Path(path_type=Path), help="The key that --on-hold reject uses.")
@click.option(
    "--detach",
    is_flag=True,
    help="Print the run's id; a worker carries it on, or else a process in background.",
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each event.")
@click.pass_obj
def run(
    folder: Path,
    prompt: str,
    agent_name: str | None,
    user: str | None,
    after: str | None,
    script: Path | None,
    on_hold: OnHold | None,
    wait_s: float | None,
    key: Path | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Run an agent on PROMPT; `-` reads it from stdin.

    Claude's text goes to stdout, what happens to stderr. ^C lets go of the run: it stays on
    disk, and `agentrt runs resume` carries it on.

    \b
    Example:
      agentrt run "Order 4417 was charged twice" --agent desk
      agentrt run - --simulated script.yaml --on-hold exit < prompt.txt
      agentrt run --after @last "And order 4418?"
    """
    project = Project.find(folder)
    parent = _parent(project, after, script) if after is not None else None
    agent = project.agent(agent_name or (parent.agent if parent else None))
    text = sys.stdin.read() if prompt == "-" else prompt
    asked = _Asked(agent, text, user=user, parent=parent.id if parent else None, script=script)
    _warn_without_reviewers(project)
    if detach:
        _detach(project, asked)
        return
    plan = _Plan(
        on_hold=on_hold or ("wait" if at_terminal() else "exit"),
        wait_s=wait_s,
        key=KeyFile(key_path(key)),
    )
    narrator = Narrator(as_json=as_json)
    try:
        ended = asyncio.run(_carry(project, asked, plan, narrator))
    except KeyboardInterrupt:
        narrator.let_go(script)
        raise
    narrator.close(ended, script)
    rejected = plan.on_hold == "reject" and bool(plan.turned_down)
    sys.exit(Exit.REJECTED if rejected and ended.status == "finished" else exit_of(ended))


@dataclass(frozen=True)
class _Asked:
    """A prompt for an agent, for whom and after which run, and the Claude that answers."""

    agent: Agent
    prompt: str
    user: str | None
    parent: str | None
    script: Path | None


def _parent(project: Project, text: str, script: Path | None) -> RunRow:
    """The run to follow, as it is listed; the runtime looks whether it can be followed."""
    with project.open_store() as store:
        (found,) = store.runs(ids=[run_to_go_on(store, text, script)])
    return found


@dataclass
class _Plan:
    """What to do when a call is held, and what was done."""

    on_hold: OnHold
    wait_s: float | None
    key: KeyFile
    turned_down: list[str] = field(default_factory=list)


async def _carry(project: Project, asked: _Asked, plan: _Plan, narrator: Narrator) -> Run:
    async with open_runtime(project, asked.script) as runtime:
        waits = plan.on_hold != "exit"
        items = runtime.stream(
            asked.agent, asked.prompt, user=asked.user, parent=asked.parent, wait=waits
        )
        narrator.store = runtime.store
        try:
            await _follow(runtime, items, plan, narrator)
        except TimeoutError:
            narrate(f"nobody decided within {plan.wait_s:.0f} s")
        except asyncio.CancelledError:
            narrator.letting_go()
            raise
        return await asyncio.to_thread(runtime.store.load, narrator.run)


async def _follow(
    runtime: Runtime, items: AsyncIterator[Item], plan: _Plan, narrator: Narrator
) -> None:
    """Tell each item, and see to held calls as planned. Raises TimeoutError when `wait_s` is up."""
    async with asyncio.timeout(None) as patience, aclosing(items):  # type: ignore[type-var]
        async for item in items:
            narrator.show(item)
            match item:
                case CallDecided(verdict="hold", editor=None) if plan.on_hold == "reject":
                    await _turn_down(runtime, item.call, plan)
                case CallDecided(verdict="hold") if plan.wait_s is not None:
                    patience.reschedule(asyncio.get_running_loop().time() + plan.wait_s)
                case ClaudeAsked():  # every held call of the turn was decided
                    patience.reschedule(None)
                case _:
                    pass


async def _turn_down(runtime: Runtime, call: str, plan: _Plan) -> None:
    reason = "Nobody is there to decide: the run was started with --on-hold reject."
    await runtime.approvals.reject(call, signer=plan.key, reason=reason)
    plan.turned_down.append(call)


@asynccontextmanager
async def open_runtime(
    project: Project, script: Path | None, *, load: Load | None = None
) -> AsyncIterator[Runtime]:
    """A runtime of the project; with a script, one whose Claude is simulated."""
    async with AsyncExitStack() as stack:
        claude = Claude() if script is None else stack.enter_context(_scripted(script))
        stack.push_async_callback(claude.close)
        project.check_store()
        stack.callback(project.check_store)  # when it is over: to remember the last checkpoint
        # A script answers the conversation it was written for, and no other run's.
        runtime = runtime_of(project, claude, take_up=script is None, load=load)
        yield await stack.enter_async_context(runtime)


def runtime_of(
    project: Project,
    claude: Claude,
    *,
    agents: Mapping[str, Agent] | None = None,
    service: str = "agentrt run",
    take_up: bool,
    load: Load | None = None,
) -> Runtime:
    """A runtime of the project, not entered yet; of these agents only, if they are given."""
    return Runtime(
        store=project.store,
        policy=project.policy,
        policy_folder=project.policies,
        agents=(project.agents if agents is None else agents).values(),
        tools=project.tools.values(),
        facts=project.facts,
        claude=claude,
        environment=project.environment,
        service=service,
        take_up=take_up,
        load=load or project.load_of(),
        carrier=project.carrier,
        key=project.runtime_key,
        notify=project.notify,
        secrets=project.secrets,
    )


@contextmanager
def _scripted(script: Path) -> Iterator[Claude]:
    from agentrt.testing import Script, ScriptedClaude

    with ScriptedClaude(Script.load(script)) as server:
        yield Claude.scripted(server.url)


class Narrator:
    """Tells a run: Claude's text on stdout, what happens on stderr; or all as JSON lines."""

    def __init__(self, *, as_json: bool) -> None:
        self.run = ""
        """The id, known once the run is recorded."""
        self.store: AuditStore | None = None
        self._as_json = as_json
        self._seq = 0
        self._teller: Teller | None = None
        self._line_open = False
        self._streamed = False

    def show(self, item: Item) -> None:
        """Tell one item of the stream."""
        match item:
            case TextDelta():
                self._text(item.text)
            case ThinkingDelta():
                pass
            case _:
                self._fact(item)

    def letting_go(self) -> None:
        """Say that it was heard, which may take as long as the slowest call under way."""
        self._end_line()
        narrate("> letting go: calls under way are finished first", bold=True)

    def let_go(self, script: Path | None) -> None:
        """Say how a run goes on that this process no longer carries."""
        self._end_line()
        if self.run:
            narrate(f"> let go of {self.run}: it stays on disk", bold=True)
            narrate(f"  agentrt runs resume {self.run}{_with(script)}")
            narrate(f"  agentrt runs view {self.run}")

    def close(self, ended: Run, script: Path | None) -> None:
        """Say how the run stands now."""
        self._end_line()
        look = "why" if ended.all_calls else "runs view"
        narrate(f"{summary(ended)}  agentrt {look} {ended.id}", bold=True)
        for call in ended.held:
            whom = ", ".join(call.awaiting) or "a person"
            narrate(f"  {call.id} waits for {whom}: agentrt approvals view {call.id}")
        for call in ended.in_doubt:
            narrate(f"  {call.id} is in doubt: agentrt approvals view {call.id}")
        if not ended.over or ended.resumable:
            narrate(f"  then: agentrt runs resume {ended.id}{_with(script)}")

    def _fact(self, event: AnyEvent) -> None:
        self._seq += 1
        if isinstance(event, RunStarted) and self.store is not None:
            self.run = _id_of(event, self.store)
            self._teller = Teller(self.run, now=self.store.clock())
        if self._as_json:
            click.echo(json_line({"run": self.run, "seq": self._seq, **event.data()}))
        elif isinstance(event, ClaudeReplied):
            self._reply(event)
        elif self._teller is not None:
            self._end_line(isinstance(event, ClaudeFailed))
            for line in self._teller.tell(event):
                narrate(line, bold=line.lstrip().startswith(("!", "?")))

    def _reply(self, event: ClaudeReplied) -> None:
        if not self._streamed:
            self._text(text_of(event))
        self._end_line()
        self._streamed = False

    def _text(self, text: str) -> None:
        if self._as_json or not text:
            return
        self._streamed = True
        self._line_open = not text.endswith("\n")
        click.echo(visible(text, lines=True), nl=False)

    def _end_line(self, cut: bool = False) -> None:
        if self._line_open:
            click.echo()
        self._line_open = False
        self._streamed = self._streamed and not cut


def _id_of(started: RunStarted, store: AuditStore) -> str:
    """The run that begins with this event, which carries no id of its own."""
    records = store.search(types=(started.type,), limit=100)
    return next((record.run for record in records if record.event == started), "")


def _with(script: Path | None) -> str:
    return f" --simulated {script}" if script else ""


def exit_of(run: Run) -> Exit:
    """The exit code that says how a run stands."""
    match run.status:
        case "finished":
            return Exit.OK
        case "failed" if run.error and run.error[0] in _LIMITS:
            return Exit.LIMIT
        case "failed":
            return Exit.TRY_AGAIN if run.resumable else Exit.FAILED
        case "cancelled":
            return Exit.REJECTED
        case "waiting":
            return Exit.WAITING
        case _:
            return Exit.TRY_AGAIN


def _warn_without_reviewers(project: Project) -> None:
    if not project.reviewers_file.is_file():
        narrate(
            f"{project.reviewers_file} is missing, so that nobody can approve what this run "
            "holds. `agentrt init` in the project's folder makes it.",
            bold=True,
        )


def _detach(project: Project, asked: _Asked) -> None:
    """Record the run, for a worker that has its agent; else start a process that carries it."""
    run_id, awaited = asyncio.run(_record(project, asked))
    if not awaited:
        _start_carrier(project, asked, run_id)
    click.echo(run_id)
    narrate(f"agentrt runs watch {run_id}")


def _start_carrier(project: Project, asked: _Asked, run: str) -> None:
    command = [sys.executable, "-m", "agentrt", "-C", str(project.folder), "runs", "resume", run]
    command += ["--simulated", str(asked.script.resolve())] if asked.script else []
    subprocess.Popen(  # noqa: S603 - this program, without a shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


async def _record(project: Project, asked: _Asked) -> tuple[str, bool]:
    """The recorded run, and whether a worker is there to carry it."""
    nothing = replace(project.load_of(), runs_at_once=0)
    async with open_runtime(project, asked.script, load=nothing) as runtime:
        run = await runtime.start(asked.agent, asked.prompt, user=asked.user, parent=asked.parent)
        return run, any(
            each.alive
            and not each.draining
            and each.service == "agentrt worker"
            and asked.agent.name in each.agents
            and each.simulated == (asked.script is not None)
            for each in runtime.store.claims.present()
        )
