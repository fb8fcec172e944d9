"""`agentrt audit checkpoint`: seal every run now and print the signed note."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agentrt.audit.notes import Checkpoint, Note
from agentrt.audit.proofs import consistency_of
from agentrt.audit.sealer import Sealer
from agentrt.audit.witness import Request
from agentrt.cli.output import Output, narrate, prints_one
from agentrt.cli.project import Project

__all__ = ["checkpoint"]


@click.command
@click.option(
    "--since",
    "since",
    metavar="SIZE",
    type=click.IntRange(min=0),
    help="What a witness needs that saw SIZE heads: the proof that the tree only grew.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there."
)
@prints_one
@click.pass_obj
def checkpoint(folder: Path, since: int | None, out: Path | None, output: Output) -> None:
    """Put the heads of all runs under a signature now, and print the signed note.

    Keep it where the store is not (mail it, commit it, print it): with it anyone can tell
    later that nothing before it was changed or cut off.

    \b
    Example:
      agentrt audit checkpoint -o 2027-01-31.checkpoint
      agentrt audit verify --against 2027-01-31.checkpoint
    """
    project = Project.find(folder)
    with project.open_store(read_only=False) as store:
        sealer = Sealer(store, project.runtime_key)
        note, new = asyncio.run(sealer.seal(asked=True))
        project.seen.look(store)
        request = None
        if since is not None:
            with store.reading() as connection:
                request = Request(since, consistency_of(connection, since, note), note)
    if not new:
        narrate("nothing happened since this checkpoint was made")
    text = str(request or note)
    if out is not None:
        out.write_text(text, encoding="utf-8")
        narrate(f"written to {out}")
        return
    output.one(_data(project, note, new), _lines(text))


def _lines(text: str) -> Iterator[str]:
    yield text.removesuffix("\n")


def _data(project: Project, note: Note, new: bool) -> dict[str, Any]:
    found = Checkpoint.parse(note.text)
    return {
        "origin": found.origin,
        "size": found.size,
        "root": found.root.hex(),
        "new": new,
        "key": str(project.runtime_key.verifier(found.origin)),
        "note": str(note),
    }
