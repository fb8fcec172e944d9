"""The one place that speaks to Anthropic."""

from agentrt.claude.client import Claude
from agentrt.claude.reply import Failure, Reply, TextDelta, ThinkingDelta
from agentrt.claude.request import request_body

__all__ = ["Claude", "Failure", "Reply", "TextDelta", "ThinkingDelta", "request_body"]
