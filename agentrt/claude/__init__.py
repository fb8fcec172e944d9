"""The one place that speaks to Anthropic."""

from agentrt.claude.client import Claude
from agentrt.claude.reply import Failure, Reply, TextDelta, ThinkingDelta
from agentrt.claude.request import Requests

__all__ = ["Claude", "Failure", "Reply", "Requests", "TextDelta", "ThinkingDelta"]
