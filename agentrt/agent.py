"""What is asked, of which model, with which tools: data."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import rfc8785

from agentrt.errors import ProjectError
from agentrt.models import check_model
from agentrt.tools import Tool, Tools

__all__ = ["Agent", "Effort"]

Effort = Literal["low", "medium", "high", "xhigh", "max"]

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Agent:
    """Instructions, a model and tools.

    Raises ProjectError for a name or number that cannot be, ModelRefused for a model that
    moves or is gone, and DuplicateTool when two tools have one name.
    """

    name: str
    model: str
    instructions: str = ""
    tools: Iterable[Tool[..., Any]] = ()
    tokens_max: int = 4096
    """The `max_tokens` of every request."""
    turns_max: int = 20
    deadline_s: float = 3600
    """How long a run may work; the time it waits for people does not count."""
    effort: Effort | None = None
    thinking: Mapping[str, Any] | None = None
    """The API's `thinking` parameter, which differs by model."""
    cache: Literal["5m", "1h"] = "5m"
    """How long the API keeps the cached tools and instructions."""
    toolset: Tools = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ProjectError(f"{self.name!r} cannot name an agent: letters, digits, _ and -.")
        for label in ("tokens_max", "turns_max", "deadline_s"):
            if not 0 < getattr(self, label) < math.inf:
                raise ProjectError(f"{label} of the agent {self.name} must be above zero.")
        check_model(self.model)
        object.__setattr__(self, "toolset", Tools(self.tools))

    def definition(self) -> bytes:
        """All of the agent that a request is made of, as RFC 8785 JSON; recorded in each run."""
        return rfc8785.dumps(
            {
                "name": self.name,
                "model": self.model,
                "instructions": self.instructions,
                "tokens_max": self.tokens_max,
                "effort": self.effort,
                "thinking": dict(self.thinking) if self.thinking is not None else None,
                "cache": self.cache,
                "tools": [_tool_data(tool) for tool in self.toolset.values()],
            }
        )


def _tool_data(tool: Tool[..., Any]) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "effect": tool.effect,
        "labels": sorted(tool.labels),
        "repeatable": tool.repeatable,
        "digest": tool.digest,
        **({"searchable": list(tool.searchable)} if tool.searchable else {}),
    }
