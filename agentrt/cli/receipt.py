"""`agentrt receipt`: one call as a signed file, and such a file checked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agentrt.audit.keys import public_key_of
from agentrt.audit.sealer import Sealer
from agentrt.cli.ids import call_row
from agentrt.cli.output import Output, narrate, prints_one
from agentrt.cli.project import Project
from agentrt.receipts import Checked, Signers, check_receipt, make_receipt
from agentrt.visible import visible

__all__ = ["receipt"]


class _CallOrVerb(click.Group):
    """`receipt CALL` makes one; `receipt verify FILE` checks one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            return "make", self.commands["make"], args
        return super().resolve_command(ctx, args)


@click.group(cls=_CallOrVerb)
def receipt() -> None:
    """Give one call to somebody else: a signed file that proves itself.

    \b
    Example:
      agentrt receipt c_7f3a -o refund.receipt
      agentrt receipt verify refund.receipt --key runtime.pub --signers allowed_signers
    """


@receipt.command("make")
@click.argument("call")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there."
)
@click.option(
    "--withhold",
    multiple=True,
    metavar="FIELD",
    help="Only commit to this content, such as prompt, arguments or result. May be repeated.",
)
@click.pass_obj
def make(folder: Path, call: str, out: Path | None, withhold: tuple[str, ...]) -> None:
    """Make the receipt of a call: `agentrt receipt CALL` does the same.

    It holds what was asked, decided, approved and done, with the records themselves, their place
    under a signed checkpoint, and the reviewers' signatures. What was forgotten, and what is
    withheld, is only committed to.

    \b
    Example:
      agentrt receipt @last --withhold prompt -o refund.receipt
    """
    project = Project.find(folder)
    with project.open_store(read_only=False) as store:
        key = project.runtime_key
        found = call_row(store, call).id
        asyncio.run(Sealer(store, key).seal())
        project.seen.look(store)
        data = make_receipt(store, found, key, withhold=withhold)
    if out is None:
        click.echo(data, nl=False)
        return
    out.write_bytes(data)
    narrate(f"the receipt of {found} is in {out}; check it with {key.path}.pub")


@receipt.command("signers")
@click.pass_obj
def signers_(folder: Path) -> None:
    """Print who may approve, as an allowed_signers file: hand it out with the runtime's key.

    \b
    Example:
      agentrt receipt signers > allowed_signers
    """
    click.echo(Project.find(folder).reviewers.allowed_signers(), nl=False)


@receipt.command("verify")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    required=True,
    metavar="FILE",
    help="The .pub file of the runtime's key, got in a way you trust. May be repeated.",
)
@click.option(
    "--signers",
    type=click.File("r"),
    metavar="FILE",
    help="Who may approve: an allowed_signers file, as `agentrt receipt signers` prints it.",
)
@prints_one
def verify(file: Any, keys: tuple[Path, ...], signers: Any, output: Output) -> None:
    """Check a receipt: offline, without the store or a project.

    Exits with 11 when anything of it was changed, or does not hold.

    \b
    Example:
      agentrt receipt verify refund.receipt --key runtime.pub --signers allowed_signers
    """
    found = check_receipt(
        file.read(),
        [public_key_of(path.read_text(encoding="utf-8")) for path in keys],
        signers=Signers.parse(signers.read()) if signers is not None else None,
    )
    output.one(_data(found), (visible(line) for line in _lines(found)))


def _data(found: Checked) -> dict[str, Any]:
    shown = {name: value for name, value in found.predicate.items() if name != "evidence"}
    approvals = [{"by": by, "key": key, "known": known} for by, key, known in found.approvals]
    return {
        "ok": True,
        "key": found.key,
        "checkpoint_size": found.size,
        "cosigned": list(found.cosigned),
        "signatures": approvals,
        **shown,
    }


def _lines(found: Checked) -> Iterator[str]:
    said = found.predicate
    action, decision, outcome = said["action"], said["decision"], said["outcome"]
    user = said["identities"]["user"]
    who = user["name"] if user else "nobody named"
    yield f"ok: {action['call']} {action['tool']} was {decision['kind']}: {outcome['status']}"
    yield f"asked for by {said['identities']['agent']} on behalf of {who}"
    yield f"arguments {action['arguments_digest'][:12]}, policy {decision['policy'][:12]}"
    if decision["reason"]:
        yield f"because: {decision['reason']}"
    for by, key, known in found.approvals:
        yield f"signed by {by} with {key}" + ("" if known else " (whose it is was not checked)")
    cosigned = f", which {', '.join(found.cosigned)} signed too" if found.cosigned else ""
    yield f"under a checkpoint over {found.size} heads by {found.key}{cosigned}"
