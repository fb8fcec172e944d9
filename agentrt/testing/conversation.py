"""A conversation as a script sees it: what was said last, and what the tools answered."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = ["Conversation", "ToolResult"]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """One tool_result block, with the name of the tool it answers for."""

    tool: str
    text: str
    is_error: bool
    arguments: dict[str, Any]

    def json(self) -> Any:
        """Parse the text.

        Raises:
            ValueError: The text is not JSON.
        """
        return json.loads(self.text)


@dataclass(frozen=True)
class Conversation:
    """A checked request, read the way a script speaks about it.

    Everything is computed when it is asked for: a script that looks at the last message
    only costs the same in the thousandth turn.
    """

    request: dict[str, Any]

    @property
    def model(self) -> str:
        """The model that was asked for."""
        return str(self.request["model"])

    @cached_property
    def system(self) -> str:
        """The system prompt."""
        return _text(self.request.get("system") or [])

    @cached_property
    def user(self) -> str:
        """The latest user message that says something (tool results alone do not)."""
        texts = (_text(message["content"]) for message in self._backwards("user"))
        return next((text for text in texts if text), "")

    @cached_property
    def turns(self) -> int:
        """How many assistant messages there are."""
        return sum(1 for _ in self._backwards("assistant"))

    @cached_property
    def results(self) -> tuple[ToolResult, ...]:
        """The tool results in the last message, system messages not counted."""
        messages = self.request["messages"]
        last = len(messages) - 1
        while last > 0 and messages[last]["role"] == "system":
            last -= 1
        return self._results_in(last)

    def result_of(self, tool: str) -> ToolResult | None:
        """Find the latest result of a tool that is not an error."""
        for index in range(len(self.request["messages"]) - 1, 0, -1):
            for result in reversed(self._results_in(index)):
                if result.tool == tool and not result.is_error:
                    return result
        return None

    def _backwards(self, role: str) -> Iterator[dict[str, Any]]:
        return (m for m in reversed(self.request["messages"]) if m["role"] == role)

    def _results_in(self, index: int) -> tuple[ToolResult, ...]:
        messages = self.request["messages"]
        blocks = [b for b in messages[index]["content"] if b["type"] == "tool_result"]
        if not blocks:
            return ()
        calls = {b["id"]: b for b in messages[index - 1]["content"] if b["type"] == "tool_use"}
        return tuple(_result(block, calls[block["tool_use_id"]]) for block in blocks)


def _result(block: dict[str, Any], call: dict[str, Any]) -> ToolResult:
    return ToolResult(
        tool=call["name"],
        text=_text(block.get("content") or []),
        is_error=bool(block.get("is_error")),
        arguments=call["input"],
    )


def _text(blocks: list[dict[str, Any]]) -> str:
    return "\n".join(block["text"] for block in blocks if block["type"] == "text")
