"""Exports: nothing lost, nothing twice, nothing private, and in the forms that others read."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from everything import everything
from jsonschema import Draft202012Validator
from worlds import asked, began, decided, finished, replied, started, use

from agentrt.audit import AuditStore
from agentrt.audit.records import canonical, record_hash
from agentrt.cli import main
from agentrt.errors import ExportRefused, QueryInvalid
from agentrt.events import RunFailed, RunFinished, User, event_types
from agentrt.exports import FORMATS, Cursor, FileSink, Reader, Source
from agentrt.exports.endpoint import EndpointSink, headers_of
from agentrt.exports.lines import Exported, Line
from agentrt.exports.ocsf import OCSF_VERSION, ocsf_event
from agentrt.run import Run
from examples.support_desk.__main__ import main as demo

SECRET = "Mona Vale <script>=cmd|x"


async def a_run(store: AuditStore, number: int = 1) -> Run:
    run = await store.append(
        Run(f"r_{number:016x}"),
        [
            started(SECRET, user=User(name=SECRET), user_ref=store.ref(SECRET)),
            asked(),
            replied(use("pay", payee=SECRET, cents=5)),
        ],
    )
    run = await store.append(run, [decided(run.calls[0], labels=("moves_money",))])
    run = await store.append(run, [began(run.calls[0])])
    run = await store.append(run, [finished(run.calls[0], SECRET)])
    return await store.append(run, [RunFinished(stop_reason="end_turn", output=SECRET)])


def lines(store: AuditStore, name: str, *, after: int = 0, content: bool = False) -> list[Line]:
    reader = Reader(Source(store, content), Cursor(store.id, after), FORMATS[name].lines)
    found: list[Line] = []
    while (batch := reader.read()) is not None:
        found += batch
    return found


@pytest.mark.parametrize("name", FORMATS)
async def test_each_record_is_a_line_and_its_cursor_goes_on_behind_it(
    store: AuditStore, name: str
) -> None:
    await a_run(store)
    await a_run(store, 2)
    whole = lines(store, name)
    assert len(whole) == (2 if name == "otel" else 14)
    for index, line in enumerate(whole):
        assert FORMATS[name].cursor(line.text) == str(line.cursor)
        assert lines(store, name, after=line.cursor.pos) == whole[index + 1 :]


@pytest.mark.parametrize("name", FORMATS)
async def test_no_name_and_no_content_leaves_unless_it_is_asked_for(
    store: AuditStore, name: str
) -> None:
    await a_run(store)
    text = "\n".join(line.text for line in lines(store, name))
    assert "Mona" not in text
    assert store.ref(SECRET) in text


@pytest.mark.parametrize("name", ["jsonl", "cloudevents"])
async def test_content_leaves_when_it_is_asked_for(store: AuditStore, name: str) -> None:
    await a_run(store)
    found = [json.loads(line.text) for line in lines(store, name, content=True)]
    first = found[0].get("data", found[0])
    assert first["content"]["prompt"] == SECRET


async def test_a_cloud_event_has_the_attributes_that_the_standard_asks_for(
    store: AuditStore,
) -> None:
    await a_run(store)
    for line in lines(store, "cloudevents"):
        event = json.loads(line.text)
        assert {"specversion", "id", "source", "type"} <= event.keys()
        assert event["specversion"] == "1.0"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
        # Names of attributes are lower-case letters and digits.
        assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in event)
    ids = [json.loads(line.text)["id"] for line in lines(store, "cloudevents")]
    assert len(set(ids)) == len(ids)


async def test_the_hash_of_a_line_is_that_of_its_header(store: AuditStore) -> None:
    await a_run(store)
    for line in lines(store, "jsonl"):
        found = json.loads(line.text)
        assert record_hash(canonical(found["header"])).hex() == found["hash"]


async def test_csv_reads_back_and_begins_no_formula(store: AuditStore) -> None:
    await a_run(store)
    form = FORMATS["csv"]
    text = "\n".join([form.heading, *(line.text for line in lines(store, "csv"))])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["type"] for row in rows][-1] == "run.finished"
    assert rows[4]["tool"] == "pay"
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


# --- OCSF --------------------------------------------------------------------------------


def schemas() -> dict[int, Draft202012Validator]:
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    known = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=OCSF_VERSION))
    profiles = ["security_control", "ai_operation"]
    return {
        uid: Draft202012Validator(
            known.get_class_schema(
                class_name=known.lookup_class_name_from_uid(class_uid=uid), profiles=profiles
            )
        )
        for uid in (0, 6002, 6003)
    }


async def test_every_kind_of_event_is_valid_ocsf(store: AuditStore) -> None:
    """One record of each event type, made into an OCSF event and held to the packaged schema."""
    pytest.importorskip("ocsf_json_schema")
    validators = schemas()
    seen, kinds = set(), set()
    records = [record for chain in everything() for record in chain.records]
    headers = [json.loads(record.header) for record in records]
    decided_header = next(header for header in headers if header["type"] == "call.decided")
    for place, header in enumerate(headers, 1):
        record = Exported(
            Source(store),
            Cursor(store.id, place),
            header,
            "0" * 64,
            {"agent": "desk", "model": "claude-sonnet-5-5"},
            decided_header if "call" in header else {},
        )
        made = json.loads(json.dumps(ocsf_event(record)))
        problems = [error.message for error in validators[made["class_uid"]].iter_errors(made)]
        assert problems == [], header["type"]
        assert made["type_uid"] == made["class_uid"] * 100 + made["activity_id"]
        seen.add(made["class_uid"])
        kinds.add(header["type"])
    assert kinds == event_types().keys()
    assert seen == {0, 6002, 6003}


async def test_a_denied_call_is_a_denied_action(store: AuditStore) -> None:
    run = await store.append(
        Run("r_0000000000000001"), [started(), asked(), replied(use("pay", payee="b", cents=1))]
    )
    await store.append(run, [decided(run.calls[0], "deny")])
    last = json.loads(lines(store, "ocsf")[-1].text)
    assert (last["action"], last["api"]["operation"]) == ("Denied", "pay")


# --- OpenTelemetry -----------------------------------------------------------------------


async def test_a_run_is_a_trace_with_spans_for_requests_and_calls(store: AuditStore) -> None:
    run = await a_run(store)
    [line] = lines(store, "otel")
    [scope] = json.loads(line.text)["resourceSpans"][0]["scopeSpans"]
    root, request, call = scope["spans"]
    assert [span["name"] for span in scope["spans"]] == [
        "invoke_agent desk",
        "chat claude-sonnet-5-5",
        "execute_tool pay",
    ]
    assert {span["traceId"] for span in scope["spans"]} == {root["traceId"]}
    assert re.fullmatch("[0-9a-f]{32}", root["traceId"])
    assert request["parentSpanId"] == call["parentSpanId"] == root["spanId"]
    attributes = {each["key"]: each["value"] for each in call["attributes"]}
    assert attributes["gen_ai.operation.name"] == {"stringValue": "execute_tool"}
    assert attributes["gen_ai.tool.call.id"] == {"stringValue": run.all_calls[0].id}
    assert attributes["agentrt.decision"] == {"stringValue": "allow"}
    assert attributes["agentrt.outcome"] == {"stringValue": "ok"}
    tokens = {each["key"]: each["value"] for each in request["attributes"]}
    assert tokens["gen_ai.usage.output_tokens"] == {"intValue": "5"}
    for span in scope["spans"]:
        assert int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"])


async def test_the_same_run_has_the_same_ids_whenever_it_is_exported(store: AuditStore) -> None:
    await a_run(store)
    assert lines(store, "otel") == lines(store, "otel")


async def test_a_failed_run_is_a_failed_span(store: AuditStore) -> None:
    run = await store.append(Run("r_0000000000000001"), [started(), asked()])
    await store.append(run, [RunFailed(code="outage", message="busy")])
    [line] = lines(store, "otel")
    root = json.loads(line.text)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert root["status"] == {"code": 2, "message": "outage"}


@contextmanager
def a_collector(*answers: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that takes traces, and answers with these codes first."""
    waiting = list(answers)
    taken: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = waiting.pop(0) if waiting else 200
            if code == 200:
                taken.append({"path": self.path, "key": self.headers.get("x-key"), "body": body})
            self.send_response(code)
            if code == 307:
                self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_traces_are_sent_and_sent_again_while_the_endpoint_is_busy(
    store: AuditStore,
) -> None:
    await a_run(store)
    waits: list[float] = []
    with a_collector(503, 429) as (url, taken):
        sink = EndpointSink(url, headers=headers_of("x-key=a%20b,y=z"), sleep=waits.append)
        sink.write(lines(store, "otel"))
    [sent] = taken
    assert (sent["path"], sent["key"]) == ("/v1/traces", "a b")
    assert json.loads(sent["body"])["resourceSpans"]
    assert len(waits) == 2


@pytest.mark.parametrize("code", [400, 401, 307])
async def test_what_an_endpoint_refuses_is_said_and_not_repeated(
    store: AuditStore, code: int
) -> None:
    await a_run(store)
    with a_collector(code) as (url, taken), pytest.raises(ExportRefused, match=f"HTTP {code}"):
        EndpointSink(url).write(lines(store, "otel"))
    assert taken == []


# --- files that go on --------------------------------------------------------------------


async def test_a_line_cut_in_the_middle_is_written_again_whole(
    store: AuditStore, tmp_path: Path
) -> None:
    await a_run(store)
    file = tmp_path / "out"
    for name in FORMATS:
        file.unlink(missing_ok=True)
        whole = lines(store, name)
        with FileSink(file, FORMATS[name]) as sink:
            assert sink.resume(store=store.id) is None
            sink.write(whole)
        complete = file.read_bytes()
        for size in range(0, len(complete), max(1, len(complete) // 40)):
            file.write_bytes(complete[:size])
            with FileSink(file, FORMATS[name]) as sink:
                begun = sink.resume(store=store.id)
                sink.write(lines(store, name, after=begun.pos if begun else 0))
            assert file.read_bytes() == complete, (name, size)


async def test_a_file_that_is_no_export_of_this_store_is_left_alone(
    store: AuditStore, tmp_path: Path
) -> None:
    await a_run(store)
    file = tmp_path / "notes.txt"
    texts = ["my notes\nhalf", '{"cursor":"s_00.5"}\n{"half', f'{{"cursor":"{store.id}.x"}}\n']
    for text in texts:
        file.write_text(text)
        with FileSink(file, FORMATS["jsonl"]) as sink, pytest.raises(QueryInvalid):
            sink.resume(store=store.id)
        assert file.read_text() == text


def test_two_exports_do_not_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "out"
    with (
        FileSink(file, FORMATS["jsonl"]),
        pytest.raises(QueryInvalid, match="Another export"),
        FileSink(file, FORMATS["jsonl"]),
    ):
        pass


async def test_an_export_that_is_killed_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Killed five times with kill -9 while records come in; then every record is there once."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "agentrt.toml").write_text("[project]\n")
    file = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "agentrt", "-C", str(folder), "audit", "export"]
    command += ["--follow", "-o", str(file)]
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    with AuditStore(folder / "agentrt.db") as store:
        number = 0
        for _ in range(5):
            size = file.stat().st_size if file.exists() else 0
            process = begun(command, env)
            try:
                until = time.monotonic() + 60
                while not (file.exists() and file.stat().st_size > size):
                    assert time.monotonic() < until, "nothing was exported in a minute"
                    await a_run(store, number)
                    number += 1
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
        result = CliRunner().invoke(
            main, ["-C", str(folder), "audit", "export", "-o", str(file)], env=env
        )
        assert result.exit_code == 0, result.output
        expected = [line.text for line in lines(store, "jsonl")]
    assert file.read_text().splitlines() == expected
    assert len(expected) == number * 7


def begun(command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=env)


# --- the command -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "desk"
    assert demo(["--no-tui", "--keep", str(folder)]) == 0
    return folder


def export(desk: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["-C", str(desk), "audit", "export", *words])


def test_the_command_goes_on_from_a_cursor_or_a_time(desk: Path) -> None:
    whole = export(desk).stdout.splitlines()
    cursor = json.loads(whole[9])["cursor"]
    assert export(desk, "--since", cursor).stdout.splitlines() == whole[10:]
    assert export(desk, "--since", "1h").stdout.splitlines() == whole
    assert export(desk, "--since", "2099-01-01").stdout == ""
    assert f"--since {json.loads(whole[-1])['cursor']}" in export(desk).stderr


def test_the_heading_of_csv_is_there_once(desk: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    for _ in range(2):
        assert export(desk, "--format", "csv", "-o", str(file)).exit_code == 0
    assert file.read_text().count("cursor,") == 1
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "s_00.1"], "of the store s_00"),
        (["--since", "soon"], "neither a cursor nor a time"),
        (["--format", "ocsf", "--content"], "never has any"),
        (["--endpoint", "http://127.0.0.1:1"], "--format otel"),
        (["--format", "otel", "--endpoint", "ftp://x"], "is no endpoint"),
        (["-o", "/nowhere/at/all"], "cannot be written"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(desk: Path, words: list[str], said: str) -> None:
    result = export(desk, *words)
    assert result.exit_code != 0
    assert said in result.stderr


def test_since_and_a_file_that_goes_on_do_not_go_together(desk: Path, tmp_path: Path) -> None:
    file = tmp_path / "out"
    export(desk, "-o", str(file))
    assert "leave --since out" in export(desk, "-o", str(file), "--since", "1h").stderr


def test_the_example_is_valid_ocsf_from_its_first_record_to_its_last(desk: Path) -> None:
    pytest.importorskip("ocsf_json_schema")
    validators = schemas()
    for line in export(desk, "--format", "ocsf").stdout.splitlines():
        made = json.loads(line)
        problems = [error.message for error in validators[made["class_uid"]].iter_errors(made)]
        assert problems == [], made["metadata"]["event_code"]
