"""Job carriers: they say *carry run X on* and nothing else; the store knows what is true."""

from agentrt.carriers.carrier import Advance, Carrier
from agentrt.carriers.embedded import Embedded

__all__ = ["Advance", "Carrier", "Embedded"]
