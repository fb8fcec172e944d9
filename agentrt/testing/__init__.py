"""For your tests: a Claude that follows a script, over HTTP; a check for your job carrier."""

from agentrt.testing.carriers import check_carrier
from agentrt.testing.conversation import Conversation, ToolResult
from agentrt.testing.script import (
    Block,
    Fault,
    Raw,
    RedactedThinking,
    Script,
    Text,
    Thinking,
    ToolUse,
    Turn,
    When,
)
from agentrt.testing.standin import SIMULATED_KEY, RequestRecord, ScriptedClaude, serve

__all__ = [
    "SIMULATED_KEY",
    "Block",
    "Conversation",
    "Fault",
    "Raw",
    "RedactedThinking",
    "RequestRecord",
    "Script",
    "ScriptedClaude",
    "Text",
    "Thinking",
    "ToolResult",
    "ToolUse",
    "Turn",
    "When",
    "check_carrier",
    "serve",
]
