"""Entering a tool's function, and what can be said of how it came out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from agentrt.errors import ToolError
from agentrt.events import CallDoubted, CallFinished, CallSettled, CallStarted
from agentrt.run import Run, ToolCall
from agentrt.run.state import moment
from agentrt.tools import Call, Result, Tool, result_json

__all__ = ["Outcome", "call_for", "check_doubt", "enter", "preview", "started"]

logger = logging.getLogger("agentrt")

PREVIEW_TIMEOUT_S = 10.0
PREVIEW_CHARACTERS = 10_000
CHECK_TIMEOUT_S = 30.0
ERROR_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt came out, as the event to record."""

    event: CallFinished | CallDoubted
    ended: bool = True
    """False when the function may still be running: it was only waited for no longer."""


def started(call: ToolCall, tool: Tool, *, run: Run, process: str, at: int) -> CallStarted:
    """The fact that must be durable before the function is entered."""
    return CallStarted(
        cause=max((call.decided_seq, *(approval.seq for approval in call.approvals))),
        call=call.id,
        revision=call.revision,
        attempt=call.attempt + 1,
        key=f"{run.id}:{call.id}",
        process=process,
        deadline_at=at + int(tool.timeout_s * 1000),
        arguments_digest=call.arguments_digest,
        tool_digest=tool.digest,
        bundle=call.bundle,
        approvals=tuple(approval.seq for approval in call.approvals),
    )


def call_for(run: Run, call: ToolCall) -> Call:
    """What the function may know of the call it serves."""
    return Call(
        id=call.id,
        key=call.key or f"{run.id}:{call.id}",
        run=run.id,
        user=run.user.name if run.user else None,
        attempt=max(call.attempt, 1),
        deadline=moment(call.deadline_at),
    )


async def enter(call: ToolCall, tool: Tool, asked: Call) -> Outcome:
    """Run the function once, as long as the tool allows, and say how it came out.

    A tool that says "I did not do it" (ToolError) has failed. Any other end of a call whose
    repetition is not harmless is a doubt: Claude must never be told that a payment failed
    which may have gone out.
    """
    began = time.monotonic()
    try:
        value = await _within(tool.timeout_s, tool.run(call.arguments_data, asked))
    except ToolError as error:
        return Outcome(_failed(call, str(error), began))
    except _NotBack:
        asked.cancel.set()
        reason = f"{tool.name} did not come back within {tool.timeout_s:g} s."
        return _unclear(call, reason, began, ended=False)
    except Exception as error:
        # Its text may hold a secret: for the tool's author, who asks for it, and for nobody else.
        logger.debug("%s broke off", tool.name, exc_info=True)
        return _unclear(call, f"{tool.name} broke off with {type(error).__name__}.", began)
    return Outcome(_returned(call, tool, value, began))


class _NotBack(Exception):
    """Someone else's code took too long; a TimeoutError is one of its own."""


async def _within(timeout_s: float, work: Coroutine[Any, Any, Any]) -> Any:
    """What `work` returns. Raises _NotBack when its time is over.

    It is cancelled then and not waited for, as `asyncio.timeout` does: code that catches its
    cancellation would hold the run up for as long as it likes.
    """
    running = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({running}, timeout=timeout_s)
    finally:
        running.cancel()
    if not done:
        running.add_done_callback(_hear)
        raise _NotBack
    return running.result()


def _hear(late: asyncio.Future[Any]) -> None:
    """What came too late has no one to be told to, and asyncio would log that nobody asked."""
    if not late.cancelled():
        late.exception()


def _returned(call: ToolCall, tool: Tool, value: Any, began: float) -> CallFinished:
    try:
        result = result_json(value, max_bytes=tool.result_max_bytes)
    except Exception as error:  # noqa: BLE001 - the value is someone else's
        # The function came back, so the call is no doubt, whatever its value is worth.
        text = f"{tool.name} ran, and its result cannot be shown ({type(error).__name__})."
        return _finished(call, Result(text), began, outcome="ok")
    return _finished(call, result, began, outcome="ok")


def _unclear(call: ToolCall, reason: str, began: float, *, ended: bool = True) -> Outcome:
    if call.effect == "read":
        return Outcome(_failed(call, f"{reason} Nothing was changed.", began), ended)
    return Outcome(
        CallDoubted(cause=call.started_seq, call=call.id, attempt=call.attempt, reason=reason),
        ended,
    )


def _failed(call: ToolCall, text: str, began: float) -> CallFinished:
    return _finished(call, Result(text[:ERROR_CHARACTERS]), began, outcome="error")


def _finished(call: ToolCall, result: Result, began: float, *, outcome: Any) -> CallFinished:
    return CallFinished(
        cause=call.started_seq,
        call=call.id,
        attempt=call.attempt,
        outcome=outcome,
        duration_ms=int((time.monotonic() - began) * 1000),
        cut_bytes=result.cut_bytes,
        result=result.json_text,
    )


async def check_doubt(
    call: ToolCall, tool: Tool, asked: Call, *, may_be_running: bool
) -> CallSettled | None:
    """Ask the tool's `check` whether the effect of the call's key happened; None: it cannot know.

    While the first attempt may still be running, "it did not happen" is no answer: it may
    happen yet.
    """
    if tool.check is None:
        return None
    found = await _asked_world(tool.run_check(call.arguments_data, asked))
    if found is _UNKNOWN or (found is None and may_be_running):
        return None
    happened = found is not None
    reason = "the tool's check found the effect" if happened else "the tool's check found nothing"
    return CallSettled(
        cause=call.started_seq,
        call=call.id,
        attempt=call.attempt,
        happened=happened,
        method="check",
        reason=reason,
        result=_returned(call, tool, found, 0).result if happened else None,
    )


_UNKNOWN = object()


async def _asked_world(ask: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await _within(CHECK_TIMEOUT_S, ask)
    except Exception:  # noqa: BLE001 - someone else's code; not knowing is an answer
        return _UNKNOWN


async def preview(call: ToolCall, tool: Tool, asked: Call) -> str | None:
    """What the tool says the call will do; None when it cannot say."""
    if tool.preview is None:
        return None
    try:
        said = await _within(PREVIEW_TIMEOUT_S, tool.run_preview(call.arguments_data, asked))
        text = said if isinstance(said, str) else result_json(said).json_text
        text.encode()  # half a surrogate pair could not be recorded
    except Exception as error:  # noqa: BLE001 - someone else's code
        return f"[the preview failed with {type(error).__name__}]"
    return _shortened(text)


def _shortened(text: str) -> str:
    """A preview is for a person to read: what nobody would read says how much it is."""
    left_out = len(text) - PREVIEW_CHARACTERS
    return f"{text[:PREVIEW_CHARACTERS]} [{left_out} more characters]" if left_out > 0 else text
