"""For your tests: a Claude that follows a script, over HTTP; checks for carriers and stores."""

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
from agentrt.testing.stores import STORE_CHECKS, check_store

__all__ = [
    "SIMULATED_KEY",
    "STORE_CHECKS",
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
    "check_store",
    "serve",
]
