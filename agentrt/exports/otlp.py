"""OTLP: the trace of a run as a line of JSON, as collectors read it from files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentrt import __version__
from agentrt.exports.lines import Exported
from agentrt.exports.spans import Span, spans_of

__all__ = ["ENDINGS", "otlp_line", "resource_of", "spans_at"]

ENDINGS = frozenset({"run.finished", "run.failed", "run.cancelled"})
"""A trace is exported when its run is over; one that went on later is exported whole again."""


def spans_at(record: Exported) -> Sequence[Span]:
    """The spans of the run that is over with this record; none if none is."""
    if record.header["type"] not in ENDINGS:
        return ()
    records = record.source.store.records(record.header["run"])
    headers = [json.loads(each.header) for each in records if each.seq <= record.header["seq"]]
    return spans_of(record.cursor.store, headers, agent=record.run.get("agent", "unknown"))


def otlp_line(record: Exported) -> Iterator[str]:
    """One `TracesData` in the JSON of OTLP, with the cursor among the resource's attributes."""
    spans = spans_at(record)
    if not spans:
        return
    scope = {"name": "agentrt", "version": __version__}
    resource = {"attributes": _attributes(resource_of(record))}
    data = {
        "resourceSpans": [
            {
                "resource": resource,
                "scopeSpans": [{"scope": scope, "spans": [_span(span) for span in spans]}],
            }
        ]
    }
    yield json.dumps(data, separators=(",", ":"))


def resource_of(record: Exported) -> Mapping[str, Any]:
    """What the spans come from."""
    return {
        "service.name": "agentrt",
        "service.version": __version__,
        "service.instance.id": record.cursor.store,
        "agentrt.cursor": str(record.cursor),
    }


def _span(span: Span) -> Mapping[str, Any]:
    made: dict[str, Any] = {
        "traceId": span.trace,
        "spanId": span.id,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": _nano(span.began),
        "endTimeUnixNano": _nano(span.ended),
        "attributes": _attributes(span.attributes),
        "events": [
            {
                "timeUnixNano": _nano(moment.at),
                "name": moment.name,
                "attributes": _attributes(moment.attributes),
            }
            for moment in span.moments
        ],
        "status": {"code": 2, "message": span.failed} if span.failed else {},
    }
    return {**made, "parentSpanId": span.parent} if span.parent else made


def _nano(at: int) -> str:
    return str(at * 1_000_000)


def _attributes(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: Any) -> Mapping[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list() | tuple():
            return {"arrayValue": {"values": [_value(each) for each in value]}}
        case _:
            return {"stringValue": str(value)}
