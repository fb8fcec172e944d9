"""`agentrt policy`: check the policy and list its rules."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from agentrt.cli.exits import Exit
from agentrt.cli.output import Output, narrate, prints_one, prints_rows
from agentrt.cli.project import Project
from agentrt.policy import Policy, PolicyProblem, Rule, find_problems, texts_in
from agentrt.tools import Tools

__all__ = ["policy"]

RULE_FIELDS = ("id", "file", "line", "decide", "tools", "covers", "why", "approve", "owner")


@click.group
def policy() -> None:
    """Check the policy and list its rules.

    \b
    Example:
      agentrt policy check
    """


@policy.command
@prints_one
@click.pass_obj
def check(folder: Path, output: Output) -> None:
    """Check the policy against the tools; with a mistake in it nothing runs.

    Exits with 11 when there is a problem.

    \b
    Example:
      agentrt policy check --json
    """
    project = Project.find(folder)
    place = _shown_folder(project)
    found = [
        replace(problem, file=f"{place}/{problem.file}")
        for problem in find_problems(texts_in(project.policies), project.tools.values())
    ]
    output.one(
        {"ok": not found, "problems": [_problem_data(problem) for problem in found]},
        [*(problem.shown() for problem in found), _verdict(project, len(found))],
    )
    if found:
        sys.exit(Exit.VERIFICATION)


def _shown_folder(project: Project) -> str:
    if project.policies.is_relative_to(Path.cwd()):
        return str(project.policies.relative_to(Path.cwd()))
    return str(project.policies)


def _problem_data(problem: PolicyProblem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
    }


def _verdict(project: Project, count: int) -> str:
    if count:
        return f"{count} problem{'s' if count > 1 else ''}: nothing runs until it is put right"
    loaded = project.policy
    people = len(loaded.reviewers.people)
    return f"ok: {len(loaded.rules)} rules, {people} reviewers, policy {loaded.bundle[:12]}"


@policy.command("list")
@prints_rows
@click.pass_obj
def list_(folder: Path, output: Output) -> None:
    """List the rules: where each stands, what it decides, which tools it covers.

    \b
    Example:
      agentrt policy list
    """
    project = Project.find(folder)
    loaded = project.policy
    rows = [_row(rule, project.tools) for rule in loaded.rules]
    output.rows(
        rows,
        columns=("id", "decide", "place", "covers", "why"),
        fields=RULE_FIELDS,
        empty="No rules.",
        total=len(rows),
    )
    if not output.json and not output.quiet:
        _tell_default(loaded)


def _row(rule: Rule, tools: Tools) -> dict[str, Any]:
    return {
        "id": rule.id,
        "file": rule.file,
        "line": rule.line,
        "place": f"{rule.file}:{rule.line}",
        "decide": rule.decide,
        "tools": list(rule.tools),
        "covers": [tool.name for tool in tools.values() if rule.covers(tool)],
        "why": rule.why,
        "approve": rule.approve.model_dump(mode="json") if rule.approve else None,
        "owner": rule.owner,
    }


def _tell_default(policy: Policy) -> None:
    reads = "run" if policy.default_read == "allow" else "are held"
    narrate(f"what no rule covers: reads {reads}, everything else is held")
