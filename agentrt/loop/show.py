"""What a run shows while it is carried on: recorded facts, and text as it comes."""

from __future__ import annotations

from collections.abc import Callable

from agentrt.claude import TextDelta, ThinkingDelta
from agentrt.events import AnyEvent

__all__ = ["Item", "Show"]

Item = TextDelta | ThinkingDelta | AnyEvent
"""A recorded fact, or a piece of a reply that is not complete yet."""

Show = Callable[[str, int, Item], None]
"""Called with the run's id, the `seq` of the newest record, and the item."""
