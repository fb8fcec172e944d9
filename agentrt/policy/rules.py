"""A rule: which tools it speaks of, what it decides, why, and what an approval takes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agentrt.policy.problems import suggestion

__all__ = [
    "DECISIONS",
    "EFFECTS",
    "SEVERITIES",
    "STANDARD_LABELS",
    "Approve",
    "Effect",
    "Limit",
    "Rule",
    "Severity",
    "ToolLike",
    "Verdict",
    "effect_named",
    "effect_of",
    "is_name",
    "nothing_selected",
    "selects",
]

Verdict = Literal["deny", "hold", "allow"]
Effect = Literal["read", "write", "irreversible"]
Severity = Literal["low", "medium", "high", "critical"]

DECISIONS: tuple[Verdict, ...] = ("deny", "hold", "allow")
"""Strictest first: what several matching rules come to is the first of these among them."""

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
EFFECTS: tuple[Effect, ...] = ("read", "write", "irreversible")

_EFFECT_NAMED: Mapping[str, Effect] = {effect: effect for effect in EFFECTS}
_SEVERITY_OF_EFFECT: Mapping[Effect, Severity] = {
    "read": "low",
    "write": "medium",
    "irreversible": "high",
}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])\Z")
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EXPIRES_MAX_S = 365 * 86400
_DEFER_S = 5 * 60


_GOES_WITH: Mapping[str, tuple[Verdict, ...]] = {
    "limit": ("deny", "hold"),
    "set": ("hold", "allow"),
    "group": ("hold",),
}


STANDARD_LABELS = ("egress", "moves_money", "reads_private", "reads_untrusted")
"""The labels that every policy can speak of, whether a tool has them or not."""

_STANDARD = {("effect", effect) for effect in EFFECTS} | {
    ("label", label) for label in STANDARD_LABELS
}


class ToolLike(Protocol):
    """What a policy has to know of a tool."""

    @property
    def name(self) -> str:
        """The name Claude calls it by."""

    @property
    def effect(self) -> str:
        """`read`, `write` or `irreversible`; anything else counts as irreversible."""

    @property
    def labels(self) -> Collection[str]:
        """What else a rule can speak of."""

    @property
    def input_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of its arguments, which conditions are typed against."""


def _duration_s(value: Any) -> Any:
    if isinstance(value, str):
        found = _DURATION.match(value)
        value = int(found[1]) * _UNIT_S[found[2]] if found else None
    if type(value) is not int or not 0 < value <= _EXPIRES_MAX_S:
        raise ValueError("must be a duration from 1s to 365d, such as 30m, 4h or 7d")
    return value


def _day(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return date.fromisoformat(value)  # a ValueError says what is wrong with the day
    if type(value) is date:
        return value
    raise ValueError("must be a day such as 2027-06-30")


def _amount(value: Any) -> Any:
    if type(value) is int or (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        return Decimal(value)
    raise ValueError("must be a number such as 100 or 49.90")


def _setting(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    raise ValueError('must be an expression, such as "args.limit", or a plain value')


Setting = Annotated[str | bool | int | None, BeforeValidator(_setting)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Approve(_Value):
    """What it takes to let a held call run.

    `quorum` different reviewers say yes, each of whom has every one of `roles`, before
    `expires_s` seconds have passed. `severity` None is what the tool's effect says.
    """

    roles: tuple[Identifier, ...] = ()
    severity: Severity | None = None
    quorum: int = Field(default_factory=lambda data: _quorum_min(data.get("severity")), ge=1, le=99)
    expires_s: Annotated[int, BeforeValidator(_duration_s)] = Field(
        default=24 * 3600, alias="expires"
    )
    four_eyes: bool = False
    reason: Literal["optional", "required"] = "optional"

    @field_validator("roles")
    @classmethod
    def _in_one_order(cls, roles: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(roles)))

    @field_validator("quorum")
    @classmethod
    def _critical_takes_two(cls, quorum: int, info: ValidationInfo) -> int:
        if quorum < _quorum_min(info.data.get("severity")):
            raise ValueError("severity critical needs a quorum of at least 2")
        return quorum

    def for_effect(self, effect: Effect) -> Approve:
        """The same with its severity said: read is low, write is medium, irreversible high."""
        severity = self.severity or _SEVERITY_OF_EFFECT[effect]
        return self.model_copy(update={"severity": severity})

    def stricter(self, other: Approve) -> Approve:
        """What satisfies both. Severities are compared, so say them first: `for_effect`."""
        return Approve(
            roles=self.roles + other.roles,
            severity=max(self.severity, other.severity, key=_rank),
            quorum=max(self.quorum, other.quorum),
            expires_s=min(self.expires_s, other.expires_s),
            four_eyes=self.four_eyes or other.four_eyes,
            reason=max(self.reason, other.reason),  # "required" is after "optional"
        )


def _quorum_min(severity: Severity | None) -> int:
    return 2 if severity == "critical" else 1


def _rank(severity: Severity | None) -> int:
    return len(SEVERITIES) if severity is None else SEVERITIES.index(severity)


class Limit(_Value):
    """How many calls, or how much in sum, before the rule matches.

    Counted are the calls that the rule covers and whose arguments meet its condition, allowed
    or held and not refused since; the call at hand is one of them.
    """

    calls: int | None = Field(default=None, ge=0)
    sum: Text | None = None
    """An expression on the arguments."""
    most: Annotated[Decimal, BeforeValidator(_amount)] | None = None
    """The largest sum that is within the limit."""
    per: tuple[Literal["user", "run", "tool"], ...] = ("user",)
    """What is counted apart; nothing: all calls under the rule together."""
    within_s: Annotated[int, BeforeValidator(_duration_s)] | None = Field(
        default=None, alias="within"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Limit:
        if (self.calls is None) == (self.sum is None) or (self.sum is None) != (self.most is None):
            raise ValueError("a limit is {calls: N} or {sum: args.x, most: N}")
        return self

    @property
    def cap(self) -> Decimal:
        """What a total must not exceed."""
        return Decimal(self.calls) if self.calls is not None else self.most or Decimal(0)


class Rule(_Value):
    """One entry of a bundle. `file` and `line` say where its text begins."""

    id: Identifier
    decide: Verdict
    tools: tuple[Text, ...] = Field(min_length=1)
    when: Text | None = None
    """A condition in the language of `agentrt.policy.cel`; None is always met."""
    limit: Limit | None = None
    set: Mapping[Identifier, Setting] = Field(default_factory=dict)
    """Arguments that the call goes on with: expressions as text, or plain values."""
    mode: Literal["enforce", "shadow"] = "enforce"
    group: Literal["run"] | None = None
    """`run`: one approval may cover the calls of a turn that this rule holds."""
    defer_s: Annotated[int, BeforeValidator(_duration_s)] = Field(default=_DEFER_S, alias="defer")
    """How long a call waits for a fact that is not known yet, before a person is asked."""
    why: Text
    approve: Approve | None = Field(
        default_factory=lambda data: Approve() if data.get("decide") == "hold" else None
    )
    owner: Text | None = None
    review_by: Annotated[date, BeforeValidator(_day)] | None = None
    file: str = ""
    line: int = 0

    @field_validator("limit", "set", "group")
    @classmethod
    def _where_it_belongs(cls, value: Any, info: ValidationInfo) -> Any:
        name, decide = str(info.field_name), info.data.get("decide")
        if value and decide is not None and decide not in _GOES_WITH[name]:
            raise ValueError(f"{name!r} goes with 'decide: {' or '.join(_GOES_WITH[name])}'")
        return value

    @field_validator("approve")
    @classmethod
    def _only_to_hold(cls, approve: Approve | None, info: ValidationInfo) -> Approve | None:
        if "decide" in info.data and (info.data["decide"] == "hold") == (approve is None):
            raise ValueError("'approve' goes with 'decide: hold', and is a mapping")
        return approve

    def covers(self, tool: ToolLike) -> bool:
        """Whether the rule speaks of this tool.

        An allow rule speaks of an irreversible tool only by its exact name: no pattern may
        let run what was added after the pattern was written.
        """
        if tool.name in self.tools:
            return True
        if self.decide == "allow" and effect_of(tool) == "irreversible":
            return False
        return any(selects(selector, tool) for selector in self._patterns)

    @cached_property
    def _patterns(self) -> tuple[str, ...]:
        return tuple(selector for selector in self.tools if not is_name(selector))

    def meaning(self) -> dict[str, Any]:
        """The rule as JSON data without what changes nothing: places, owner, review date."""
        data = self.model_dump(mode="json", exclude={"file", "line", "owner", "review_by"})
        return {**data, "tools": sorted(set(self.tools))}

    def __hash__(self) -> int:
        return hash((self.id, self.file, self.line))


def effect_of(tool: ToolLike) -> Effect:
    """The effect a policy goes by: a word nobody knows counts as irreversible."""
    return effect_named(tool.effect)


def effect_named(word: str) -> Effect:
    """The effect of this name; a word nobody knows counts as irreversible."""
    return _EFFECT_NAMED.get(word, "irreversible")


def is_name(selector: str) -> bool:
    """Whether an entry of `tools:` is the exact name of one tool."""
    return not set(selector) & set("*?[:")


def nothing_selected(selector: str, tools: Collection[ToolLike]) -> str | None:
    """What is wrong with an entry of `tools:` that means none of these, if anything is.

    An effect or a standard label that no tool has may be written all the same: a policy can be
    stricter than its project needs today.
    """
    kind, colon, value = selector.rpartition(":")
    if (kind, value) in _STANDARD:
        return None
    if colon and kind not in ("effect", "label"):
        return f"unknown kind {kind!r}: write effect:{value} or label:{value}"
    if kind == "effect" and value not in EFFECTS:
        return f"unknown effect {value!r}{suggestion(value, EFFECTS)}"
    if is_name(selector):
        return f"unknown tool {selector!r}{suggestion(selector, [tool.name for tool in tools])}"
    labels = {f"label:{label}" for tool in tools for label in tool.labels}
    return f"{selector!r} matches no tool{suggestion(selector, labels)}"


def selects(selector: str, tool: ToolLike) -> bool:
    """Whether an entry of `tools:` means this tool: by name, glob, effect or label."""
    kind, _, value = selector.rpartition(":")
    match kind:
        case "effect":
            return effect_of(tool) == value
        case "label":
            return value in tool.labels
        case "":
            return fnmatchcase(tool.name, selector)
        case _:
            return False
