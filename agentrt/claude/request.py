"""The request as bytes: a frozen head, then the conversation, so that each extends the last.

Tools come first, then instructions, then messages, which is the order the API caches in.
Nothing before the messages changes within a run, and a message once sent is sent again byte
for byte: encoding the history anew at each turn is what a loop on `messages.create` mostly
pays for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["request_body", "request_head"]


def request_body(head: bytes, messages: Iterable[bytes], *, stream: bool) -> bytes:
    """The body of one request: `head` from `request_head`, and each message as JSON text."""
    flag = b'"stream":true,' if stream else b""
    return b'{%s%s"messages":[%s]}' % (flag, head, b",".join(messages))


def request_head(definition: Mapping[str, Any]) -> bytes:
    """What every request of a run begins with, from the recorded definition of its agent."""
    head: dict[str, Any] = {
        "model": definition["model"],
        "max_tokens": definition["tokens_max"],
        # Top level: the API moves this mark to the last cacheable block of each request.
        "cache_control": {"type": "ephemeral"},
    }
    mark = {"cache_control": {"type": "ephemeral", "ttl": definition["cache"]}}
    if tools := [_tool(tool) for tool in definition["tools"]]:
        head["tools"] = [*tools[:-1], tools[-1] | mark]
    if definition["instructions"]:
        head["system"] = [{"type": "text", "text": definition["instructions"]} | mark]
    if definition["thinking"] is not None:
        head["thinking"] = definition["thinking"]
    if definition["effort"] is not None:
        head["output_config"] = {"effort": definition["effort"]}
    return json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()[1:-1] + b","


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tool[name] for name in ("name", "description", "input_schema")}
