"""A call as a reviewer was shown it, and the calls that were shown together with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agentrt.errors import NotAllowed, Stale
from agentrt.run import Run, ToolCall

__all__ = ["Shown", "check_in_mind", "check_together", "group_digest", "together"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A call exactly as a reviewer was shown it; a decision is bound to this."""

    run: Run
    call: ToolCall


def together(shown: Shown) -> tuple[Shown, ...]:
    """The held calls that one decision may cover with this one, itself included, in turn order.

    It is alone when its rules ask for a decision on each call, when it waited for a fact before
    it waits for a person, and when it is held no more.
    """
    held = [call for call in shown.run.held if not call.awaiting]
    if shown.call.group is None or shown.call not in held:
        return (shown,)
    return tuple(Shown(shown.run, call) for call in held if _belong_together(shown.call, call))


def group_digest(group: Sequence[Shown]) -> str:
    """What names the arguments of all these calls: SHA-256 over their digests, in order.

    Of a call by itself it is the digest of its arguments.
    """
    if len(group) == 1:
        return group[0].call.arguments_digest
    digests = "".join(shown.call.arguments_digest for shown in group)
    return hashlib.sha256(digests.encode()).hexdigest()


def check_together(group: Sequence[Shown], said: str | None) -> None:
    """Raises NotAllowed for calls that no rule lets go together, or that were shown apart.

    And Stale when the reviewer has another `group_digest` in mind than theirs.
    """
    first, *others = group
    for other in others:
        if other.run.head != first.run.head or not _belong_together(first.call, other.call):
            raise NotAllowed(
                f"{other.call.id} does not belong together with {first.call.id}, or was not shown "
                "together with it: decide each by itself."
            )
    check_in_mind(group, said)


def check_in_mind(group: Sequence[Shown], said: str | None) -> None:
    """Raises Stale when the reviewer has another digest in mind than that of what was shown."""
    digest = group_digest(group)
    if said is not None and not digest.startswith(said):
        what = group[0].call.id if len(group) == 1 else f"these {len(group)} calls"
        raise Stale(
            f"The arguments of {what} have the digest {digest[:12]}, not {said[:12]}: "
            "look at it again."
        )


def _belong_together(one: ToolCall, other: ToolCall) -> bool:
    return one.group is not None and (
        (one.group, one.turn, one.rules_digest) == (other.group, other.turn, other.rules_digest)
    )
