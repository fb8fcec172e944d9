"""`agentrt settle`: a person says what became of a call in doubt."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from agentrt.approvals import ApprovalQueue
from agentrt.cli.decisions import decided
from agentrt.cli.ids import call_row
from agentrt.cli.project import Project
from agentrt.cli.reviewing import reviewer_key

__all__ = ["settle"]


@click.command
@click.argument("call")
@click.option(
    "--happened/--did-not",
    default=None,
    required=True,
    help="It took effect; or it did not, and is then decided anew.",
)
@click.option("--reason", required=True, help="How you know; it is signed and recorded.")
@click.option("--result", default="", help="With --happened: what Claude is told it returned.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your key. Default: $AGENTRT_KEY, else the one in your config folder.",
)
@click.pass_obj
def settle(
    folder: Path, call: str, happened: bool, reason: str, result: str, key: Path | None
) -> None:
    """Say what became of a call in doubt: started, never finished, and nobody could know.

    Look at the other side first, for instance in the ledger of the payment provider. The call
    is named by its key there: `agentrt why CALL` shows it.

    \b
    Example:
      agentrt settle c_7f3a --happened --reason "the ledger has it" --result "refunded"
      agentrt settle c_7f3a --did-not --reason "the ledger does not have it"
    """
    project = Project.find(folder)
    with project.open_store(read_only=False) as store:
        found = call_row(store, call).id
        signer = reviewer_key(project, key)
        queue = ApprovalQueue(store, project.reviewers)
        run = asyncio.run(
            queue.settle(found, happened=happened, signer=signer, reason=reason, result=result)
        )
        decided(store, run, found)
