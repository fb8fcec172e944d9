"""A follow-up: a run that goes on with the conversation of another, its parent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

from agentrt.errors import RunError
from agentrt.events import RunStarted
from agentrt.run.state import Definition, Run

__all__ = ["begin_after", "messages_of"]

SOUND_FAILURES = frozenset({"turn_limit", "max_tokens"})
"""Failures of a run, not of its conversation: that can go on."""

# Numbers are passed over, not read: Python refuses to read very long ones.
_value_at = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode


def begin_after(parent: Run, started: RunStarted) -> RunStarted:
    """`started` as the first fact of a run that follows `parent`.

    Raises RunError, which says what to do, when `parent` cannot be followed, or not so.
    """
    if (problem := next(_problems(parent, started), None)) is not None:
        raise RunError(f"{parent.id} cannot be followed: {problem}")
    history = b"[%s]" % b",".join(parent.messages)
    return started.model_copy(
        update={"parent": parent.id, "parent_head": parent.head.hex(), "history": history}
    )


def messages_of(history: bytes) -> list[bytes]:
    """The messages of a history, each byte for byte as it was sent. Raises ValueError."""
    text, messages, begin = history.decode(), [], 1
    while begin < len(text) - 1:
        _, end = _value_at(text, begin)
        messages.append(text[begin:end].encode())
        begin = end + 1
    return messages


def _problems(parent: Run, started: RunStarted) -> Iterator[str]:
    yield from _of_kind(parent, started)
    yield from _of_end(parent)
    yield from _of_conversation(parent, Definition(from_json(started.definition)))


def _of_kind(parent: Run, started: RunStarted) -> Iterator[str]:
    """Why this is no run to follow it; another user is told first, and no name."""
    if started.user_ref != parent.user_ref:
        # What its user said would pass for the words of somebody else.
        whom = "another user" if parent.user_ref else "nobody named"
        yield f"it worked for {whom}. Go on for the same user, or start a new run."
    if started.simulated != parent.simulated:
        kind = "simulated" if parent.simulated else "real"
        yield f"it is a {kind} run. Go on with the same kind of Claude."
    if started.agent != parent.agent:
        yield f"it is a run of the agent {parent.agent!r}. Ask that one, or start a new run."


def _of_end(parent: Run) -> Iterator[str]:
    """Why it did not come to an end that something can follow."""
    if parent.forgotten:
        yield "what was said in it was forgotten. Start a new run."
    elif parent.status == "waiting":
        yield "it waits for a person. Decide its calls first: agentrt approvals list"
    elif not parent.over:
        yield f"it is not over. Wait for it: agentrt runs watch {parent.id}"
    elif parent.resumable:
        yield f"it failed and can itself go on: agentrt runs resume {parent.id}"
    elif parent.error is not None and parent.error[0] not in SOUND_FAILURES:
        yield f"it failed ({parent.error[0]}). Start a new run."


def _of_conversation(parent: Run, now: Definition) -> Iterator[str]:
    """Why the API would not take its conversation with one more prompt."""
    messages = [from_json(message) for message in parent.messages]
    replies = [message["content"] for message in messages if message["role"] == "assistant"]
    cut = parent.error is not None and parent.error[0] == "max_tokens"
    if messages[-1]["role"] == "assistant" and not _is_whole(replies[-1], cut=cut):
        yield "it ended in the middle of a reply or of its calls. Start a new run."
    if parent.reduced and any(map(_has_thinking, replies)):
        yield (
            "Claude's thinking in it is bound to arguments that are no longer kept as they were "
            "written. Start a new run."
        )
    # Thinking is bound to all that was sent before it; another model leaves it unread.
    if _sent_before(now) != _sent_before(parent.definition) and any(map(_has_thinking, replies)):
        yield (
            "Claude's thinking in it is bound to the agent's instructions and tools, and those "
            "have changed since. Start a new run."
        )


def _is_whole(blocks: list[dict[str, Any]], *, cut: bool) -> bool:
    """Whether every call in a reply has its result there, and no thinking was cut off."""
    asked = {block["id"] for block in blocks if block["type"].endswith("tool_use")}
    answered = {block.get("tool_use_id") for block in blocks}
    return asked <= answered and (not cut or blocks[-1]["type"] == "text")


def _has_thinking(blocks: list[dict[str, Any]]) -> bool:
    return any(block["type"].endswith("thinking") for block in blocks)


def _sent_before(definition: Definition) -> tuple[Any, ...]:
    """What stands before the messages of a request, see `claude/request.py`."""
    names = ("name", "description", "input_schema")
    tools = [[tool[name] for name in names] for tool in definition.data["tools"]]
    return definition.data["instructions"], tools
