"""The request as bytes: a frozen head, then the conversation, so that each extends the last.

Tools come first, then instructions, then messages, which is the order the API caches in.
Nothing before the messages changes within a run, and a message once sent is sent again byte
for byte: encoding the history anew at each turn is what a loop on `messages.create` mostly
pays for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

__all__ = ["Requests", "request_head"]


class Requests:
    """The requests of one run: each is made by adding to the last, and hashed no further back.

    So a turn costs what is new in it, and one copy of the whole to be sent.
    """

    def __init__(self, head: bytes, *, stream: bool) -> None:
        """`head` is from `request_head`."""
        flag = b'"stream":true,' if stream else b""
        self._text = bytearray(b'{%s%s"messages":[' % (flag, head))
        self._hash = hashlib.sha256(self._text)
        self._messages = 0

    def body(self, messages: Iterable[bytes]) -> tuple[bytes, str]:
        """The body that sends `messages`, each a JSON text, and its SHA-256 in hex.

        `messages` must begin with those of the last request: a history only grows.
        """
        for message in islice(messages, self._messages, None):
            self._add(message if self._messages == 0 else b"," + message)
            self._messages += 1
        digest = self._hash.copy()
        digest.update(b"]}")
        return bytes(self._text) + b"]}", digest.hexdigest()

    def _add(self, text: bytes) -> None:
        self._text += text
        self._hash.update(text)


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
