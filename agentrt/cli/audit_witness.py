"""`agentrt audit witness`: a second party that remembers checkpoints and signs them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection, insert, select

from agentrt.audit import AuditStore
from agentrt.audit.keys import SigningKey, public_key_of
from agentrt.audit.notes import COSIGNATURE, Checkpoint, Note, Signature, Verifier, is_name
from agentrt.audit.proofs import consistency_of
from agentrt.audit.sealing import checkpoint_at, newest_checkpoint
from agentrt.audit.tables import CheckpointRow, CosignatureRow, columns
from agentrt.audit.witness import Request, Witness
from agentrt.cli.output import narrate
from agentrt.cli.project import Project
from agentrt.errors import KeyUnusable, NoteInvalid, NotFound

__all__ = ["witness"]

LOOKED_BACK = 1_000
"""Checkpoints that a signature from elsewhere may be under."""

_checkpoint = columns(CheckpointRow)


@click.command
@click.argument("memory", type=click.Path(path_type=Path), required=False)
@click.option("--name", metavar="NAME", required=True, help="The witness, such as example.com/w1.")
@click.option(
    "--witness-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="Its own key, made when there is none, for this only; with --add its .pub file.",
)
@click.option(
    "--request",
    type=click.File("rb"),
    metavar="FILE",
    help="What `audit checkpoint --since SIZE` wrote; - is stdin. Then no store is needed.",
)
@click.option(
    "--runtime-key",
    type=click.Path(path_type=Path, exists=True),
    metavar="FILE",
    help="With --request: the .pub file of the runtime's key, got in a way you trust.",
)
@click.option(
    "--add",
    type=click.File("r"),
    metavar="FILE",
    help="Take a signature line that the witness gave elsewhere into this store.",
)
@click.pass_obj
def witness(
    folder: Path,
    memory: Path | None,
    name: str,
    witness_key: Path,
    request: Any,
    runtime_key: Path | None,
    add: Any,
) -> None:
    """Sign the newest checkpoint as a witness, if the store only grew since the last time.

    MEMORY is the witness's file: the last checkpoint that it signed. Run it as somebody else,
    on another machine, from cron; what it remembers cannot be taken back by whoever holds the
    store. In a project it looks at the store itself; with --request it needs none. What it prints
    is a line to stand under the note (C2SP cosignature/v1). Exits with 11 when the store was
    changed, cut or rolled back.

    \b
    Example:
      agentrt audit witness ~/seen.checkpoint --name example.com/w1 --witness-key ~/w1_key
    """
    if not is_name(name):
        raise click.UsageError("--name must have neither blanks nor plus signs.")
    if add is not None:
        _add(folder, Verifier(name, _public(witness_key), COSIGNATURE), add.read().strip())
        return
    if memory is None:
        raise click.UsageError("Say in which file the witness remembers: MEMORY.")
    party = Witness(name, SigningKey.at(witness_key), memory)
    if request is None:
        _look(folder, party)
        return
    if runtime_key is None:
        raise click.UsageError("--request needs --runtime-key: whose signature to believe.")
    asked = Request.parse(request.read())
    click.echo(str(party.cosign(asked, log=_public(runtime_key), at_s=int(time.time()))))


def _public(path: Path) -> bytes:
    """A public key; for a private one, that of the `.pub` file beside it."""
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    try:
        return public_key_of(public.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyUnusable(f"The public key {public} cannot be read: {error}.") from error


def _look(folder: Path, party: Witness) -> None:
    project = Project.find(folder)
    with project.open_store(read_only=False) as store:
        before = party.last()
        old = Checkpoint.parse(before.text).size if before is not None else 0
        with store.reading() as connection:
            note = newest_checkpoint(connection)
            if note is None:
                raise NotFound("There is no checkpoint yet: `agentrt audit checkpoint`.")
            asked = Request(old, consistency_of(connection, old, note), note)
        signature = party.cosign(asked, log=project.runtime_key.raw, at_s=int(time.time()))
        asyncio.run(_keep(store, Checkpoint.parse(note.text).size, signature))
    click.echo(str(signature))
    narrate(f"{party.name} signed the checkpoint, and remembers it in {party.memory}")


def _add(folder: Path, party: Verifier, line: str) -> None:
    signature = Signature.parse(line)
    with Project.find(folder).open_store(read_only=False) as store:
        with store.reading() as connection:
            size = _size_signed(connection, party, signature)
        asyncio.run(_keep(store, size, signature))
    narrate(f"the signature of {party.name} stands under the checkpoint over {size} heads")


def _size_signed(connection: Connection, party: Verifier, signature: Signature) -> int:
    """Which checkpoint it is under: the line itself does not say."""
    sizes = select(_checkpoint.size, _checkpoint.note).order_by(_checkpoint.size.desc())
    for size, text in connection.execute(sizes.limit(LOOKED_BACK)):
        with suppress(NoteInvalid):
            party.verify(Note(Note.parse(text).text, (signature,)))
            return int(size)
    raise NoteInvalid(f"This is no signature of {party.name} under a checkpoint of this store.")


async def _keep(store: AuditStore, size: int, signature: Signature) -> None:
    row = {"size": size, "name": signature.name, "line": str(signature)}

    def work(connection: Connection) -> None:
        known = checkpoint_at(connection, size)
        if known is None:
            raise NoteInvalid(f"This store has no checkpoint over {size} heads.")
        if all(each.name != signature.name for each in known.signatures):
            connection.execute(insert(CosignatureRow), [row])

    await store.within(work)
