"""What became of an expression, in a form in which two answers can be held side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from agentrt.policy.cel import Duration, Timestamp

from .contexts import Context

__all__ = ["Answer", "Asked", "encoded"]

Kind = Literal["value", "error", "refused", "broken"]
"""An error comes when it is evaluated, a refusal before; broken: it should never happen."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A value, or why there is none."""

    kind: Kind
    content: Any
    """The value as `encoded` has it, else a message."""

    def __str__(self) -> str:
        return f"{self.kind}: {json.dumps(self.content, ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A text with the answers of both sides."""

    text: str
    context: Context
    ours: Answer
    theirs: Answer

    @property
    def agree(self) -> bool:
        """The same value, or an error on both sides, whatever it says."""
        if "broken" in self.kinds or self.ours.kind != self.theirs.kind:
            return False
        return self.ours.kind != "value" or bool(self.ours.content == self.theirs.content)

    @property
    def kinds(self) -> tuple[Kind, Kind]:
        return self.ours.kind, self.theirs.kind


def encoded(value: Any) -> Any:
    """The value as JSON that keeps 1 and 1.0, 0.0 and -0.0 apart, and every nanosecond.

    worker.py does the same with Google's values.
    """
    match value:
        case None | bool() | str():
            return value
        case int():
            return {"int": str(value)}
        case float():
            return {"double": repr(value)}
        case Timestamp():
            return {"timestamp": str(value.nanos)}
        case Duration():
            return {"duration": str(value.nanos)}
        case list():
            return [encoded(item) for item in value]
        case dict():
            pairs = [[encoded(key), encoded(item)] for key, item in value.items()]
            return {"map": sorted(pairs, key=lambda pair: json.dumps(pair[0]))}
    return {"unknown": repr(value)}
