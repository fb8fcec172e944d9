"""A rule: which tools it speaks of, what it decides, why, and what an approval takes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Protocol

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

__all__ = [
    "DECISIONS",
    "EFFECTS",
    "SEVERITIES",
    "Approve",
    "Effect",
    "Rule",
    "Severity",
    "ToolLike",
    "Verdict",
    "effect_of",
    "is_name",
    "selects",
]

Verdict = Literal["deny", "hold", "allow"]
Effect = Literal["read", "write", "irreversible"]
Severity = Literal["low", "medium", "high", "critical"]

DECISIONS: tuple[Verdict, ...] = ("deny", "hold", "allow")
"""Strictest first: what several matching rules come to is the first of these among them."""

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
EFFECTS: tuple[Effect, ...] = ("read", "write", "irreversible")

_SEVERITY_OF_EFFECT: Mapping[Effect, Severity] = {
    "read": "low",
    "write": "medium",
    "irreversible": "high",
}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])\Z")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EXPIRES_MAX_S = 365 * 86400


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


class Rule(_Value):
    """One entry of a bundle. `file` and `line` say where its text begins."""

    id: Identifier
    decide: Verdict
    tools: tuple[Text, ...] = Field(min_length=1)
    when: str | None = None
    """A condition on the arguments; no file may have one yet."""
    why: Text
    approve: Approve | None = Field(
        default_factory=lambda data: Approve() if data.get("decide") == "hold" else None
    )
    owner: Text | None = None
    review_by: Annotated[date, BeforeValidator(_day)] | None = None
    file: str = ""
    line: int = 0

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
        if self.decide == "allow" and effect_of(tool) == "irreversible":
            return tool.name in self.tools
        return any(selects(selector, tool) for selector in self.tools)

    def meaning(self) -> dict[str, Any]:
        """The rule as JSON data without what changes nothing: places, owner, review date."""
        data = self.model_dump(mode="json", exclude={"file", "line", "owner", "review_by"})
        return {**data, "tools": sorted(set(self.tools))}


def effect_of(tool: ToolLike) -> Effect:
    """The effect a policy goes by: a word nobody knows counts as irreversible."""
    return next((effect for effect in EFFECTS if effect == tool.effect), "irreversible")


def is_name(selector: str) -> bool:
    """Whether an entry of `tools:` is the exact name of one tool."""
    return not set(selector) & set("*?[:")


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
