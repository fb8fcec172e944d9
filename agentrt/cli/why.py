"""`agentrt why`: the story of a call, a run or a record, to read here or to hand on as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from agentrt.audit import STORE_CHAIN, AuditStore
from agentrt.cli.ids import call_row, is_call, run_id
from agentrt.cli.output import Output, narrate, prints_one, shown_path
from agentrt.cli.project import Project
from agentrt.run import Trace, Why, explain, trace
from agentrt.visible import visible

__all__ = ["why"]


@click.command
@click.argument("what", metavar="CALL|RUN|RUN:SEQ")
@click.option(
    "--html",
    "page_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write one HTML page instead, to hand to an auditor.",
)
@prints_one
@click.pass_obj
def why(folder: Path, what: str, page_file: Path | None, output: Output) -> None:
    """Why a call happened, and what followed: the chain of facts from prompt to result.

    For a run, the story of each of its calls. For one record, RUN:SEQ, all that led to it and all
    that came of it; store:SEQ is a record of the store's own chain.

    \b
    Example:
      agentrt why @last
      agentrt why c_7e31 --html why.html
      agentrt why r_81b9:12
    """
    with Project.find(folder).open_store() as store:
        stories = _stories(store, what)
        about = _about(store, what)
    if page_file is None:
        output.one(_data(what, stories), _lines(stories))
        return
    _write(page_file, what, stories, about)


def _stories(store: AuditStore, text: str) -> Sequence[Why | Trace]:
    if (place := _place(text)) is not None:
        run, seq = place
        chain = STORE_CHAIN if run == STORE_CHAIN else run_id(store, run)
        return [trace(store.records(chain), seq)]
    if is_call(text):
        row = call_row(store, text)
        return [explain(store.records(row.run), row.id)]
    run = run_id(store, text)
    records = store.records(run)
    calls = store.load(run).all_calls
    # A run without a call is told from its first record on.
    return [explain(records, call.id) for call in calls] or [trace(records, 1)]


def _place(text: str) -> tuple[str, int] | None:
    """The run and the place that `RUN:SEQ` names."""
    run, colon, seq = text.rpartition(":")
    if not colon:
        return None
    if not seq.isdecimal() or not run:
        raise click.UsageError("A record is named by its run and its place there, as in r_81b9:12.")
    return run, int(seq)


def _data(text: str, stories: Sequence[Why | Trace]) -> dict[str, Any]:
    first = stories[0]
    if isinstance(first, Trace) or is_call(text):
        return first.data()
    return {"run": first.run.id, "calls": [story.data() for story in stories]}


def _lines(stories: Sequence[Why | Trace]) -> Iterator[str]:
    for index, story in enumerate(stories):
        if index:
            yield ""
        for line in story.lines():
            yield visible(line, lines=True)


def _about(store: AuditStore, what: str) -> dict[str, str]:
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return {"asked": f"agentrt why {what}", "store": store.id, "made": made}


def _write(file: Path, what: str, stories: Sequence[Why | Trace], about: dict[str, str]) -> None:
    from agentrt.run.page import page

    text = page(f"Why {what}", stories, about)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{file} cannot be written: {error.strerror}") from error
    narrate(f"{shown_path(file)}: {len(text.encode()):,} bytes, complete in itself")
