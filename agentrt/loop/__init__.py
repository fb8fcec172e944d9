"""The tool-use loop: read, step, append, again."""

from agentrt.loop.cancel import cancel
from agentrt.loop.carry import Carry, Surroundings
from agentrt.loop.show import Item, Show

__all__ = ["Carry", "Item", "Show", "Surroundings", "cancel"]
