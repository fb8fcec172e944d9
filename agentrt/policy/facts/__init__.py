"""Facts: typed folds over what was recorded, which conditions can read."""

from agentrt.policy.facts.fact import DecidedCall, Fact, fact
from agentrt.policy.facts.history import Facts, History
from agentrt.policy.facts.standard import STANDARD_FACTS
from agentrt.policy.facts.stated import stated_fact

__all__ = [
    "STANDARD_FACTS",
    "DecidedCall",
    "Fact",
    "Facts",
    "History",
    "fact",
    "stated_fact",
]
