"""What is known when a call is decided: the facts, the time, and where values come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from agentrt.events import User
from agentrt.policy.cel import Failed, Timestamp
from agentrt.policy.facts.history import Facts, History
from agentrt.policy.provenance import Place, Texts
from agentrt.run import Run, ToolCall
from agentrt.visible import visible

__all__ = ["NOTHING", "RESULTS", "SAID", "TRUSTED", "Found", "Known", "limit_name"]

_SHOWN_MAX = 100
_TOLD_MAX = 60
"""Characters shown of a value where it is recorded, and in a sentence."""

NOTHING = History.of(Facts(()))
"""A history without facts."""

SAID, RESULTS, TRUSTED = "(said)", "(results)", "(trusted)"
"""The folds that provenance is looked up in: they are no facts that a rule can name."""


def limit_name(rule: str) -> str:
    """The name of the fold that counts towards a rule's limit."""
    return f"(limit {rule})"


@dataclass(frozen=True)
class Found:
    """A value that a condition asked for, and where it was found."""

    function: str
    value: Any
    place: Place
    label: str = ""
    as_written: bool = True
    """Whether it stands there just so, and not only something of it or like it."""

    @property
    def told(self) -> str:
        """The same in a sentence."""
        what = "" if self.as_written else "Something like "
        return f"{what}{_shown(self.value, _TOLD_MAX)} was found in {self.place}."

    def __str__(self) -> str:
        function = f"{self.function} {self.label}" if self.label else self.function
        return f"{function}({_shown(self.value)})"


@dataclass(frozen=True)
class Known:
    """The world as a decision sees it. A history that is None cannot be known here."""

    run: History = NOTHING
    user: History | None = NOTHING
    """Over all runs of the user; None: the run works for nobody who was named."""
    everyone: History = NOTHING
    """Over all runs of all users, for limits that count everybody together."""
    about_run: Mapping[str, Any] = field(default_factory=dict)
    """`agent`, `model`, `simulated`."""
    about_user: Mapping[str, Any] = field(default_factory=dict)
    """`name`, `roles` and `verified`, where there is a user."""
    call: Mapping[str, Any] = field(default_factory=lambda: {"attempt": 1, "turn": 1})
    environment: str = "development"
    now: int = 0
    """Milliseconds since the epoch."""
    found: list[Found] = field(default_factory=list, compare=False)
    """Notes of this decision: where the values that it asked for were found."""

    @classmethod
    def of(
        cls,
        run: Run,
        call: ToolCall,
        *,
        at: int,
        history: History,
        user: History | None,
        everyone: History,
        starting: bool = False,
    ) -> Known:
        """What is known of a call from histories, itself apart: it is judged by what others did.

        When it is `starting`, calls that were decided after it and have not started say nothing.
        """
        apart = History.at_start if starting else History.without
        return cls(
            run=history.without(run.id, call.id, at=at),
            user=user and apart(user, run.id, call.id, at=at),
            everyone=apart(everyone, run.id, call.id, at=at),
            about_run={"agent": run.agent, "model": run.model, "simulated": run.simulated},
            about_user=_about(run.user),
            call={"attempt": call.attempt + 1, "turn": call.turn},
            environment=run.environment,
            now=at,
        )

    def values(self, arguments: Mapping[str, Any], tool: Mapping[str, Any]) -> dict[str, Any]:
        """What the roots of a condition stand for."""
        return {
            "args": arguments,
            "tool": tool,
            "run": _Facts("run", self.run, self.about_run, self.now),
            "user": _Facts("user", self.user, self.about_user, self.now),
            "call": self.call,
            "now": Timestamp.of_milliseconds(self.now),
            "environment": self.environment,
        }

    def spent(self, rule: str, per: Collection[str], tool: str) -> int | Decimal:
        """What counts towards a rule's limit already. Raises Failed when that cannot be known."""
        history = self.run if "run" in per else self.user if "user" in per else self.everyone
        if history is None:
            raise Failed("the run names no user, so nothing can be counted per user")
        name = limit_name(rule)
        if name not in history.facts:
            raise Failed("what counts towards its limit is not known here")
        spent: Mapping[str, int | Decimal] = history.value(name, self.now)
        return spent.get(tool if "tool" in per else "", 0)

    # --- what conditions can call ---------------------------------------------------------

    def user_named(self, value: Any) -> bool:
        """Whether the user's own words contain the value."""
        _check_length(value)
        said: Texts = self.run.value(SAID, self.now)
        return self._note("user_named", value, said.find_narrow(value))

    def from_trusted(self, value: Any) -> bool:
        """Whether a result field that is a fact of the system contains the value."""
        _check_length(value)
        trusted: Texts = self.run.value(TRUSTED, self.now)
        return self._note("from_trusted", value, trusted.find_narrow(value))

    def from_tool(self, value: Any, label: str) -> bool:
        """Whether a result of a tool with the label contains the value, however it is spelt."""
        _check_length(value)
        results: Mapping[str, Texts] = self.run.value(RESULTS, self.now)
        if label not in results:
            return False
        parts = value if isinstance(value, list | tuple) else [value]
        # Each by itself, so that the decision can say which of several addresses it is.
        suspected = [self._suspected(part, label, results[label]) for part in parts]
        return True in suspected

    def _suspected(self, value: Any, label: str, texts: Texts) -> bool:
        place = texts.find_wide(value)
        if place is None:
            return False
        as_written = texts.find_narrow(value)
        self.found.append(Found("from_tool", value, as_written or place, label, bool(as_written)))
        return True

    def _note(self, function: str, value: Any, place: Place | None) -> bool:
        if place is not None:
            self.found.append(Found(function, value, place))
        return place is not None


class _Facts(dict[str, Any]):
    """The fields of `run` or `user`: what the run says of itself, and facts as they are read."""

    __slots__ = ("_history", "_now", "_scope")

    def __init__(
        self, scope: str, history: History | None, about: Mapping[str, Any], now: int
    ) -> None:
        super().__init__(about)
        self._scope = scope
        self._history = history
        self._now = now

    def __missing__(self, name: str) -> Any:
        if self._history is None:
            raise Failed(f"{self._scope}.{name} is not known: the run names no user")
        full = f"{self._scope}.{name}"
        if full not in self._history.facts:
            raise Failed(f"{full} is not known here")
        value = self[name] = self._history.value(full, self._now)
        return value

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        return self._history is not None and f"{self._scope}.{name}" in self._history.facts


VALUE_MAX = 20_000
"""Characters of a value that is looked up in texts: what names something is short."""


def _check_length(value: Any) -> None:
    if (length := _length(value)) > VALUE_MAX:
        raise Failed(f"a value of {length:,} characters is too long to be looked up")


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(str(name)) + _length(item) for name, item in value.items())
    return sum(map(_length, value)) if isinstance(value, list | tuple) else 0


def _about(user: User | None) -> dict[str, Any]:
    if user is None:
        return {}
    return {"name": user.name, "roles": list(user.roles), "verified": user.verified}


def _shown(value: Any, characters_max: int = _SHOWN_MAX) -> str:
    """A value for a person to read: cut, and with nothing in it that a terminal would obey."""
    text = visible(repr(value))
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"
