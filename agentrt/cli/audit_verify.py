"""`agentrt audit verify`: is everything as it was written?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from agentrt.audit import AuditStore, Verification
from agentrt.audit.keys import public_key_of
from agentrt.audit.notes import COSIGNATURE, Note, Verifier
from agentrt.audit.sealing import newest_checkpoint
from agentrt.audit.verify import Trust, verify_newer
from agentrt.cli.exits import Exit
from agentrt.cli.ids import run_id
from agentrt.cli.output import Output, narrate, prints_one, progress, progress_over
from agentrt.cli.project import Project
from agentrt.errors import KeyUnusable, NoteInvalid, NotFound
from agentrt.visible import visible

__all__ = ["verify"]

LISTS_UP_TO = 50_000
"""Records up to which lists are compared without being asked for: some seconds."""


@click.command
@click.argument("run", required=False)
@click.option(
    "--since-last", is_flag=True, help="Only what came since the last checkpoint verified here."
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="Hold the store to a checkpoint that was kept elsewhere. May be repeated.",
)
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="A .pub file of the runtime's key, of today or before. Default: this user's.",
)
@click.option(
    "--witness",
    "witnesses",
    multiple=True,
    metavar="VKEY",
    help="A witness as name+id+key; its last signature must be there and hold.",
)
@click.option(
    "--lists/--no-lists",
    default=None,
    help=f"Also fold every run and compare the lists. Default: up to {LISTS_UP_TO:,} records.",
)
@prints_one
@click.pass_obj
def verify(
    folder: Path,
    run: str | None,
    since_last: bool,
    against: tuple[Path, ...],
    keys: tuple[Path, ...],
    witnesses: tuple[str, ...],
    lists: bool | None,
    output: Output,
) -> None:
    """Check every record, or those of one run: nothing edited, removed, swapped or added.

    Records, content and chains are held to their hashes, the heads of runs to the signed
    checkpoints, and those to what is remembered: here, in --against, by a --witness. Exits
    with 11 when something is found.

    \b
    Example:
      agentrt audit verify && echo intact
      agentrt audit verify --against 2027-01-31.checkpoint
    """
    if run is not None and (since_last or against or witnesses):
        raise click.UsageError("Checkpoints are over all runs: leave RUN away.")
    project = Project.find(folder)
    if not project.has_store:
        narrate(f"There is no audit store at {project.store_told} yet: nothing to verify.")
        return
    with project.open_store() as store:
        trust = _trust(project, keys, against, witnesses)
        if run is not None:
            found = store.verify(run_id(store, run), progress=progress)
        elif since_last:
            found = _newer(project, store, trust)
        else:
            found = store.verify(lists=_wants_lists(store, lists), trust=trust, progress=progress)
        progress_over()
        if found.ok and run is None:
            _remember(project, store)
    output.one(_data(found), _lines(found, trust, whole=run is None))
    if not found.ok:
        sys.exit(Exit.VERIFICATION)


def _newer(project: Project, store: AuditStore, trust: Trust) -> Verification:
    last = project.seen.last_verified(store.id)
    if last is None:
        raise NotFound("Nothing was verified here yet: `agentrt audit verify` does it whole.")
    with store.reading() as connection:
        return verify_newer(connection, last, trust=trust, progress=progress)


def _wants_lists(store: AuditStore, asked: bool | None) -> bool:
    if asked is not None:
        return asked
    if store.size() <= LISTS_UP_TO:
        return True
    narrate("the lists are not compared with the records, since these are many: --lists does")
    return False


def _remember(project: Project, store: AuditStore) -> None:
    with store.reading() as connection:
        newest = newest_checkpoint(connection)
    if newest is not None:
        project.seen.verified(store.id, newest)


def _trust(
    project: Project, keys: Sequence[Path], against: Sequence[Path], witnesses: Sequence[str]
) -> Trust:
    own = project.where_runtime_key_is.with_name(f"{project.where_runtime_key_is.name}.pub")
    files = list(keys) or ([own] if own.is_file() else [])
    return Trust(
        keys=[_public(file) for file in files],
        notes=[_note(file) for file in against],
        witnesses=[_witness(text) for text in witnesses],
    )


def _public(file: Path) -> bytes:
    try:
        return public_key_of(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise KeyUnusable(f"{file} is no public key.") from None


def _note(file: Path) -> Note:
    try:
        return Note.parse(file.read_bytes())
    except NoteInvalid as error:
        raise NoteInvalid(f"{file}: {error}") from None


def _witness(text: str) -> Verifier:
    found = Verifier.parse(text)
    if found.kind != COSIGNATURE:
        raise NoteInvalid(f"The key of {found.name} is not one that a witness signs with.")
    return found


def _data(found: Verification) -> dict[str, Any]:
    findings = [{"run": each.run, "seq": each.seq, "what": each.what} for each in found.findings]
    return {
        "ok": found.ok,
        "runs": found.runs,
        "records": found.records,
        "heads": found.heads,
        "checkpoints": found.checkpoints,
        "unsealed": found.unsealed,
        "lists": found.lists,
        "findings": findings,
    }


def _lines(found: Verification, trust: Trust, *, whole: bool) -> Iterator[str]:
    for finding in found.findings:
        yield visible(str(finding))
    said = f"{found.records:,} records of {found.runs:,} chains"
    if whole and found.unsealed:
        said += f", {found.unsealed:,} records under no checkpoint yet"
    elif whole:
        said += ", all under signed checkpoints"
    if whole and found.heads and not trust.keys:
        said += " (whose signatures were not checked: --key FILE)"
    count = len(found.findings)
    yield f"ok: {said}" if found.ok else f"{count} findings in {said}"
