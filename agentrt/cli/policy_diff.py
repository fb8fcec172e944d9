"""`agentrt policy diff`: what one policy says otherwise than another."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from agentrt.cli.exits import Exit
from agentrt.cli.output import Output, prints_one
from agentrt.cli.project import Project
from agentrt.errors import NotFound
from agentrt.events import BundleLoaded
from agentrt.policy import Policy, Rule, texts_in
from agentrt.policy.bundle import sources_of
from agentrt.policy.differences import Changed, Differences, Value, compare, particulars
from agentrt.policy.facts.discovery import discover_facts
from agentrt.visible import visible

__all__ = ["diff"]


@click.command
@click.argument("a")
@click.argument("b")
@prints_one
@click.pass_obj
def diff(folder: Path, a: str, b: str, output: Output) -> None:
    """Say what policy B says otherwise than policy A: rules, default, reviewers, tools.

    Each is a folder, or the digest of a bundle that was recorded, or the beginning of it. What
    counts is what they mean: comments, places and blanks do not. Exits with 0 when both mean
    the same, with 1 when they differ.

    \b
    Example:
      agentrt policy diff policies new-policies
      agentrt policy diff 3f2a91c4 policies
    """
    project = Project.find(folder)
    found = compare(_policy(project, a), _policy(project, b), project.tools.values())
    output.one(_data(found), (visible(line) for line in _lines(found)))
    sys.exit(Exit.OK if found.same else Exit.FAILED)


def _policy(project: Project, named: str) -> Policy:
    """The policy of a folder or a digest; the tools it was written for may be gone."""
    if (folder := Path(named)).is_dir():
        return Policy.parse(texts_in(folder) | sources_of(discover_facts(folder)))
    return Policy.parse(_recorded(project, named))


def _recorded(project: Project, digest: str) -> dict[str, str]:
    """The texts of a recorded bundle. Raises NotFound."""
    if not project.has_store:
        raise NotFound(f"There is no folder {digest!r}, and nothing is recorded yet.")
    with project.open_store() as store:
        loaded = (record.event for record in store.search(types=("bundle.loaded",)))
        known = {event.bundle for event in loaded if isinstance(event, BundleLoaded)}
        found = [bundle for bundle in known if bundle.startswith(digest)]
        if len(found) != 1:
            several = "more than one" if found else "no"
            raise NotFound(f"There is {several} folder or recorded policy {digest!r}.")
        return dict(store.bundle(found[0]) or {})


# --- what is told -----------------------------------------------------------------------


def _lines(found: Differences) -> Iterator[str]:
    for sign, rules in (("+", found.added), ("-", found.removed)):
        for rule in rules:
            yield _rule_line(sign, rule)
            yield from (f"    {key}: {_told(said)}" for key, said in particulars(rule).items())
    yield from _changes("rule", found.changed)
    if found.default is not None:
        yield f"~ default for reads: {_change(found.default)}"
    yield from _changes("reviewer", found.reviewers)
    for entry in found.raises:
        sign, said = ("+", entry.after) if entry.before is None else ("-", entry.before)
        yield f"{sign} tools.yaml {_told(said)}"
    yield from (f"~ fact {fact.key}: {_fact(fact)}" for fact in found.facts)
    yield from _changes("tool", found.tools)
    for one in found.rewritten:
        changes = ", ".join(f"{value.key} {_change(value)}" for value in one.values)
        yield f"  rule {one.name} means the same: {changes}"
    if found.same:
        texts = "the same texts" if found.same_texts else "the texts differ and mean the same"
        yield f"no difference: {texts}"


def _rule_line(sign: str, rule: Rule) -> str:
    when = f"  when {rule.when}" if rule.when is not None else ""
    tools = ", ".join(rule.tools)
    return f"{sign} rule {rule.id}  {rule.file}:{rule.line}  {rule.decide} {tools}{when}"


def _changes(noun: str, changed: tuple[Changed, ...]) -> Iterator[str]:
    for one in changed:
        yield f"~ {noun} {one.name}"
        yield from (f"    {value.key}: {_change(value)}" for value in one.values)


def _change(value: Value) -> str:
    return f"{_told(value.before)} -> {_told(value.after)}"


def _fact(fact: Value) -> str:
    if fact.before is None:
        return "new"
    return "gone" if fact.after is None else "other code"


def _told(value: Any) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _data(found: Differences) -> dict[str, Any]:
    parts = ("changed", "reviewers", "raises", "facts", "tools", "rewritten")
    return {
        "same": found.same,
        "same_texts": found.same_texts,
        "added": [rule.model_dump(mode="json") for rule in found.added],
        "removed": [rule.model_dump(mode="json") for rule in found.removed],
        "default": asdict(found.default) if found.default else None,
        **{part: [asdict(one) for one in getattr(found, part)] for part in parts},
    }
