"""The tool-use loop: read, step, append, again."""

from agentrt.loop.cancel import cancel
from agentrt.loop.carry import Carry, Surroundings
from agentrt.loop.in_force import InForce
from agentrt.loop.show import Item, Show
from agentrt.loop.state import state

__all__ = ["Carry", "InForce", "Item", "Show", "Surroundings", "cancel", "state"]
