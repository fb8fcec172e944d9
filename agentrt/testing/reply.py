"""A reply on the wire: the message, the events it is streamed as, and how a fault breaks it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, assert_never

from agentrt.errors import StandInError
from agentrt.testing.models import Model
from agentrt.testing.prompt import CacheUse, Prompt, estimate, extend, seal
from agentrt.testing.request import ApiError
from agentrt.testing.script import (
    Block,
    Fault,
    Raw,
    RedactedThinking,
    Text,
    Thinking,
    ToolUse,
    Turn,
)

__all__ = ["Answer", "answer_json", "answer_stream", "raise_status", "refuse", "write_message"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer still to be played: bytes and pauses (in seconds), in order.

    After the last piece the body ends, or with `cut` the connection does.
    """

    status: int
    headers: Mapping[str, str]
    pieces: tuple[bytes | float, ...]
    delay_s: float = 0
    cut: bool = False


def write_message(
    turn: Turn,
    blocks: Sequence[Block],
    *,
    request: Mapping[str, Any],
    model: Model,
    prompt: Prompt,
    cache: CacheUse,
) -> dict[str, Any]:
    """Write the message a turn answers a request with."""
    if request["max_tokens"] == 0:
        turn, blocks = Turn(stop_reason="max_tokens"), ()
    blocks = [block for block in blocks if not _is_switched_off(block, request)]
    content = _content(blocks, prompt.digest, shown=_shows_thinking(request, model))
    stop_reason = turn.stop_reason or _stop_reason(content)
    return {
        "id": f"msg_sim_{prompt.digest.hex()[:24]}",
        "type": "message",
        "role": "assistant",
        "model": turn.model or request["model"],
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": turn.stop_sequence,
        "stop_details": turn.stop_details or _stop_details(stop_reason),
        "container": None,
        "usage": {**_usage(request, prompt, cache), **_output_usage(blocks), **turn.usage},
    }


def _is_switched_off(block: Block, request: Mapping[str, Any]) -> bool:
    off = request.get("thinking", {}).get("type") == "disabled"
    return off and isinstance(block, Thinking | RedactedThinking)


def _shows_thinking(request: Mapping[str, Any], model: Model) -> bool:
    display = request.get("thinking", {}).get("display")
    return model.shows_thinking if display is None else bool(display == "summarized")


def _content(blocks: Sequence[Block], digest: bytes, *, shown: bool) -> list[dict[str, Any]]:
    content = []
    first = digest
    for index, block in enumerate(blocks):
        wire = _to_wire(block, before=digest, call_id=_call_id(first, index), shown=shown)
        digest, _ = extend(digest, "assistant", wire)
        content.append(wire)
    return content


def _call_id(digest: bytes, index: int) -> str:
    """Derive an id that is the same for the same conversation, and new in a longer one."""
    return f"toolu_sim_{sha256(b'%s:%d' % (digest, index)).hexdigest()[:24]}"


def _to_wire(block: Block, *, before: bytes, call_id: str, shown: bool) -> dict[str, Any]:
    match block:
        case Text(text):
            return {"type": "text", "text": text, "citations": None}
        case Thinking(thinking):
            visible = thinking if shown else ""
            return {"type": "thinking", "thinking": visible, "signature": seal(visible, before)}
        case RedactedThinking(data):
            return {"type": "redacted_thinking", "data": data}
        case ToolUse(name, arguments, given_id):
            return {
                "type": "tool_use",
                "id": given_id or call_id,
                "name": name,
                "input": dict(arguments),
                "caller": {"type": "direct"},
            }
        case Raw(raw):
            return dict(raw)
        case _:
            assert_never(block)


def _stop_reason(content: Sequence[Mapping[str, Any]]) -> str:
    return "tool_use" if any(block["type"] == "tool_use" for block in content) else "end_turn"


def _stop_details(stop_reason: str) -> dict[str, Any] | None:
    if stop_reason != "refusal":
        return None
    return {"type": "refusal", "category": None, "explanation": None}


def _usage(request: Mapping[str, Any], prompt: Prompt, cache: CacheUse) -> dict[str, Any]:
    return {
        "input_tokens": prompt.tokens - cache.tokens,
        "cache_creation_input_tokens": cache.written_5m + cache.written_1h,
        "cache_read_input_tokens": cache.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": cache.written_5m,
            "ephemeral_1h_input_tokens": cache.written_1h,
        },
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
        "service_tier": "standard",
        "inference_geo": request.get("inference_geo") or "not_available",
        "speed": request.get("speed") or "standard",
    }


def _output_usage(blocks: Sequence[Block]) -> dict[str, Any]:
    """Count what was generated: thinking counts also where it is not shown."""
    thinking = sum(estimate(len(b.thinking.encode())) for b in blocks if isinstance(b, Thinking))
    rest = sum(_size(block) for block in blocks if not isinstance(block, Thinking))
    return {
        "output_tokens": thinking + rest,
        "output_tokens_details": {"thinking_tokens": thinking},
    }


def _size(block: Block) -> int:
    match block:
        case Text(text):
            return estimate(len(text.encode()))
        case _:
            return estimate(extend(b"", "", _to_wire(block, before=b"", call_id="", shown=True))[1])


def refuse(error: ApiError, request_id: str) -> Answer:
    """Answer with an error."""
    data = _dump(error.to_wire(request_id))
    return Answer(error.status, {**_json_headers(data), **error.headers}, (data,))


def answer_json(
    body: Mapping[str, Any], fault: Fault | None = None, *, delay_s: float = 0
) -> Answer:
    """Answer with JSON, all at once.

    A cut ends the connection inside the body, whichever kind it is: JSON that ends cleanly
    too early does not exist, since its length was announced. An error that would have come
    in a stream comes as a status.

    Raises:
        ApiError: The fault is an error of a stream.
    """
    data = _dump(body)
    pieces: tuple[bytes | float, ...] = (data,)
    if fault is not None:
        pieces = _broken_json(data, fault)
    cut = fault is not None and fault.cut is not None
    return Answer(200, _json_headers(data), pieces, delay_s, cut)


def _json_headers(data: bytes) -> dict[str, str]:
    return {"content-type": "application/json", "content-length": str(len(data))}


def _broken_json(data: bytes, fault: Fault) -> tuple[bytes | float, ...]:
    if fault.stream_error is not None:
        raise _error(fault, _STATUSES.get(fault.stream_error, 500), fault.stream_error)
    if fault.silent_s is not None:
        return (fault.silent_s, data)
    end = fault.at if isinstance(fault.at, int) else len(data) // 2
    return (data[: min(end, len(data) - 1)],)


_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def raise_status(fault: Fault) -> None:
    """Act on a fault that is an HTTP status; any other comes later.

    Raises:
        ApiError: It is one.
    """
    if fault.status is not None:
        raise _error(fault, fault.status, fault.error_type)


def _error(fault: Fault, status: int, error_type: str | None) -> ApiError:
    headers = dict(fault.headers)
    if fault.retry_after is not None:
        headers["retry-after"] = str(fault.retry_after)
    return ApiError(
        fault.message or "The script of the stand-in wants this error.",
        status=status,
        error_type=error_type,
        error_code=fault.error_code,
        headers=headers,
    )


Place = Literal["text", "tool_input"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream, and the place of a fault that strikes right after it."""

    data: bytes
    place: Place | None = None


def answer_stream(
    message: Mapping[str, Any],
    fault: Fault | None = None,
    *,
    request_id: str,
    delay_s: float = 0,
    pace_s: float = 0,
) -> Answer:
    """Answer with server-sent events; with a pace, a pause stands between them.

    Raises:
        StandInError: The fault is to strike where this reply has nothing.
    """
    frames = list(_frames(message))
    pieces: list[bytes | float] = [frame.data for frame in frames]
    if fault is not None:
        pieces = _broken_stream(frames, fault, request_id)
    return Answer(
        200,
        {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"},
        tuple(_paced(pieces, pace_s)),
        delay_s,
        cut=fault is not None and fault.cut == "connection",
    )


def _paced(pieces: Sequence[bytes | float], pace_s: float) -> Iterator[bytes | float]:
    """Put pauses between the pieces, or, without a pace, join what can be sent together."""
    joined: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes) and not pace_s:
            joined.append(piece)
            continue
        if joined:
            yield b"".join(joined)
            joined = []
        yield piece
        if pace_s:
            yield pace_s
    if joined:
        yield b"".join(joined)


def _broken_stream(frames: Sequence[Frame], fault: Fault, request_id: str) -> list[bytes | float]:
    count, rest = _strike(frames, fault)
    before = [frame.data for frame in frames[:count]]
    if fault.stream_error is not None:
        envelope = _error(fault, 200, fault.stream_error).to_wire(request_id)
        return [*before, _event("error", envelope)]
    head = [*before, frames[count].data[:rest]] if rest else before
    if fault.silent_s is None:
        return [*head]
    after = [frame.data for frame in frames[count:]]
    if rest:
        after[0] = after[0][rest:]
    return [*head, fault.silent_s, *after]


def _strike(frames: Sequence[Frame], fault: Fault) -> tuple[int, int]:
    """Find where a fault strikes: after so many frames, and bytes of the next one."""
    match fault.at:
        case None:
            return (0 if fault.silent_s is not None else len(frames) // 2), 0
        case int(size):
            return _frame_at(frames, size)
        case place:
            for index, frame in enumerate(frames):
                if frame.place == place:
                    return index + 1, 0
            raise StandInError(f"A fault strikes at {place}, and this reply has none.")


def _frame_at(frames: Sequence[Frame], size: int) -> tuple[int, int]:
    for index, frame in enumerate(frames):
        if size < len(frame.data):
            return index, size
        size -= len(frame.data)
    return len(frames), 0


def _frames(message: Mapping[str, Any]) -> Iterator[Frame]:
    """Stream a message, as section "Streaming messages" of the API's documentation has it."""
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    start |= {"stop_details": None, "usage": _usage_at_start(message["usage"])}
    yield _frame("message_start", message=start)
    yield _frame("ping")
    for index, block in enumerate(message["content"]):
        yield _frame("content_block_start", index=index, content_block=_opened(block))
        for delta, place in _deltas(block):
            yield _frame("content_block_delta", place, index=index, delta=delta)
        yield _frame("content_block_stop", index=index)
    yield _frame("message_delta", delta=_ending(message), usage=_usage_at_end(message["usage"]))
    yield _frame("message_stop")


def _frame(name: str, place: Place | None = None, **content: Any) -> Frame:
    return Frame(_event(name, {"type": name, **content}), place)


def _event(name: str, content: Mapping[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), _dump(content))


def _ending(message: Mapping[str, Any]) -> dict[str, Any]:
    return {key: message[key] for key in ("stop_reason", "stop_sequence", "stop_details")}


def _usage_at_start(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Give the input side; what message_delta does not repeat must be complete here."""
    nothing_yet = {"output_tokens": 1, "output_tokens_details": {"thinking_tokens": 0}}
    return {**usage, **nothing_yet}


def _usage_at_end(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: usage[key] for key in _CUMULATIVE if key in usage}


_CUMULATIVE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
)


def _opened(block: Mapping[str, Any]) -> dict[str, Any]:
    match block["type"]:
        case "text":
            return {**block, "text": ""}
        case "thinking":
            return {**block, "thinking": "", "signature": ""}
        case "tool_use":
            return {**block, "input": {}}
        case _:
            return dict(block)


def _deltas(block: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Place | None]]:
    match block["type"]:
        case "text":
            for index, piece in enumerate(_pieces(block["text"])):
                yield {"type": "text_delta", "text": piece}, None if index else "text"
        case "thinking":
            for piece in _pieces(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}, None
            yield {"type": "signature_delta", "signature": block["signature"]}, None
        case "tool_use":
            yield from _input_deltas(json.dumps(block["input"], separators=(",", ":")))


def _input_deltas(text: str) -> Iterator[tuple[dict[str, Any], Place | None]]:
    """Give the input of a call in pieces; the first is empty, as it often is.

    A fault at `tool_input` strikes before the last piece, which is kept so short that what
    came so far looks like a whole input to a lenient parser: `"amount":10` of 1000.
    """
    pieces = ["", *_pieces(text[:-3]), text[-3:]]
    for index, piece in enumerate(pieces):
        place: Place | None = "tool_input" if index == len(pieces) - 2 else None
        yield {"type": "input_json_delta", "partial_json": piece}, place


def _pieces(text: str) -> list[str]:
    """Split a text into eight pieces at the most."""
    size = max(1, -(-len(text) // 8))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
