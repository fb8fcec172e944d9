"""What came back: a whole reply, or a failure; nothing in between counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json, to_json

from agentrt.events import Attempt, Usage
from agentrt.models import Price

__all__ = ["Assembly", "Broken", "Failure", "Reply", "TextDelta", "ThinkingDelta", "usage_of"]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, as it arrives."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of a summary of what Claude thinks, as it arrives."""

    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply."""

    message_id: str
    request_id: str | None
    model: str
    stop_reason: str
    refusal: str | None
    usage: Usage
    price: Price | None
    blocks: bytes
    latency_ms: int
    first_token_ms: int | None
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """No complete reply came."""

    kind: str
    message: str
    """What happened and what to do; never holds a key."""
    again: bool
    """Asking again at once may help: the SDK itself does not retry this kind."""
    outage: bool
    """The cause is outside the run, which can be resumed when it is over."""
    latency_ms: int
    attempts: tuple[Attempt, ...]
    status: int | None = None
    request_id: str | None = None


class Broken(Exception):
    """The answer is not a complete, well-formed reply."""


@dataclass(slots=True)
class Assembly:
    """A reply put together from the events of a stream.

    The SDK's own assembly parses a cut tool input leniently, so that 1000 may become 10;
    here a block that does not end is no block, and a stream without `message_stop` no reply.
    """

    message: dict[str, Any] = field(default_factory=dict)
    blocks: list[dict[str, Any]] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    complete: bool = False

    def add(self, event: Mapping[str, Any]) -> TextDelta | ThinkingDelta | None:
        """Take in one event; what a person may be shown of it. Raises Broken."""
        match event["type"]:
            case "message_start":
                self.message = dict(event["message"])
            case "content_block_start":
                self.blocks.append(dict(event["content_block"]))
                self.inputs = []
            case "content_block_delta":
                return self._delta(event["delta"])
            case "content_block_stop":
                self._end_block()
            case "message_delta":
                self.message.update(event["delta"])
                self.message["usage"] = {**self.message["usage"], **_present(event["usage"])}
            case "message_stop":
                self.complete = True
        return None

    def finished(self) -> dict[str, Any]:
        """The message as the API would have sent it in one piece. Raises Broken."""
        if not self.complete or self.message.get("stop_reason") is None:
            raise Broken("The stream ended before the reply did.")
        return {**self.message, "content": self.blocks}

    def _delta(self, delta: Mapping[str, Any]) -> TextDelta | ThinkingDelta | None:
        block = self.blocks[-1]
        match delta["type"]:
            case "text_delta":
                block["text"] += delta["text"]
                return TextDelta(delta["text"])
            case "thinking_delta":
                block["thinking"] += delta["thinking"]
                return ThinkingDelta(delta["thinking"])
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "input_json_delta":
                self.inputs.append(delta["partial_json"])
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            case unknown:
                raise Broken(f"The stream holds a {unknown}, which this agentrt cannot keep.")
        return None

    def _end_block(self) -> None:
        if text := "".join(self.inputs):
            try:
                self.blocks[-1]["input"] = from_json(text)
            except ValueError:
                raise Broken("The arguments of a call are not JSON.") from None
        self.inputs = []


def _present(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Counts that the last event leaves out keep the value of the first."""
    return {name: value for name, value in usage.items() if value is not None}


def usage_of(message: Mapping[str, Any]) -> Usage:
    """The tokens of a message as the API counts them."""
    usage = message["usage"]
    written = usage.get("cache_creation") or {}
    total_written = usage.get("cache_creation_input_tokens") or 0
    one_hour = written.get("ephemeral_1h_input_tokens") or 0
    details = usage.get("output_tokens_details") or {}
    searches = usage.get("server_tool_use") or {}
    return Usage(
        input_tokens=usage.get("input_tokens") or 0,
        cache_write_5m_tokens=total_written - one_hour,
        cache_write_1h_tokens=one_hour,
        cache_read_tokens=usage.get("cache_read_input_tokens") or 0,
        output_tokens=usage.get("output_tokens") or 0,
        thinking_tokens=details.get("thinking_tokens") or 0,
        web_searches=searches.get("web_search_requests") or 0,
        service_tier=usage.get("service_tier"),
        speed=usage.get("speed"),
    )


WITHIN = b"[" * 8
"""How deep it stands in other texts when it is read again: a message, a request, a report."""


def blocks_of(message: Mapping[str, Any]) -> bytes:
    """The content blocks as JSON text, to be recorded and sent back as they came.

    Raises ValueError for what nests so deep that nobody could read the record of it.
    """
    blocks = to_json(message["content"])
    from_json(WITHIN + blocks + b"]" * len(WITHIN))
    return blocks
