"""One function, one purpose, one name a policy can speak about."""

from agentrt.tools.call import Call
from agentrt.tools.discovery import discover
from agentrt.tools.lint import Finding, lint
from agentrt.tools.result import Result, result_json
from agentrt.tools.tool import Effect, Keep, Tool, tool
from agentrt.tools.toolset import Tools

__all__ = [
    "Call",
    "Effect",
    "Finding",
    "Keep",
    "Result",
    "Tool",
    "Tools",
    "discover",
    "lint",
    "result_json",
    "tool",
]
