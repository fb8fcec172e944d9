"""The formats: what a record is written as."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentrt.exports.lines import Exported
from agentrt.exports.ocsf import ocsf_event
from agentrt.exports.otlp import otlp_line
from agentrt.run.state import moment

__all__ = ["CSV_COLUMNS", "FORMATS", "Format", "cursor_in"]

CSV_COLUMNS = (
    "cursor",
    "time",
    "run",
    "seq",
    "type",
    "call",
    "tool",
    "verdict",
    "outcome",
    "effect",
    "user_ref",
    "reviewer_ref",
    "cause",
    "hash",
)


@dataclass(frozen=True, slots=True)
class Format:
    """How lines are made of records, and where in a line its cursor is."""

    name: str
    lines: Callable[[Exported], Iterator[str]]
    cursor: Callable[[str], str]
    heading: str = ""


def json_line(record: Exported) -> Iterator[str]:
    """The header as it is hashed, the hash, and content where that was asked for."""
    yield _json(
        {
            "cursor": str(record.cursor),
            "hash": record.hash,
            "header": record.header,
            **_with_content(record),
        }
    )


def cloud_event(record: Exported) -> Iterator[str]:
    """A CloudEvent 1.0 in structured mode; `cursor` is an extension attribute."""
    header = record.header
    yield _json(
        {
            "specversion": "1.0",
            "id": record.id,
            "source": f"/agentrt/{record.cursor.store}",
            "type": f"agentrt.{header['type']}",
            "subject": header.get("call") or header["run"],
            "time": iso(header["at"]),
            "datacontenttype": "application/json",
            "cursor": str(record.cursor),
            "data": {"hash": record.hash, "header": header, **_with_content(record)},
        }
    )


def csv_row(record: Exported) -> Iterator[str]:
    """The fields that most questions need; ids and hashes only, so that nothing is a formula."""
    header = record.header
    fields: Mapping[str, Any] = {
        **header,
        "cursor": str(record.cursor),
        "time": iso(header["at"]),
        "hash": record.hash,
        "tool": record.decided.get("tool"),
        "effect": record.decided.get("effect"),
    }
    line = io.StringIO()
    values = [_cell(fields.get(name)) for name in CSV_COLUMNS]
    csv.writer(line, lineterminator="").writerow(values)
    yield line.getvalue()


def ocsf_line(record: Exported) -> Iterator[str]:
    """An OCSF event."""
    yield _json(ocsf_event(record))


def _with_content(record: Exported) -> Mapping[str, Any]:
    content = record.content()
    return {} if content is None else {"content": content}


def _cell(value: Any) -> Any:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _json(data: Mapping[str, Any]) -> str:
    """One line in ASCII, so that a terminal obeys nothing in it."""
    return json.dumps(data, separators=(",", ":"))


def iso(at: int) -> str:
    """RFC 3339 with milliseconds, in UTC."""
    return moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _from_json(*path: str) -> Callable[[str], str]:
    def read(line: str) -> str:
        found: Any = json.loads(line)
        for name in path:
            found = found[name]
        return str(found)

    return read


def _from_csv(line: str) -> str:
    return next(csv.reader([line]))[0]


def _from_otlp(line: str) -> str:
    attributes = json.loads(line)["resourceSpans"][0]["resource"]["attributes"]
    return next(
        str(each["value"]["stringValue"]) for each in attributes if each["key"] == "agentrt.cursor"
    )


_ALL = (
    Format("jsonl", json_line, _from_json("cursor")),
    Format("cloudevents", cloud_event, _from_json("cursor")),
    Format("csv", csv_row, _from_csv, heading=",".join(CSV_COLUMNS)),
    Format("ocsf", ocsf_line, _from_json("unmapped", "cursor")),
    Format("otel", otlp_line, _from_otlp),
)

FORMATS: Mapping[str, Format] = {each.name: each for each in _ALL}


def cursor_in(format: Format, line: str) -> str:
    """The cursor of a line that was written before. Raises ValueError when it is none."""
    try:
        return format.cursor(line)
    except (KeyError, IndexError, TypeError, StopIteration) as error:
        raise ValueError(f"not a line of {format.name}") from error
