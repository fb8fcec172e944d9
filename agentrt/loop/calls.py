"""Entering a tool's function, and what can be said of how it came out."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from agentrt.errors import ToolError
from agentrt.events import CallAbandoned, CallDoubted, CallFinished, CallSettled, CallStarted
from agentrt.loop.fence import Abandoned, Fence
from agentrt.policy.keeping import Left
from agentrt.run import Run, ToolCall
from agentrt.run.state import moment
from agentrt.tools import Call, Result, Tool, result_json

__all__ = ["Outcome", "call_for", "check_doubt", "enter", "preview", "started"]

logger = logging.getLogger("agentrt")

PREVIEW_TIMEOUT_S = 10.0
PREVIEW_CHARACTERS = 10_000
ERROR_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt came out, as the event to record."""

    event: CallFinished | CallDoubted | CallAbandoned
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


async def enter(
    call: ToolCall,
    tool: Tool,
    asked: Call,
    left: Left,
    *,
    fence: Fence | None = None,
    late: Callable[[CallFinished | CallDoubted], None] = lambda _event: None,
) -> Outcome:
    """Run the function once, as long as the tool allows, and say how it came out.

    `left` says what of its result may be written and sent to Claude.

    A tool that says "I did not do it" (ToolError) has failed. Any other end of a call whose
    repetition is not harmless is a doubt: Claude must never be told that a payment failed
    which may have gone out. `late` hears how it came out after all when nobody waited any more.
    """
    began = time.monotonic()
    try:
        if fence is not None:
            await fence.check()
        running = asyncio.ensure_future(_behind(fence, tool, call, asked))
        # A thread cannot be cancelled: it is left to end, and what it says is heard.
        in_thread = not inspect.iscoroutinefunction(tool.function)
        value = await _within(tool.timeout_s, running, cancel=not in_thread)
    except Abandoned as error:
        return Outcome(_abandoned(call, error))
    except _NotBack:
        asked.cancel.set()
        running.add_done_callback(lambda _done: _tell_late(call, tool, running, began, late, left))
        reason = f"{tool.name} did not come back within {tool.timeout_s:g} s."
        return _unclear(call, reason, began, left, ended=False)
    except Exception as error:  # noqa: BLE001 - someone else's code
        return Outcome(_broke_off(call, tool, error, began, left))
    return Outcome(_returned(call, tool, value, began, left))


async def _behind(fence: Fence | None, tool: Tool, call: ToolCall, asked: Call) -> Any:
    """The function, entered after a last look at the time."""
    if fence is not None:
        fence.check_time()
    return await tool.run(call.arguments_data, asked)


def _broke_off(
    call: ToolCall, tool: Tool, error: Exception, began: float, left: Left
) -> CallFinished | CallDoubted:
    if isinstance(error, ToolError):
        return _failed(call, str(error), began, left)
    _tell_author(f"{tool.name} broke off", error, left)
    reason = f"{tool.name} broke off with {type(error).__name__}."
    event = _unclear(call, reason, began, left).event
    assert not isinstance(event, CallAbandoned)  # noqa: S101 - for the type checker
    return event


def _tell_author(what: str, error: Exception, left: Left) -> None:
    """Where it broke off, for the tool's author, who asks for it; secrets in it are masked."""
    if logger.isEnabledFor(logging.DEBUG):
        trace = "".join(traceback.format_exception(error))
        logger.debug("%s\n%s", what, left.text(trace))


def _tell_late(
    call: ToolCall,
    tool: Tool,
    running: asyncio.Future[Any],
    began: float,
    late: Callable[[CallFinished | CallDoubted], None],
    left: Left,
) -> None:
    """Say how it came out; a coroutine that let itself be cancelled leaves the doubt."""
    if running.cancelled() or call.effect == "read":
        _hear(running)
        return
    error = running.exception()
    if error is None:
        late(_returned(call, tool, running.result(), began, left))
    elif isinstance(error, Exception):
        late(_broke_off(call, tool, error, began, left))


class _NotBack(Exception):
    """Someone else's code took too long; a TimeoutError is one of its own."""


async def _within(timeout_s: float, running: asyncio.Future[Any], *, cancel: bool = True) -> Any:
    """What `running` returns. Raises _NotBack when its time is over.

    It is cancelled then and not waited for, as `asyncio.timeout` does: code that catches its
    cancellation would hold the run up for as long as it likes.
    """
    try:
        done, _ = await asyncio.wait({running}, timeout=timeout_s)
    except asyncio.CancelledError:
        running.cancel()
        raise
    if not done:
        if cancel:
            running.cancel()
        running.add_done_callback(_hear)
        raise _NotBack
    return running.result()


def _hear(late: asyncio.Future[Any]) -> None:
    """What came too late has no one to be told to, and asyncio would log that nobody asked."""
    if not late.cancelled():
        late.exception()


def _returned(call: ToolCall, tool: Tool, value: Any, began: float, left: Left) -> CallFinished:
    try:
        result = result_json(value, max_bytes=tool.result_max_bytes, change=left.value)
    except Exception as error:  # noqa: BLE001 - the value is someone else's
        # The function came back, so the call is no doubt, whatever its value is worth.
        text = f"{tool.name} ran, and its result cannot be shown ({type(error).__name__})."
        return _finished(call, Result(text), began, left, outcome="ok")
    return _finished(call, result, began, left, outcome="ok")


def _unclear(
    call: ToolCall, reason: str, began: float, left: Left, *, ended: bool = True
) -> Outcome:
    if call.effect == "read":
        return Outcome(_failed(call, f"{reason} Nothing was changed.", began, left), ended)
    return Outcome(
        CallDoubted(
            cause=call.started_seq,
            call=call.id,
            attempt=call.attempt,
            returned=ended or None,
            reason=reason,
        ),
        ended,
    )


def _abandoned(call: ToolCall, error: Abandoned) -> CallAbandoned:
    return CallAbandoned(cause=call.started_seq, call=call.id, attempt=call.attempt, why=error.why)


def _failed(call: ToolCall, text: str, began: float, left: Left) -> CallFinished:
    said = left.text(text)[:ERROR_CHARACTERS]
    return _finished(call, Result(said), began, left, outcome="error")


def _finished(
    call: ToolCall, result: Result, began: float, left: Left, *, outcome: Any
) -> CallFinished:
    return CallFinished(
        cause=call.started_seq,
        call=call.id,
        attempt=call.attempt,
        outcome=outcome,
        duration_ms=int((time.monotonic() - began) * 1000),
        cut_bytes=result.cut_bytes,
        masked=left.masked,
        result=result.json_text,
    )


async def check_doubt(
    call: ToolCall,
    tool: Tool,
    asked: Call,
    left: Left,
    doubt: CallDoubted,
    *,
    may_be_running: bool,
) -> list[CallDoubted | CallSettled]:
    """The doubt, and how the tool's `check` settles it: it asks the world for the call's key.

    What kept it from an answer is in the doubt, for the person who is asked then. While the first
    attempt may still be running, "it did not happen" is no answer: it may happen yet.
    """
    if tool.check is None:
        return [doubt]
    found = await _asked_world(tool, call, asked, left)
    if isinstance(found, _Unknown):
        return [doubt.model_copy(update={"checked": found.checked, "check_said": found.said})]
    if found is None and may_be_running:
        return [doubt.model_copy(update={"checked": "nothing_yet"})]
    return [doubt, _settled_by_check(call, tool, found, left)]


def _settled_by_check(call: ToolCall, tool: Tool, found: Any, left: Left) -> CallSettled:
    happened = found is not None
    reason = "the tool's check found the effect" if happened else "the tool's check found nothing"
    return CallSettled(
        cause=call.started_seq,
        call=call.id,
        attempt=call.attempt,
        happened=happened,
        method="check",
        reason=reason,
        result=_returned(call, tool, found, 0, left).result if happened else None,
        masked=left.masked,
    )


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Not knowing is an answer; why, in words without a secret or a trace."""

    checked: Literal["failed", "timed_out"]
    said: str


async def _asked_world(tool: Tool, call: ToolCall, asked: Call, left: Left) -> Any:
    asking = asyncio.ensure_future(tool.run_check(call.arguments_data, asked))
    try:
        return await _within(tool.check_timeout_s, asking)
    except _NotBack:
        return _Unknown("timed_out", f"no answer within {tool.check_timeout_s:g} s")
    except ToolError as error:
        return _Unknown("failed", left.text(str(error))[:ERROR_CHARACTERS])
    except Exception as error:  # noqa: BLE001 - someone else's code
        _tell_author(f"the check of {tool.name} broke off", error, left)
        return _Unknown("failed", type(error).__name__)


async def preview(call: ToolCall, tool: Tool, asked: Call) -> str | None:
    """What the tool says the call will do; None when it cannot say."""
    if tool.preview is None:
        return None
    try:
        asking = asyncio.ensure_future(tool.run_preview(call.arguments_data, asked))
        said = await _within(PREVIEW_TIMEOUT_S, asking)
        text = said if isinstance(said, str) else result_json(said).json_text
        text.encode()  # half a surrogate pair could not be recorded
    except Exception as error:  # noqa: BLE001 - someone else's code
        return f"[the preview failed with {type(error).__name__}]"
    return _shortened(text)


def _shortened(text: str) -> str:
    """A preview is for a person to read: what nobody would read says how much it is."""
    left_out = len(text) - PREVIEW_CHARACTERS
    return f"{text[:PREVIEW_CHARACTERS]} [{left_out} more characters]" if left_out > 0 else text
