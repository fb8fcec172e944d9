"""`agentrt settle`: a person says what became of a call in doubt."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from agentrt.approvals import ApprovalQueue
from agentrt.cli.decisions import decided
from agentrt.cli.ids import call_row
from agentrt.cli.project import Project
from agentrt.cli.reviewing import ask_what_became, check_digest, reviewer_key

__all__ = ["settle"]


@click.command
@click.argument("call")
@click.option(
    "--happened/--did-not-happen",
    " /--did-not",
    default=None,
    help="It took effect; or it did not, and is then decided anew.",
)
@click.option(
    "--arguments",
    "digest",
    metavar="DIGEST",
    help="The arguments you mean: their digest as `approvals view` prints it, or its beginning.",
)
@click.option("--reason", default="", help="How you know; it is signed and recorded.")
@click.option(
    "--result",
    default="",
    metavar="JSON",
    help="With --happened: what it returned, for Claude. What is no JSON is text.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your key. Default: $AGENTRT_KEY, else the one in your config folder.",
)
@click.pass_obj
def settle(
    folder: Path,
    call: str,
    happened: bool | None,
    digest: str | None,
    reason: str,
    result: str,
    key: Path | None,
) -> None:
    """Say what became of a call in doubt: started, never finished, and nobody could know.

    Look at the other side first, for instance in the ledger of the payment provider: there the
    call is known by its key. At a terminal it shows the call and asks. A script says what
    happened, --arguments and --reason. That it did not happen is refused while the process that
    started it may still be alive and do it.

    \b
    Example:
      agentrt settle c_7f3a
      agentrt settle c_7f3a --happened --arguments 9c1e8f3a21b0 --reason "the ledger has it"
      agentrt settle c_7f3a --did-not-happen --arguments 9c1e8f3a21b0 --reason "not in the ledger"
    """
    expected = check_digest(digest) if digest is not None else None
    if expected and (happened is None or not reason.strip()):
        raise click.UsageError("With --arguments say --happened or --did-not-happen, and --reason.")
    if result and happened is False:
        raise click.UsageError("--result says what it returned: only what happened returned.")
    project = Project.find(folder)
    with project.open_store(read_only=False) as store:
        queue = ApprovalQueue(store, project.reviewers, known=project.known)
        shown = queue.view(call_row(store, call).id)
        queue.check_settle(shown, happened=happened)
        if expected is None:
            happened, reason = ask_what_became(shown, store, happened, reason)
        run = asyncio.run(
            queue.settle(
                shown,
                happened=bool(happened),
                signer=reviewer_key(project, key),
                reason=reason,
                result=_result(result),
                arguments=expected,
            )
        )
        decided(store, run, shown.call.id)


def _result(text: str) -> str:
    """What a function that returned this would have told Claude."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False) if text else ""
    except ValueError:
        return text
