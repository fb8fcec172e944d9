"""What a rule said to a call, in lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from agentrt.policy.explanation import RuleSaid

__all__ = ["json_told", "rule_lines"]


def rule_lines(said: RuleSaid) -> Iterator[str]:
    """What one rule said, below its own text: not escaped."""
    shadow = " (shadow: decides nothing)" if said.shadow else ""
    mark = "*" if said.decides else " "
    yield f"{mark} {said.ref.id}  {said.ref.file}:{said.ref.line}  {said.state}{shadow}"
    yield from (f"    | {line}" for line in said.text)
    for expression, value in said.values.items():
        yield f"    {expression} was {json_told(value)}"
    if said.limit is not None:
        yield f"    its limit: {said.limit}"
    if said.error is not None:
        yield f"    error: {said.error}"
    if said.waits_for is not None:
        yield f"    waits for {said.waits_for}"


def json_told(value: Any) -> str:
    """A value as JSON in one line. It is not escaped for a terminal."""
    return json.dumps(value, ensure_ascii=False)
