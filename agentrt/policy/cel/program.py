"""A compiled condition: asked with values, and explained with the same values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

from agentrt.policy.cel.checked import Checked
from agentrt.policy.cel.compiling import compiled
from agentrt.policy.cel.errors import Failed, Undetermined, Unknown
from agentrt.policy.cel.places import Evaluate
from agentrt.policy.cel.steps import Frame
from agentrt.policy.cel.syntax import Expr, Name, walk
from agentrt.policy.cel.telling import told
from agentrt.policy.cel.writing import written

__all__ = ["Program", "compile"]

_SEEN_MAX = 50
"""How many places and calls an explanation tells of."""
_NAME_CHARACTERS_MAX = 80


def compile(checked: Checked) -> Program:  # noqa: A001 - the word that goes with parse and check
    """What evaluates the condition."""
    return Program(checked)


class Program:
    """A condition, ready to be asked."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked

    @cached_property
    def _evaluate(self) -> Evaluate:
        """Compiled when it is first asked: a bundle holds far more than a run comes by."""
        return compiled(self.checked)

    def __call__(self, values: Mapping[str, Any], host: Any = None) -> Any:
        """The value of the condition: bool, int, float, str, None, Timestamp, Duration, list, dict.

        Raises Failed when these values have none, Unknown when one of them is not known yet,
        and nothing else, whatever the values are.
        """
        try:
            return self._evaluate(Frame(values, host))
        except Undetermined:
            raise
        except Exception as error:  # a condition must not break who asks it
            raise _broken(error) from error

    def explain(self, values: Mapping[str, Any], host: Any = None) -> dict[str, Any]:
        """Every place that is read and every call of the host, with its value, as JSON.

        What cannot be had is "[unknown]" or "[error: ...]", what is long is cut.
        """
        frame = Frame(values, host)
        frame.seen = {}
        with suppress(Exception):  # the part at fault tells it
            self._explaining(frame)
        return {name: told(value) for name, value in frame.seen.items()}

    @cached_property
    def _explaining(self) -> Evaluate:
        return compiled(self.checked, observe=_noting)


def _broken(error: Exception) -> Failed:
    return Failed(f"the condition broke: {type(error).__name__}: {error}"[:200])


def _noting(expr: Expr, evaluate: Evaluate) -> Evaluate:
    """The closure, which also notes in the frame what it comes to."""
    name = _naming(expr)

    def noting(frame: Frame) -> Any:
        try:
            value = evaluate(frame)
        except Undetermined as error:
            value = "[unknown]" if isinstance(error, Unknown) else f"[error: {error}]"
            _note(frame, name(frame), value)
            raise
        _note(frame, name(frame), value)
        return value

    return noting


def _note(frame: Frame, name: str, value: Any) -> None:
    if len(frame.seen) < _SEEN_MAX:
        frame.seen[name] = value


def _naming(expr: Expr) -> Callable[[Frame], str]:
    """What to call a part: inside a macro it is another one for each item."""
    text = written(expr)
    names = sorted({part.name for part in walk(expr) if isinstance(part, Name)})

    def naming(frame: Frame) -> str:
        bound = [name for name in names if name in frame.variables]
        if not bound:
            return text
        items = (f"{name} = {_shortly(frame.variables[name])}" for name in bound)
        return f"{text} where {', '.join(items)}"

    return naming


def _shortly(value: Any) -> str:
    text = json.dumps(told(value), ensure_ascii=False)
    return text if len(text) <= _NAME_CHARACTERS_MAX else f"{text[:_NAME_CHARACTERS_MAX]}..."
