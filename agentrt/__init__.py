"""A Python agent runtime with governed tool execution.

A tool-use loop runs Claude turns, a policy layer decides which calls run and which wait for a
person, and every call goes to an append-only audit store.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentrt.errors import AgentrtError, ToolError

if TYPE_CHECKING:
    from agentrt.agent import Agent
    from agentrt.approvals import ApprovalQueue
    from agentrt.audit import AuditStore
    from agentrt.policy import Policy
    from agentrt.privacy.keep import keep
    from agentrt.run import Run, ToolCall
    from agentrt.runtime import Runtime
    from agentrt.tools import Call, Tool, tool

__version__ = "0.2.0"

__all__ = [
    "Agent",
    "AgentrtError",
    "ApprovalQueue",
    "AuditStore",
    "Call",
    "Policy",
    "Run",
    "Runtime",
    "Tool",
    "ToolCall",
    "ToolError",
    "__version__",
    "keep",
    "tool",
]

_HOMES = {
    "Agent": "agentrt.agent",
    "ApprovalQueue": "agentrt.approvals",
    "AuditStore": "agentrt.audit",
    "Call": "agentrt.tools",
    "Policy": "agentrt.policy",
    "Run": "agentrt.run",
    "Runtime": "agentrt.runtime",
    "Tool": "agentrt.tools",
    "keep": "agentrt.privacy.keep",
    "ToolCall": "agentrt.run",
    "tool": "agentrt.tools",
}


def __getattr__(name: str) -> Any:
    """Names are loaded when they are first asked for: a tool file needs no database."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
