"""`agentrt approvals view`, `approve`, `reject`, `edit`: a call is shown and decided."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from agentrt.approvals import ApprovalQueue, KeyFile, Shown, group_digest, together
from agentrt.audit import AuditStore
from agentrt.cli.ids import call_row
from agentrt.cli.output import Output, narrate, prints_one
from agentrt.cli.project import Project
from agentrt.cli.reviewing import ask, check_digest, reviewer_key, shown_lines
from agentrt.errors import NotFound
from agentrt.policy import Reviewers
from agentrt.run import Run, ToolCall

__all__ = ["approve", "decided", "edit", "reject", "view"]

F = TypeVar("F", bound=Callable[..., Any])

TAKEN_UP_WITHIN_S = 0.6
"""How long to look whether a living process takes the run up; it looks ten times a second."""

_KEY = click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your key. Default: $AGENTRT_KEY, else the one in your config folder.",
)
_ARGUMENTS = click.option(
    "--arguments",
    "digest",
    metavar="DIGEST",
    help="The arguments you mean: their digest as `view` prints it, or its beginning.",
)

_GROUP = click.option(
    "--group", is_flag=True, help="The call and all that belong together with it."
)


def _decides(command: F) -> F:
    made: Any = click.argument("call")(_ARGUMENTS(_KEY(command)))
    return made  # type: ignore[no-any-return]


@click.command
@click.argument("call")
@_GROUP
@prints_one
@click.pass_obj
def view(folder: Path, call: str, group: bool, output: Output) -> None:
    """Show all that is needed to decide a call.

    \b
    Example:
      agentrt approvals view @next
      agentrt approvals view @next --group
    """
    with Project.find(folder).open_store() as store:
        shown = _shown(store, call, group=group)
        data = _group_data(shown, store) if group else _call_data(shown[0], store)
        output.one(data, list(shown_lines(shown, store)))


def _shown(store: AuditStore, text: str, *, group: bool = False) -> tuple[Shown, ...]:
    shown = ApprovalQueue(store, Reviewers()).view(call_row(store, text).id)
    return together(shown) if group else (shown,)


def _group_data(group: Sequence[Shown], store: AuditStore) -> dict[str, Any]:
    calls = [_call_data(shown, store) for shown in group]
    return {"run": group[0].run.id, "arguments_digest": group_digest(group), "calls": calls}


def _call_data(shown: Shown, store: AuditStore) -> dict[str, Any]:
    run, call = shown.run, shown.call
    return {
        "id": call.id,
        "run": run.id,
        "agent": run.agent,
        "user": run.user.name if run.user else None,
        "simulated": run.simulated,
        "tool": call.tool,
        "status": call.status,
        "effect": call.effect,
        "labels": list(call.labels),
        "turn": call.turn,
        "revision": call.revision,
        "arguments": _arguments(call),
        "arguments_digest": call.arguments_digest,
        "preview": call.preview,
        "verdict": call.verdict,
        "reason": call.reason,
        "rules": [rule.model_dump() for rule in call.rules],
        "bundle": call.bundle,
        "approver": call.approver.model_dump() if call.approver else None,
        "approvals": [
            {"by": approval.by, "at": approval.at, "reason": approval.reason, "key": approval.key}
            for approval in call.approvals
        ],
        "expires_at": call.expires_at,
        "result": call.result or None,
        "closed_by": call.closed_by or None,
        "doubt": _doubt(call, store) if call.status == "in doubt" else None,
        "contradictions": [c.text for c in run.contradictions if c.call == call.id],
        "together_with": [other.call.id for other in together(shown) if other != shown],
    }


def _doubt(call: ToolCall, store: AuditStore) -> dict[str, Any]:
    """What is known of the attempt in doubt."""
    return {
        "reason": call.doubt,
        "attempt": call.attempt,
        "key": call.key,
        "started_at": call.started_at,
        "deadline_at": call.deadline_at,
        "process": call.process,
        "alive": store.is_alive(call.process),
        "may_still_run": ApprovalQueue(store, Reviewers()).may_still_run(call),
        "check": call.check or None,
    }


def _arguments(call: ToolCall) -> Any:
    try:
        return json.loads(call.seen_arguments)
    except ValueError:
        return call.seen_arguments.decode(errors="replace")


@click.command
@_decides
@_GROUP
@click.option("--reason", default="", help="Why; it is signed and recorded.")
@click.pass_obj
def approve(
    folder: Path, call: str, digest: str | None, key: Path | None, group: bool, reason: str
) -> None:
    """Let a held call run, with exactly the arguments that were shown.

    At a terminal it shows the call and asks. A script says --arguments, so that it cannot
    approve what it has not seen.

    \b
    Example:
      agentrt approve @next
      agentrt approve c_7f3a --arguments 9c1e8f3a21b0 --reason "checked in the ledger"
      agentrt approve c_7f3a --group
    """
    expected = check_digest(digest) if digest is not None else None
    project = Project.find(folder)
    with project.open_store(read_only=False) as store:
        shown = _shown(store, call, group=group)
        reason = reason if expected else ask(shown, store, reason, verb="approve")
        signer = reviewer_key(project, key)
        queue = ApprovalQueue(store, project.reviewers, known=project.known)
        run = _wait_for(
            queue.approve_group(shown, signer=signer, reason=reason, arguments=expected)
        )
        decided(store, run, *(each.call.id for each in shown))


@click.command
@_decides
@_GROUP
@click.option("--reason", default="", help="Why; Claude is told it.")
@click.pass_obj
def reject(
    folder: Path, call: str, digest: str | None, key: Path | None, group: bool, reason: str
) -> None:
    """Turn a held call down; Claude is told the reason and may do something else.

    \b
    Example:
      agentrt reject @next --reason "only one charge is a duplicate"
      agentrt reject @next --group --reason "no charge is a duplicate"
    """
    expected = check_digest(digest) if digest is not None else None
    project = Project.find(folder)
    with project.open_store(read_only=False) as store:
        shown = _shown(store, call, group=group)
        seen = expected or (reason and not group)
        reason = reason if seen else ask(shown, store, reason, verb="reject")
        signer = reviewer_key(project, key)
        queue = ApprovalQueue(store, project.reviewers, known=project.known)
        run = _wait_for(queue.reject_group(shown, signer=signer, reason=reason, arguments=expected))
        decided(store, run, *(each.call.id for each in shown))


@click.command
@_decides
@click.option("--set", "sets", metavar="NAME=JSON", multiple=True, help="One argument, as JSON.")
@click.option(
    "--arguments-file",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="All arguments as a JSON object; - is stdin.",
)
@click.option("--reason", default="", help="Why; it is signed and recorded.")
@click.pass_obj
def edit(
    folder: Path,
    call: str,
    digest: str | None,
    key: Path | None,
    sets: tuple[str, ...],
    arguments_file: Any,
    reason: str,
) -> None:
    """Approve a held call with other arguments, which policy decides on again.

    \b
    Example:
      agentrt approvals edit @next --set amount=640 --set note='"one charge only"' \\
        --arguments 9c1e8f3a21b0 --reason "only li_82 was a duplicate"
    """
    if bool(sets) == bool(arguments_file):
        raise click.UsageError("Say what changes: --set NAME=JSON, or --arguments-file FILE.")
    expected = check_digest(digest) if digest is not None else None
    project = Project.find(folder)
    with project.open_store(read_only=False) as store:
        (shown,) = _shown(store, call)
        edited = _edited(shown.call, sets, arguments_file)
        if not expected:
            narrate(f"new arguments: {_told(shown.call, edited)}", bold=True)
            reason = ask([shown], store, reason, verb="edit")
        signer = reviewer_key(project, key)
        run = _wait_for(_edit(project, store, shown, edited, signer, reason, expected))
        decided(store, run, shown.call.id)


def _told(call: ToolCall, edited: dict[str, Any]) -> str:
    """The new arguments; what the reviewer leaves as it is stays as it is shown."""
    seen, same = _arguments(call), call.arguments_data
    told = {n: seen.get(n, v) if same.get(n) == v else v for n, v in edited.items()}
    return json.dumps(told)


def _edited(call: ToolCall, sets: tuple[str, ...], file: Any) -> dict[str, Any]:
    if file is not None:
        return _object(file.read())
    edited = dict(call.arguments_data)
    for setting in sets:
        name, found, text = setting.partition("=")
        if not found:
            raise click.UsageError(f"--set {setting}: write NAME=JSON, as in amount=640.")
        edited[name] = _json(name, text)
    return edited


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise click.UsageError(
            f"--set {name}: {text} is not JSON. Text goes in quotes: --set {name}='\"{text}\"'."
        ) from None


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--arguments-file: this is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise click.UsageError("--arguments-file: the arguments are a JSON object.")
    return data


def _edit(
    project: Project,
    store: AuditStore,
    shown: Shown,
    edited: dict[str, Any],
    signer: KeyFile,
    reason: str,
    expected: str | None,
) -> Coroutine[Any, Any, Run]:
    return ApprovalQueue(store, project.reviewers, known=project.known).edit(
        shown,
        edited,
        signer=signer,
        reason=reason,
        tools=project.tools,
        policy=project.policy,
        arguments=expected,
    )


def _wait_for(deciding: Coroutine[Any, Any, Run]) -> Run:
    return asyncio.run(deciding)


def decided(store: AuditStore, run: Run, *calls: str) -> None:
    """Say what was decided, and who carries the run on."""
    standing = [_found(run, call) for call in calls]
    for call in standing:
        narrate(f"{call.id}{_became(call)}", bold=True)
    if any(call.status == "held" for call in standing):
        return
    if run.status == "waiting":
        narrate(f"{run.id} waits for another call: agentrt approvals list")
    elif _taken_up(store, run):
        narrate(f"a living process carries {run.id} on: agentrt runs watch {run.id}")
    else:
        script = " --simulated SCRIPT" if run.simulated else ""
        narrate(f"no living process carries {run.id} on: agentrt runs resume {run.id}{script}")


def _found(run: Run, id: str) -> ToolCall:
    call = run.call(id)
    if call is None:
        raise NotFound(f"The run {run.id} has no call {id}.")
    return call


def _became(call: ToolCall) -> str:
    if call.status == "held":
        return f": recorded; it waits for {call.quorum - len(call.approvals)} more"
    return f" is {'to be decided anew' if call.status == 'requested' else call.status}"


def _taken_up(store: AuditStore, run: Run) -> bool:
    until = time.monotonic() + TAKEN_UP_WITHIN_S
    while time.monotonic() < until:
        if store.carrier(run.id) or store.catch_up(run).seq > run.seq:
            return True
        time.sleep(0.05)
    return False
