"""Spans: a run that is over as a trace, by the semantic conventions of OpenTelemetry for GenAI.

A span for the run, one for each request to Claude, one for each tool call with its decision and
its approvals as attributes. No names and no content: what was said stays in the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CLIENT", "INTERNAL", "Moment", "Span", "spans_of"]

INTERNAL, CLIENT = 1, 3

PROVIDER = "anthropic"


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened within a span."""

    name: str
    at: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of work: ids in hex, times in milliseconds since the epoch."""

    trace: str
    id: str
    parent: str | None
    name: str
    kind: int
    began: int
    ended: int
    attributes: Mapping[str, Any]
    moments: tuple[Moment, ...] = ()
    failed: str | None = None
    """What kind of failure it was; None: it was none."""


def spans_of(store: str, headers: Sequence[Mapping[str, Any]], *, agent: str) -> Sequence[Span]:
    """The spans of one run from the headers of its records, the run's own first."""
    ids = _Ids(store, headers[0]["run"])
    return [_run_span(ids, headers, agent), *_requests(ids, headers), *_calls(ids, headers)]


@dataclass(frozen=True, slots=True)
class _Ids:
    """Ids that are the same whenever the run is exported."""

    store: str
    run: str

    @property
    def trace(self) -> str:
        return self._hash("trace")[:32]

    @property
    def root(self) -> str:
        return self.span("run")

    def span(self, name: str) -> str:
        return self._hash(name)[:16]

    def _hash(self, name: str) -> str:
        return hashlib.sha256(f"{self.store}\0{self.run}\0{name}".encode()).hexdigest()


def _run_span(ids: _Ids, headers: Sequence[Mapping[str, Any]], agent: str) -> Span:
    first, last = headers[0], headers[-1]
    failed = last.get("code") if last["type"] == "run.failed" else None
    return Span(
        ids.trace,
        ids.root,
        None,
        f"invoke_agent {agent}",
        INTERNAL,
        first["at"],
        last["at"],
        _given(
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.agent.name": agent,
                "gen_ai.conversation.id": ids.run,
                "gen_ai.request.model": first.get("model"),
                "deployment.environment.name": first.get("environment"),
                "enduser.pseudo.id": first.get("user_ref"),
                "agentrt.run.ended": last["type"],
                "agentrt.run.parent": first.get("parent"),
                "agentrt.policy.bundle": first.get("bundle"),
                "agentrt.simulated": first.get("simulated"),
                "error.type": failed,
            }
        ),
        failed=failed,
    )


def _requests(ids: _Ids, headers: Sequence[Mapping[str, Any]]) -> Iterator[Span]:
    asked: Mapping[str, Any] | None = None
    for header in headers:
        if header["type"] == "claude.asked":
            asked = header
        elif header["type"] in ("claude.replied", "claude.failed") and asked is not None:
            yield _request(ids, asked, header)
            asked = None


def _request(ids: _Ids, asked: Mapping[str, Any], ended: Mapping[str, Any]) -> Span:
    usage = ended.get("usage") or {}
    cached = usage.get("cache_read_tokens", 0)
    written = usage.get("cache_write_5m_tokens", 0) + usage.get("cache_write_1h_tokens", 0)
    failed = ended.get("kind") if ended["type"] == "claude.failed" else None
    stop = ended.get("stop_reason")
    return Span(
        ids.trace,
        ids.span(f"request {asked['seq']}"),
        ids.root,
        f"chat {asked['model']}",
        CLIENT,
        asked["at"],
        ended["at"],
        _given(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.conversation.id": ids.run,
                "gen_ai.request.model": asked["model"],
                "gen_ai.request.max_tokens": asked["tokens_max"],
                "gen_ai.response.model": ended.get("model"),
                "gen_ai.response.id": ended.get("message_id"),
                "gen_ai.response.finish_reasons": [stop] if stop else None,
                "gen_ai.usage.input_tokens": usage.get("input_tokens", 0) + cached + written,
                "gen_ai.usage.output_tokens": usage.get("output_tokens", 0),
                "gen_ai.usage.cache_read.input_tokens": cached,
                "gen_ai.usage.cache_creation.input_tokens": written,
                "server.address": "api.anthropic.com",
                "agentrt.cost_usd": ended.get("cost_usd"),
                "agentrt.request_id": ended.get("request_id"),
                "agentrt.turn": asked["turn"],
                "error.type": failed,
            }
        ),
        failed=failed,
    )


def _calls(ids: _Ids, headers: Sequence[Mapping[str, Any]]) -> Iterator[Span]:
    by_call: dict[str, list[Mapping[str, Any]]] = {}
    for header in headers:
        if "call" in header:
            by_call.setdefault(header["call"], []).append(header)
    for call, own in by_call.items():
        yield _call(ids, call, own)


def _call(ids: _Ids, call: str, own: Sequence[Mapping[str, Any]]) -> Span:
    decided = [each for each in own if each["type"] == "call.decided"]
    last = decided[-1] if decided else {}
    approved = [each for each in own if each["type"] == "call.approved"]
    rejected = [each for each in own if each["type"] == "call.rejected"]
    outcome = _outcome(own)
    failed = outcome if outcome in ("error", "doubted") else None
    return Span(
        ids.trace,
        ids.span(f"call {call}"),
        ids.root,
        f"execute_tool {last.get('tool', 'unknown')}",
        INTERNAL,
        own[0]["at"],
        own[-1]["at"],
        _given(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": last.get("tool"),
                "gen_ai.tool.call.id": call,
                "gen_ai.tool.type": "function",
                "agentrt.decision": last.get("verdict"),
                "agentrt.decision.basis": last.get("basis"),
                "agentrt.decision.rules": [rule["id"] for rule in last.get("rules", ())],
                "agentrt.policy.bundle": last.get("bundle"),
                "agentrt.effect": last.get("effect"),
                "agentrt.labels": list(last.get("labels", ())),
                "agentrt.arguments_digest": last.get("arguments_digest"),
                "agentrt.revision": last.get("revision"),
                "agentrt.approved_by": [each["reviewer_ref"] for each in approved],
                "agentrt.rejected_by": [each["reviewer_ref"] for each in rejected],
                "agentrt.outcome": outcome,
                "error.type": failed,
            }
        ),
        moments=tuple(_moment(each) for each in own),
        failed=failed,
    )


def _outcome(own: Sequence[Mapping[str, Any]]) -> str:
    last = own[-1]
    if last["type"] == "call.finished":
        return str(last["outcome"])
    return str(last["type"]).removeprefix("call.")


def _moment(header: Mapping[str, Any]) -> Moment:
    named = ("verdict", "revision", "attempt", "reviewer_ref", "outcome")
    attributes = {f"agentrt.{name}": header[name] for name in named if name in header}
    return Moment(header["type"], header["at"], {**attributes, "agentrt.seq": header["seq"]})


def _given(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in attributes.items() if value not in (None, [])}
