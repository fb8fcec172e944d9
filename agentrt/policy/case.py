"""A case: a call, what is known of it, and what the policy is expected to say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from pydantic.json_schema import SkipJsonSchema

from agentrt.events import User
from agentrt.policy.rules import Identifier, Text, Verdict

__all__ = ["Case", "Earlier", "Expected"]

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""A Monday at noon: a case that says no time must say the same on every day."""


def _user(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _moment(value: Any) -> Any:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if isinstance(moment, datetime):
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise ValueError("must be a time such as 2026-01-05T12:00:00Z")


def _amount(value: Any) -> Any:
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        amount = Decimal("NaN")
    if amount.is_finite() and not isinstance(value, bool):
        return amount
    raise ValueError("must be a number such as 3 or 49.90")


Named = Annotated[User, BeforeValidator(_user, json_schema_input_type=str | User)]
Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
Amount = Annotated[Decimal, BeforeValidator(_amount, json_schema_input_type=float | str)]


class _Value(BaseModel):
    # The texts below the fields are what an editor shows of them.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class Earlier(_Value):
    """A call that ran before in the same run, and what came back."""

    tool: Text
    args: Mapping[str, JsonValue] = Field(default_factory=dict)
    labels: tuple[Text, ...] = ()
    """Beside those that the tool has."""
    untrusted: tuple[Text, ...] = ()
    """Fields of the result that outsiders write, beside those that the tool names."""
    result: JsonValue
    """Text as Claude is given it, or data that it is given as JSON."""


class Expected(_Value):
    """What the policy should say. What is None is not looked at."""

    decide: Verdict
    rules: tuple[Identifier, ...] | None = None
    """Every rule that matches, in any order."""
    shadow: tuple[Identifier, ...] | None = None
    """The rules in `mode: shadow` that would match."""
    failed: tuple[Identifier, ...] = ()
    """The rules that cannot be evaluated. They count against the call, so none is meant unsaid."""
    set: Mapping[Identifier, JsonValue] | None = None
    """The arguments that rules set."""
    awaiting: tuple[Text, ...] | None = None
    """The facts that the decision waits for."""
    reason: Text | None = None
    """A part of the reason."""


class Case(_Value):
    """One call and what the policy should say to it."""

    name: Text
    tool: Text
    args: Mapping[str, JsonValue] = Field(default_factory=dict)
    """As Claude would write them: checked and completed by the tool."""
    user: Named | None = None
    """On whose behalf; a text is a name. Without one no fact of a user is known."""
    environment: Text = "development"
    now: Moment = NOW
    facts: Mapping[str, JsonValue] = Field(default_factory=dict)
    """What conditions read of run, user and call, by name. The others follow from `results`."""
    spent: Mapping[Identifier, Amount] = Field(default_factory=dict)
    """What counts towards the limits of rules already, by rule: calls, or the sum. Else nothing."""
    said: str = ""
    """The user's own words."""
    results: tuple[Earlier, ...] = ()
    """What tools returned before, oldest first."""
    expect: Expected
    file: SkipJsonSchema[str] = ""
    line: SkipJsonSchema[int] = 0
