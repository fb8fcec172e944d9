"""`agentrt audit export`: the records for other systems, once or as they come."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from agentrt.audit import AuditStore
from agentrt.audit.query.times import moment_of
from agentrt.cli.output import narrate
from agentrt.cli.project import Project
from agentrt.errors import QueryInvalid
from agentrt.exports import FORMATS, Cursor, FileSink, Reader, Sink, Source, StreamSink
from agentrt.exports.endpoint import EndpointSink, headers_of

__all__ = ["export"]

POLL_S = 0.2


@click.command
@click.option(
    "--format", "name", type=click.Choice(list(FORMATS)), default="jsonl", show_default=True,
    help="The form of the lines.",
)  # fmt: skip
@click.option("--since", metavar="CURSOR|TIME", help="Behind this line, or from this time on.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until it is stopped.")
@click.option("--content", is_flag=True, help="With content, for jsonl and cloudevents.")
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE, and go on behind its last line when there is one.",
)
@click.option("--endpoint", metavar="URL", help="Send spans to an OTLP endpoint (format otel).")
@click.pass_obj
def export(
    folder: Path,
    name: str,
    since: str | None,
    follow: bool,
    content: bool,
    file: Path | None,
    endpoint: str | None,
) -> None:
    """Export the records, oldest first, each with the cursor to go on from.

    Ids and hashes only, unless --content says otherwise. With -o a killed export goes on behind
    the last whole line of its file: no record is lost, and none is there twice.

    \b
    Example:
      agentrt audit export --format ocsf --follow -o audit.ocsf.jsonl
      agentrt audit export --format csv --since 30d > records.csv
    """
    _check(name, content=content, endpoint=endpoint)
    form = FORMATS[name]
    with ExitStack() as open_now:
        store = open_now.enter_context(Project.find(folder).open_store())
        start = _start(store, since)
        sink: Sink | None = None
        if file is not None:
            own = open_now.enter_context(FileSink(file, form))
            start = _behind(own.resume(store=store.id), start, since, file)
            sink = own
        if endpoint is not None:
            headers = headers_of(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""))
            sink = EndpointSink(endpoint, headers=headers, then=sink)
        sink = sink or StreamSink(sys.stdout.buffer, form, heading=_begins(since))
        _export(Reader(Source(store, content), start, form.lines), start, sink, follow=follow)


def _check(name: str, *, content: bool, endpoint: str | None) -> None:
    if content and name not in ("jsonl", "cloudevents"):
        raise click.UsageError(f"--content is for jsonl and cloudevents: {name} never has any.")
    if endpoint is not None and name != "otel":
        raise click.UsageError("--endpoint goes with --format otel.")


def _begins(since: str | None) -> bool:
    """Whether this is no continuation of another output, which has its heading already."""
    return since is None or not Cursor.looks_so(since)


def _behind(resumed: Cursor | None, start: Cursor, since: str | None, file: Path) -> Cursor:
    if resumed is not None and since is not None:
        raise QueryInvalid(f"{file} says itself how far it got: leave --since out.")
    return resumed or start


def _start(store: AuditStore, since: str | None) -> Cursor:
    if since is None:
        return Cursor(store.id, 0)
    if Cursor.looks_so(since):
        return Cursor.of(since, store=store.id)
    moment = moment_of(since, now=int(time.time() * 1000))
    if moment is None:
        raise QueryInvalid(f"'{since}' is neither a cursor nor a time such as 7d or 2026-11-23.")
    return Cursor(store.id, store.place_at(moment - 1))


def _export(reader: Reader, start: Cursor, sink: Sink, *, follow: bool) -> None:
    count, last = 0, start
    with _stopped_by_signals() as stopped:
        while not stopped.is_set():
            lines = reader.read()
            if lines:
                sink.write(lines)
                count, last = count + len(lines), lines[-1].cursor
            elif lines is None and not follow:
                break
            elif lines is None:
                stopped.wait(POLL_S)
    narrate(f"{count:,} lines; the next begin --since {last}")


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Set by SIGTERM or ^C, so that a batch is never left half written by a polite end."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stopped
    finally:
        for number, old in before.items():
            signal.signal(number, old)
