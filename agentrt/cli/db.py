"""`agentrt db`: the audit store's database: migrate, copy, back up, grant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agentrt.audit.copying import Copied, copy_store
from agentrt.audit.database import is_url
from agentrt.audit.grants import ROLES, grants
from agentrt.audit.migrations import migrate as migrate_store
from agentrt.cli.groups import Commands, LazyCommand
from agentrt.cli.output import Output, narrate, prints_one
from agentrt.cli.project import Project
from agentrt.errors import ProjectError
from agentrt.visible import visible

__all__ = ["backup", "copy", "db", "grant", "migrate", "path"]

F = TypeVar("F", bound=Callable[..., Any])

_COMMANDS = {
    name: LazyCommand("agentrt.cli.db", name, summary)
    for name, summary in {
        "path": "Where the audit store is.",
        "migrate": "Bring the tables of an older store up to date.",
        "copy": "Copy a store to another file or server.",
        "backup": "Copy the store to a file while it is in use.",
        "grant": "Print the SQL that gives each role its privileges.",
    }.items()
}


@click.group(cls=Commands, lazy=_COMMANDS)
def db() -> None:
    """The database of the audit store: a SQLite file, or PostgreSQL.

    \b
    Example:
      agentrt db copy agentrt.db postgresql://agentrt@db.example/agentrt
    """


@click.command
@prints_one
@click.pass_obj
def path(folder: Path, output: Output) -> None:
    """Where the audit store is; a password is not told.

    \b
    Example:
      agentrt db path
    """
    project = Project.find(folder)
    output.one({"store": project.store_told}, [project.store_told])


@click.command
@click.argument("store", required=False)
@prints_one
@click.pass_obj
def migrate(folder: Path, store: str | None, output: Output) -> None:
    """Bring the tables of an older store up to date. No record, hash or proof changes.

    It is done in one transaction: after a crash the store is as it was before, or done. STORE is
    a file or a URL; without it, the project's store. On PostgreSQL the tables of the job queue
    are made too.

    \b
    Example:
      agentrt db backup before.db
      agentrt db migrate
    """
    location = store or Project.find(folder).store
    done = migrate_store(location)
    if is_url(location):
        from agentrt.carriers.procrastinate import make_schema

        make_schema(str(location))
    same = done.before == done.after
    said = f"up to date: tables {done.after}" if same else f"tables {done.before} -> {done.after}"
    output.one({"before": done.before, "after": done.after}, [said])


@click.command
@click.argument("source")
@click.argument("target")
@prints_one
@click.pass_obj
def copy(folder: Path, source: str, target: str, output: Output) -> None:
    """Copy the store SOURCE to TARGET, where there is none: records, proofs and keys as they are.

    Each is a file or a postgresql:// URL. The copy is of one moment, and is verified. Runs that
    wait go on from the copy; to let it take the place of the source, end what works on the
    source first.

    \b
    Example:
      agentrt db copy agentrt.db postgresql://agentrt@db.example/agentrt
    """
    _told(copy_store(_location(source), _location(target), progress=_progress), target, output)


@click.command
@click.argument("file", type=click.Path(path_type=Path))
@prints_one
@click.pass_obj
def backup(folder: Path, file: Path, output: Output) -> None:
    """Copy the project's store to FILE while it is in use, and verify the copy.

    FILE is a store itself: `agentrt db copy FILE TARGET` restores it.

    \b
    Example:
      agentrt db backup agentrt-2026-12-01.db
    """
    store = Project.find(folder).store
    _told(copy_store(store, file, progress=_progress), str(file), output)


def _named(kind: str) -> Callable[[F], F]:
    """The option that says what a role is called on the server."""
    about = f"The role of {ROLES[kind].about}."
    return click.option(f"--{kind}", default=f"agentrt_{kind}", show_default=True, help=about)


@click.command
@_named("runtime")
@_named("reviewer")
@_named("auditor")
@_named("eraser")
def grant(**names: str) -> None:
    """Print the SQL that gives each role what it needs and no more.

    Make the roles first, and let a role that nobody logs in as own the tables. The runtime adds
    records, a reviewer adds verdicts only, an auditor reads; nobody changes or deletes a record.

    \b
    Example:
      agentrt db grant | psql -U agentrt_owner agentrt
    """
    from agentrt.carriers.procrastinate import queue_grants

    for line in (*grants(names), *queue_grants(names["runtime"], names["reviewer"])):
        click.echo(line)


def _location(stated: str) -> str | Path:
    if is_url(stated):
        return stated
    if "://" in stated:
        raise ProjectError(f"{visible(stated)} is no store: write a file or postgresql://...")
    return Path(stated)


def _progress(table: str, count: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{table} {count:,}", nl=False, err=True)


def _told(copied: Copied, target: str, output: Output) -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    found = copied.verification
    data: dict[str, Any] = {
        "store": copied.store,
        "rows": dict(copied.rows),
        "records": found.records,
        "runs": found.runs,
    }
    said = f"{copied.store}: {found.records:,} records of {found.runs:,} runs, verified"
    output.one(data, [said])
    if not is_url(target):
        return
    narrate('then say where it is: store = "postgresql://..." in agentrt.toml, or $AGENTRT_STORE')
