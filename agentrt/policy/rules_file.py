"""A rules file of a bundle: YAML into rules, and every mistake at its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from agentrt.policy.bound import Mistake, expressions, parsed
from agentrt.policy.cel import Malformed
from agentrt.policy.checks import known_keys, validated
from agentrt.policy.decide import DefaultRead
from agentrt.policy.problems import PolicyProblem
from agentrt.policy.rules import Rule, ToolLike, effect_of, is_name, nothing_selected, selects
from agentrt.policy.yaml_source import Data, Path, Source

__all__ = ["Entry", "RulesFile", "read_rules_file"]

_RULE_KEYS = (
    "id",
    "decide",
    "tools",
    "when",
    "limit",
    "set",
    "why",
    "approve",
    "mode",
    "group",
    "defer",
    "owner",
    "review_by",
)
_APPROVE_KEYS = ("roles", "quorum", "expires", "severity", "four_eyes", "reason")
_APPROVE_KEYS_LATER = ("release",)
_LIMIT_KEYS = ("calls", "sum", "most", "per", "within")


@dataclass(frozen=True)
class Entry:
    """One entry under `rules:` as it stands in the file."""

    source: Source
    path: Path
    data: Mapping[str, Data]

    def problem(self, mistake: Mistake) -> PolicyProblem:
        """The problem of a mistake in one of its expressions, at its place."""
        path = (*self.path, *mistake.path)
        place = self.source.place_in(path, mistake.start)
        return self.source.at(place, mistake.message)


@dataclass(frozen=True)
class RulesFile:
    """What one file says, as far as it could be read; with problems it must not be used."""

    source: Source
    default_read: DefaultRead | None
    entries: tuple[Entry, ...]
    rules: tuple[Rule, ...]
    problems: tuple[PolicyProblem, ...]


class _Default(BaseModel):
    model_config = ConfigDict(strict=True)
    read: DefaultRead


def read_rules_file(
    source: Source, *, name: str, tools: Sequence[ToolLike] | None, known: bool = False
) -> RulesFile:
    """The rules of a file called `name` in its bundle; tools None checks no tool names.

    `known` says that names and expressions were checked before.
    """
    if not isinstance(source.data, dict):
        problems = source.problems or (source.at_value((), _NOT_A_RULES_FILE),)
        return RulesFile(source, None, (), (), problems)
    data, problems_found = known_keys(source, (), source.data, known=("default", "rules"))
    entries, problems_of_list = _entries(source, data.get("rules", ()))
    default_read, problems_of_default = _default(source, data)
    read = [_rule(entry, name, known=known) for entry in entries]
    problems_found += [*problems_of_list, *problems_of_default]
    problems_found += [problem for _, problems in read for problem in problems]
    if tools is not None and not known:
        problems_found += [problem for entry in entries for problem in _of_tools(entry, tools)]
    rules = tuple(rule for rule, _ in read if rule is not None)
    return RulesFile(source, default_read, tuple(entries), rules, tuple(problems_found))


_NOT_A_RULES_FILE = "no rules here: write `default:` or `rules:`, or delete the file"


def _entries(source: Source, data: Data) -> tuple[list[Entry], list[PolicyProblem]]:
    if not isinstance(data, tuple):
        return [], [source.at_value(("rules",), "must be a list of rules, each beginning with -")]
    entries, problems = [], []
    for index, item in enumerate(data):
        path: Path = ("rules", index)
        if isinstance(item, dict):
            entries.append(Entry(source, path, item))
        else:
            problems.append(source.at_value(path, "a rule is a mapping of keys and values"))
    return entries, problems


def _default(
    source: Source, data: Mapping[str, Data]
) -> tuple[DefaultRead | None, list[PolicyProblem]]:
    if "default" not in data:
        return None, []
    said = data["default"]
    if not isinstance(said, dict):
        return None, [source.at_value(("default",), "must be {read: allow} or {read: hold}")]
    if others := [key for key in said if key != "read"]:
        message = "only `read` can have a default: everything else is held where no rule speaks"
        return None, [source.at_key(("default", key), message) for key in others]
    default, problems = validated(_Default, said, source, ("default",))
    return (default.read if default else None), problems


def _rule(entry: Entry, name: str, *, known: bool) -> tuple[Rule | None, list[PolicyProblem]]:
    source, path = entry.source, entry.path
    data: dict[str, Any]
    data, problems = known_keys(source, path, entry.data, known=_RULE_KEYS)
    problems += _known_within(entry, data, "approve", _APPROVE_KEYS, later=_APPROVE_KEYS_LATER)
    problems += _known_within(entry, data, "limit", _LIMIT_KEYS)
    place = {"file": name, "line": source.line_of(path)}
    rule, more = validated(Rule, data | place, source, path)
    problems += more
    if rule is not None and not known:
        problems += _malformed(entry, rule)
    return rule, problems


def _known_within(
    entry: Entry, data: dict[str, Any], key: str, known: Sequence[str], later: Sequence[str] = ()
) -> list[PolicyProblem]:
    """Leave the known keys of a mapping within the rule, and tell of the others."""
    if not isinstance(data.get(key), dict):
        return []
    data[key], problems = known_keys(
        entry.source, (*entry.path, key), data[key], known=known, later=later
    )
    return problems


def _malformed(entry: Entry, rule: Rule) -> Iterator[PolicyProblem]:
    """Expressions that are no expressions, whatever tools there are."""
    for path, text in expressions(rule):
        try:
            parsed(text)
        except Malformed as error:
            yield entry.problem(Mistake(path, error.message, error.start, error.end))


def _of_tools(entry: Entry, tools: Sequence[ToolLike]) -> Iterator[PolicyProblem]:
    selectors = entry.data.get("tools")
    for index, selector in enumerate(selectors if isinstance(selectors, tuple) else ()):
        if isinstance(selector, str) and selector.strip():
            message = _selector_problem(selector, entry.data, tools)
            if message:
                yield entry.source.at_value((*entry.path, "tools", index), message)


def _selector_problem(
    selector: str, data: Mapping[str, Data], tools: Sequence[ToolLike]
) -> str | None:
    selected = [tool for tool in tools if selects(selector, tool)]
    if not selected:
        return nothing_selected(selector, tools)
    if data.get("decide") == "allow" and not is_name(selector):
        return _too_wide(selector, data, selected)
    return None


def _too_wide(selector: str, data: Mapping[str, Data], selected: Sequence[ToolLike]) -> str | None:
    named = data["tools"]
    reached = sorted(
        tool.name
        for tool in selected
        if effect_of(tool) == "irreversible"
        and not (isinstance(named, tuple) and tool.name in named)
    )
    if not reached:
        return None
    return (
        f"{selector!r} would allow what cannot be undone ({', '.join(reached)}):"
        " an allow rule names an irreversible tool exactly"
    )
