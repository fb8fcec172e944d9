"""`agentrt forget` and `agentrt subject`: what is held about somebody, erased or handed out."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from agentrt.audit import AuditStore
from agentrt.cli.output import Output, narrate, prints_one
from agentrt.cli.project import Project
from agentrt.visible import visible

__all__ = ["forget", "subject"]


@click.command
@click.argument("subject")
@click.option("--reason", required=True, help="On which ground; it is recorded.")
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and erase nothing.")
@prints_one
@click.pass_obj
def forget(folder: Path, subject: str, reason: str, dry_run: bool, output: Output) -> None:
    """Erase the content of every run that is about SUBJECT, and record that.

    SUBJECT is the name of a user, or a value that a tool's `subject=` argument had, such as a
    customer's number. A run that still needs the content is cancelled first. Records, hashes
    and proofs stay as they are: `agentrt audit verify` passes as before.

    \b
    Example:
      agentrt forget customer-4711 --reason "request of 3 May, GDPR Art. 17" --dry-run
    """
    from agentrt.loop.forget import forget as forget_subject

    with Project.find(folder).open_store(read_only=False) as store:
        if dry_run:
            output.one(*_would(store, subject))
            return
        done = asyncio.run(forget_subject(store, subject, by=getpass.getuser(), reason=reason))
    data = {
        "request": done.request,
        "runs": list(done.runs),
        "cancelled": list(done.cancelled),
        "erased": dict(done.kinds),
        "reach": done.reach,
    }
    if not done.runs:
        narrate(f"nothing is held about {visible(subject)}")
    output.one(data, _lines(data))


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    if not data["runs"]:
        return
    for run in data["cancelled"]:
        yield f"{run} was not over, and is cancelled"
    yield f"erased: {_counted(data['erased'])}, in {_runs(len(data['runs']))}"
    yield f"recorded as {data['request']}"
    yield f"reach: {data['reach']}"


def _would(store: AuditStore, subject: str) -> tuple[dict[str, Any], Iterator[str]]:
    runs = store.forgetting.runs_of(subject)
    kinds = store.forgetting.held_about([run.id for run in runs])
    open_runs = [run.id for run in runs if not run.over]
    data = {"runs": [run.id for run in runs], "cancelled": open_runs, "erased": kinds}

    def lines() -> Iterator[str]:
        if not kinds:
            yield f"nothing is held about {visible(subject)}"
            return
        yield from (f"{run} is not over, and would be cancelled" for run in open_runs)
        yield f"would erase: {_counted(kinds)}, in {_runs(len(runs))}"

    return data, lines()


def _counted(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


@click.group
def subject() -> None:
    """What is held about a person, or whatever else runs are about.

    \b
    Example:
      agentrt subject export customer-4711 > customer-4711.json
    """


@subject.command
@click.argument("subject")
@prints_one
@click.pass_obj
def export(folder: Path, subject: str, output: Output) -> None:
    """Print everything that is held about SUBJECT, as JSON, as it is shown to people.

    \b
    Example:
      agentrt subject export mona > mona.json
    """
    with Project.find(folder).open_store() as store:
        runs = store.forgetting.runs_of(subject)
        data = {"subject": subject, "runs": [_run_data(store, run.id) for run in runs]}
    if not runs:
        narrate(f"nothing is held about {visible(subject)}")
    output.one(data, iter([_json(data)]))


def _json(data: Any) -> str:
    import json

    return json.dumps(data, indent=2, ensure_ascii=True)


def _run_data(store: AuditStore, run: str) -> dict[str, Any]:
    return {
        "run": run,
        "records": [
            {
                "seq": record.seq,
                "at": record.at,
                "forgotten": sorted(record.forgotten),
                "event": record.event.data(),
            }
            for record in store.records(run)
        ],
    }
