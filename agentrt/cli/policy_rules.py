"""`agentrt policy list` and `facts`: what the rules say, and what conditions can speak of."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from agentrt.cli.output import Output, narrate, prints_rows
from agentrt.cli.project import Project
from agentrt.policy import Fact, Policy, Rule
from agentrt.policy.facts import STANDARD_FACTS
from agentrt.policy.rules import Limit
from agentrt.policy.vocabulary import Vocabulary
from agentrt.tools import Tools

__all__ = ["facts", "list_"]

RULE_FIELDS: tuple[str, ...] = ("id", "file", "line", "decide", "tools", "covers", "when", "limit")
RULE_FIELDS += ("set", "mode", "group", "why", "approve", "owner", "review_by")
FACT_FIELDS = ("name", "type", "kind", "about")

_UNITS_S = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


@click.command("list")
@prints_rows
@click.pass_obj
def list_(folder: Path, output: Output) -> None:
    """List the rules: where each stands, what it decides and when, which tools it covers.

    \b
    Example:
      agentrt policy list
    """
    project = Project.find(folder)
    loaded = project.policy
    rows = [_row(rule, loaded, project.tools) for rule in loaded.rules]
    output.rows(
        rows,
        columns=("id", "decides", "place", "covers", "when", "why"),
        fields=RULE_FIELDS,
        empty="No rules.",
        total=len(rows),
    )
    if not output.json and not output.quiet:
        _tell_default(loaded)


def _row(rule: Rule, policy: Policy, tools: Tools) -> dict[str, Any]:
    covers = [tool.name for tool in tools.values() if rule.covers(policy.seen(tool))]
    return {
        **rule.model_dump(mode="json", include=set(RULE_FIELDS)),
        "place": f"{rule.file}:{rule.line}",
        "decides": ", ".join(_decides(rule)),
        "covers": covers,
    }


def _decides(rule: Rule) -> Iterator[str]:
    """What the rule does, as in `hold over 3 calls per user in 1h`."""
    yield rule.decide if rule.limit is None else f"{rule.decide} over {_limit_told(rule.limit)}"
    if rule.set:
        yield f"sets {' and '.join(rule.set)}"
    if rule.group is not None:
        yield f"one group per {rule.group}"
    if rule.mode == "shadow":
        yield "in shadow"


def _limit_told(limit: Limit) -> str:
    what = f"{limit.cap} calls" if limit.sum is None else f"{limit.cap} of {limit.sum}"
    per = f" per {' and '.join(limit.per)}" if limit.per else ""
    within = f" in {_span(limit.within_s)}" if limit.within_s else ""
    return f"{what}{per}{within}"


def _span(seconds: int) -> str:
    unit, size = next((unit, size) for unit, size in _UNITS_S if seconds % size == 0)
    return f"{seconds // size}{unit}"


def _tell_default(policy: Policy) -> None:
    reads = "run" if policy.default_read == "allow" else "are held"
    narrate(f"what no rule covers: reads {reads}, everything else is held")


@click.command
@prints_rows
@click.pass_obj
def facts(folder: Path, output: Output) -> None:
    """List the facts that conditions can read, with types, and the functions they can call.

    The standard ones, those of policies/facts.py, and those that are stated from outside.

    \b
    Example:
      agentrt policy facts
      agentrt policy facts --json name,type
    """
    project = Project.find(folder)
    own = [_fact_row(fact, _kind(fact)) for fact in project.facts]
    rows = [*(_fact_row(fact, "standard") for fact in STANDARD_FACTS), *own]
    rows += _function_rows(Vocabulary.of(project.facts, project.tools.values()))
    output.rows(rows, columns=FACT_FIELDS, fields=FACT_FIELDS, empty="No facts.", total=len(rows))


def _kind(fact: Fact) -> str:
    return "stated" if fact.refuses is not None else "project"


def _fact_row(fact: Fact, kind: str) -> dict[str, Any]:
    return {"name": fact.name, "type": str(fact.type), "kind": kind, "about": fact.about}


def _function_rows(vocabulary: Vocabulary) -> Iterable[dict[str, Any]]:
    for function in vocabulary.functions.values():
        parameters = ", ".join(str(parameter) for parameter in function.parameters)
        yield {
            "name": f"{function.name}({parameters})",
            "type": str(function.returns),
            "kind": "function",
            "about": inspect.getdoc(function.call) or "",
        }
