"""`privacy.yaml` of a bundle: what values leave behind, and for how long."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agentrt.policy.checks import known_keys, validated
from agentrt.policy.problems import PolicyProblem, suggestion
from agentrt.policy.rules import Text, ToolLike, is_name, nothing_selected, selects
from agentrt.policy.yaml_source import Path, Source
from agentrt.privacy.keep import Keep
from agentrt.privacy.reducing import merged
from agentrt.tools.tool import names_field

__all__ = [
    "KINDS",
    "PRIVACY_FILE",
    "FieldRule",
    "Kind",
    "PrivacyRules",
    "RetentionRule",
    "read_privacy_file",
]

PRIVACY_FILE = "privacy.yaml"

Kind = Literal["prompts", "replies", "arguments", "results", "people", "all"]
"""Kinds of content: what users asked, what Claude said, what went into tools and came out, and
who decided and why."""

KINDS: tuple[Kind, ...] = ("prompts", "replies", "arguments", "results", "people")

_DAYS = re.compile(r"([1-9][0-9]{0,4})d\Z")
_DAY_MS = 86_400_000
_LISTS = ("fields", "retention", "zero_retention")


def _days_ms(value: Any) -> Any:
    found = _DAYS.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a number of days such as 90d or 400d")
    return int(found[1]) * _DAY_MS


def _path(path: str) -> str:
    if not names_field(path):
        raise ValueError(f'{path!r} is no field: write iban, customer.email or "rows[].note"')
    return path


Paths = dict[Annotated[Text, AfterValidator(_path)], Keep]


class _Where(BaseModel):
    """Which runs an entry speaks of: all of them, unless it says agents or environments."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    agents: tuple[Text, ...] = ("*",)
    environments: tuple[Text, ...] = ("*",)
    why: Text | None = None

    def covers(self, *, agent: str, environment: str) -> bool:
        """Whether it speaks of the runs of this agent here."""
        return _any(self.agents, agent) and _any(self.environments, environment)


class FieldRule(_Where):
    """Fields of tools, and what is left of them."""

    tools: tuple[Text, ...] = ("*",)
    arguments: Paths = Field(default_factory=dict)
    result: Paths = Field(default_factory=dict)


class RetentionRule(_Where):
    """Content of some kinds is kept so long after its run was last worked on."""

    content: tuple[Kind, ...] = Field(min_length=1)
    keep_ms: Annotated[int, BeforeValidator(_days_ms)] = Field(alias="keep")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds it speaks of, each by its name."""
        return frozenset(KINDS if "all" in self.content else self.content)


class ZeroRetention(_Where):
    """Runs of which no content is kept longer than they need it."""


class PrivacyRules(BaseModel):
    """All of the file. What tools say of their own fields counts as well; the stricter wins."""

    model_config = ConfigDict(frozen=True)

    fields: tuple[FieldRule, ...] = ()
    retention: tuple[RetentionRule, ...] = ()
    zero_retention: tuple[ZeroRetention, ...] = ()
    mask: tuple[Literal["iban"], ...] = ()
    """Patterns of secrets to look for besides the usual ones."""

    def arguments(self, tool: Any, *, agent: str, environment: str) -> Mapping[str, Keep]:
        """What is left of a tool's arguments, by path."""
        rules = self._of(tool, agent=agent, environment=environment)
        return merged([getattr(tool, "keep", {}), *(rule.arguments for rule in rules)])

    def result(self, tool: Any, *, agent: str, environment: str) -> Mapping[str, Keep]:
        """What is left of its result, by path."""
        rules = self._of(tool, agent=agent, environment=environment)
        return merged([getattr(tool, "keep_result", {}), *(rule.result for rule in rules)])

    def keeps_nothing(self, *, agent: str, environment: str) -> bool:
        """Whether no content of such a run is kept longer than it needs it."""
        return any(r.covers(agent=agent, environment=environment) for r in self.zero_retention)

    def keep_ms(self, kind: str, *, agent: str, environment: str) -> int | None:
        """How long content of a kind is kept, the shortest of what rules say; None: for ever."""
        rules = (r for r in self.retention if r.covers(agent=agent, environment=environment))
        return min((rule.keep_ms for rule in rules if kind in rule.kinds), default=None)

    def _of(self, tool: Any, *, agent: str, environment: str) -> list[FieldRule]:
        return [
            rule
            for rule in self.fields
            if rule.covers(agent=agent, environment=environment)
            and any(selects(selector, tool) for selector in rule.tools)
        ]


def _any(patterns: Sequence[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


_KEYS: Mapping[str, tuple[type[BaseModel], tuple[str, ...]]] = {
    "fields": (FieldRule, ("tools", "agents", "environments", "arguments", "result", "why")),
    "retention": (RetentionRule, ("content", "keep", "agents", "environments", "why")),
    "zero_retention": (ZeroRetention, ("agents", "environments", "why")),
}


def read_privacy_file(
    source: Source, *, tools: Sequence[ToolLike] | None
) -> tuple[PrivacyRules, list[PolicyProblem]]:
    """The rules of the file; tools None checks no names of tools and arguments."""
    if not isinstance(source.data, dict):
        message = f"write {', '.join(f'`{name}:`' for name in _LISTS)} or `mask:`"
        return PrivacyRules(), list(source.problems or (source.at_value((), message),))
    data, problems = known_keys(source, (), source.data, known=(*_LISTS, "mask"))
    found: dict[str, Any] = {"mask": data.pop("mask", ())}
    for name, entries in data.items():
        found[name], more = _entries(source, name, entries, tools)
        problems += more
    rules, more = validated(PrivacyRules, found, source, ())
    return rules or PrivacyRules(), [*problems, *more]


def _entries(
    source: Source, name: str, entries: Any, tools: Sequence[ToolLike] | None
) -> tuple[tuple[BaseModel, ...], list[PolicyProblem]]:
    if not isinstance(entries, tuple):
        return (), [source.at_value((name,), "must be a list of entries")]
    read: list[BaseModel] = []
    problems: list[PolicyProblem] = []
    for index, entry in enumerate(entries):
        path = (name, index)
        if not isinstance(entry, dict):
            problems.append(source.at_value(path, "an entry is a mapping of keys and values"))
            continue
        model, keys = _KEYS[name]
        known, more = known_keys(source, path, entry, known=keys)
        found, wrong = validated(model, known, source, path)
        problems += [*more, *wrong]
        if found is not None:
            read.append(found)
            problems += _of_tools(source, path, found, tools)
    return tuple(read), problems


def _of_tools(
    source: Source, path: Path, found: BaseModel, tools: Sequence[ToolLike] | None
) -> Iterator[PolicyProblem]:
    if tools is None or not isinstance(found, FieldRule):
        return
    for index, selector in enumerate(found.tools):
        selected = [tool for tool in tools if selects(selector, tool)]
        if not selected and selector != "*" and (said := nothing_selected(selector, tools)):
            yield source.at_value((*path, "tools", index), said)
        if is_name(selector):
            yield from _of_arguments(source, path, found, selected)


def _of_arguments(
    source: Source, path: Path, found: FieldRule, selected: Sequence[ToolLike]
) -> Iterator[PolicyProblem]:
    """A rule that means one tool by its name speaks of arguments that it has."""
    for tool in selected:
        known = [*tool.input_schema.get("properties", {}), "*"]
        for field in found.arguments:
            first = re.split(r"[.\[]", field)[0]
            if first not in known:
                message = f"{tool.name} has no argument {first!r}{suggestion(first, known)}"
                yield source.at_key((*path, "arguments", field), message)
