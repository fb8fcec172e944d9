"""What to do about a run: the one decision the loop acts on."""

from __future__ import annotations

from dataclasses import dataclass

from agentrt.events import ClaudeFailed
from agentrt.run.evolve import can_move
from agentrt.run.state import Run, ToolCall

__all__ = ["AskClaude", "Decide", "Execute", "Fail", "Finish", "Recover", "Step", "next_step"]

ASKS_MAX = 3
"""Requests per turn, the SDK's own retries inside each not counted."""


@dataclass(frozen=True, slots=True)
class AskClaude:
    """Send the conversation."""

    turn: int
    ask: int


@dataclass(frozen=True, slots=True)
class Decide:
    """Ask policy about these calls, in this order."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Execute:
    """Enter the functions of these calls, all at once."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Recover:
    """These calls were started by a process that is gone: find out what became of them."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """Claude said its last word."""

    stop_reason: str
    output: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The run cannot go on."""

    code: str
    message: str
    resumable: bool = False


Step = AskClaude | Decide | Execute | Recover | Finish | Fail


def next_step(run: Run) -> Step | None:
    """What to do now; None when the run waits for a person or is over.

    Whoever asks must carry the run alone and have none of its calls under way: a call that
    is started and not finished is then an orphan.
    """
    if run.over:
        return None
    if run.fault:
        return Fail("reply_malformed", f"Claude's reply cannot be acted on: {run.fault}.")
    if run.calls:
        return _about_calls(run)
    if run.failure is not None:
        return _after_failure(run, run.failure)
    if run.stop_reason is not None:
        return _after_reply(run, run.stop_reason)
    return AskClaude(run.turn or 1, run.ask + 1)


def _about_calls(run: Run) -> Step | None:
    movable = [call for call in run.calls if can_move(run, call)]
    orphans = tuple(call for call in movable if call.status == "started")
    undecided = tuple(call for call in movable if call.status == "requested")
    if orphans:
        return Recover(orphans)
    if undecided:
        return Decide(undecided)
    return Execute(tuple(movable)) if movable else None


def _after_reply(run: Run, stop_reason: str) -> Step:
    match stop_reason:
        case "end_turn" | "stop_sequence":
            return Finish(stop_reason, run.text)
        case "tool_use" | "pause_turn":
            return _next_turn(run)
        case "max_tokens":
            return Fail(
                "max_tokens",
                "The reply reached the agent's max_tokens and was cut off. "
                "Give the agent a larger max_tokens.",
            )
        case "refusal":
            return Fail("refusal", f"Claude refused ({run.refusal or 'no category given'}).")
        case "model_context_window_exceeded":
            return Fail(
                "context_window",
                "The conversation no longer fits the model. "
                "Split the task, or use smaller results.",
            )
        case _:
            return Fail(
                "unknown_stop_reason",
                f"Claude stopped for a reason this agentrt does not know: {stop_reason!r}. "
                "Nothing was run. Upgrade agentrt.",
            )


def _next_turn(run: Run) -> Step:
    if run.turn >= run.turns_max:
        return Fail("turn_limit", f"The run used its {run.turns_max} turns without an answer.")
    return AskClaude(run.turn + 1, 1)


def _after_failure(run: Run, failure: ClaudeFailed) -> Step:
    if failure.again and run.failures < ASKS_MAX:
        return AskClaude(run.turn, run.ask + 1)
    return Fail(failure.kind, failure.message, resumable=failure.outage)
