"""The differences between two policies: by what their files mean, not by how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentrt.policy.bound import expressions, parsed
from agentrt.policy.bundle import FACT_PREFIX, Policy
from agentrt.policy.cel import Malformed, written
from agentrt.policy.reviewers import Reviewer
from agentrt.policy.rules import Rule, ToolLike
from agentrt.policy.tools_file import Raise, as_seen

__all__ = ["Changed", "Differences", "Value", "compare", "particulars"]


@dataclass(frozen=True)
class Value:
    """One thing that is otherwise."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Changed:
    """A rule, a reviewer or a tool of which something is otherwise."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Differences:
    """What the second policy says otherwise than the first."""

    added: tuple[Rule, ...]
    removed: tuple[Rule, ...]
    changed: tuple[Changed, ...]
    """Rules, by id."""
    default: Value | None
    reviewers: tuple[Changed, ...]
    raises: tuple[Value, ...]
    """Entries of `tools.yaml`, each there before or after."""
    facts: tuple[Value, ...]
    """The code of the project's own facts, by name."""
    tools: tuple[Changed, ...]
    """Tools that are seen otherwise or covered by other rules: what the others come to."""
    rewritten: tuple[Changed, ...]
    """Rules that mean the same and stand elsewhere or have another owner or date."""
    same_texts: bool
    """Whether all files are the same to the letter."""

    @property
    def same(self) -> bool:
        """Whether both mean the same."""
        parts = (self.added, self.removed, self.changed, self.reviewers, self.raises, self.facts)
        return self.default is None and not any((*parts, self.tools))


def compare(before: Policy, after: Policy, tools: Iterable[ToolLike]) -> Differences:
    """What `after` says otherwise than `before`, also of these tools."""
    old, new = ({rule.id: rule for rule in policy.rules} for policy in (before, after))
    both = [(old[name], new[name]) for name in old if name in new]
    default = Value("default", before.default_read, after.default_read)
    return Differences(
        added=tuple(rule for name, rule in new.items() if name not in old),
        removed=tuple(rule for name, rule in old.items() if name not in new),
        changed=_all_changed((one.id, _meaning(one), _meaning(other)) for one, other in both),
        default=default if default.before != default.after else None,
        reviewers=_reviewers(before, after),
        raises=tuple(_raises(before, after)),
        facts=_values(_facts(before), _facts(after)),
        tools=_all_changed(
            (tool.name, _coverage(before, tool), _coverage(after, tool)) for tool in tools
        ),
        rewritten=_all_changed((one.id, _place(one), _place(other)) for one, other in both),
        same_texts=dict(before.files) == dict(after.files),
    )


def _all_changed(
    pairs: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]],
) -> tuple[Changed, ...]:
    changed = (Changed(name, _values(before, after)) for name, before, after in pairs)
    return tuple(one for one in changed if one.values)


def _values(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Value, ...]:
    """What differs, by key; what is on one side only is None on the other."""
    keys = dict.fromkeys((*before, *after))
    values = (Value(key, before.get(key), after.get(key)) for key in keys)
    return tuple(value for value in values if value.before != value.after)


# --- rules ------------------------------------------------------------------------------


def _meaning(rule: Rule) -> dict[str, Any]:
    """What the rule means, flat: `approve.quorum`. Expressions in one form however written."""
    data = rule.meaning()
    if rule.limit is not None:
        data["limit"]["per"] = sorted(rule.limit.per)
    for path, text in expressions(rule):
        _put(data, path, _in_one_form(text))
    return dict(_flat(data))


def particulars(rule: Rule) -> dict[str, Any]:
    """What the rule says beyond whom it decides, how and when: its limit, its approvers, ..."""
    plain = Rule(id=rule.id, decide=rule.decide, tools=rule.tools, when=rule.when, why=rule.why)
    usual = _meaning(plain)
    return {key: said for key, said in _meaning(rule).items() if usual.get(key) != said}


def _put(data: dict[str, Any], path: tuple[str, ...], value: str) -> None:
    *above, last = path
    for key in above:
        data = data[key]
    data[last] = value


def _in_one_form(text: str) -> str:
    try:
        return written(parsed(text))
    except Malformed:  # of a later version
        return text


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _place(rule: Rule) -> dict[str, Any]:
    return {"file": rule.file, "owner": rule.owner, "review_by": rule.review_by}


# --- the rest of the bundle -------------------------------------------------------------


def _reviewers(before: Policy, after: Policy) -> tuple[Changed, ...]:
    old, new = (
        {person.name: _reviewer(person) for person in policy.reviewers.people}
        for policy in (before, after)
    )
    names = dict.fromkeys((*old, *new))
    return _all_changed((name, old.get(name, {}), new.get(name, {})) for name in names)


def _reviewer(person: Reviewer) -> dict[str, Any]:
    return {
        "roles": sorted(person.roles),
        "keys": sorted(str(key) for key in person.keys),
        "valid_after": person.valid_after,
        "valid_before": person.valid_before,
    }


def _raises(before: Policy, after: Policy) -> Iterator[Value]:
    old, new = ([_entry(one) for one in policy.raises] for policy in (before, after))
    yield from (Value("removed", one, None) for one in old if one not in new)
    yield from (Value("added", None, one) for one in new if one not in old)


def _entry(one: Raise) -> dict[str, Any]:
    data = one.model_dump(mode="json")
    return {key: sorted(said) if isinstance(said, list) else said for key, said in data.items()}


def _facts(policy: Policy) -> dict[str, str]:
    return {
        name.removeprefix(FACT_PREFIX): text
        for name, text in policy.files.items()
        if name.startswith(FACT_PREFIX)
    }


def _coverage(policy: Policy, tool: ToolLike) -> dict[str, Any]:
    seen = as_seen(tool, policy.raises)
    return {
        "effect": seen.effect,
        "labels": sorted(seen.labels),
        "untrusted": sorted(seen.untrusted),
        "rules": sorted(rule.id for rule in policy.rules if rule.covers(seen)),
    }
