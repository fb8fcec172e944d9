"""`agentrt policy check` and `lint`: what is wrong with a policy, told as compilers do."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import click

from agentrt.cli.exits import Exit
from agentrt.cli.output import Output, narrate, prints_one, shown_path
from agentrt.cli.project import Project
from agentrt.errors import (
    AgentrtError,
    FactDefinitionError,
    ProjectError,
    ToolDefinitionError,
)
from agentrt.policy import PolicyProblem, find_problems, texts_in
from agentrt.visible import visible

__all__ = ["check", "lint", "problem_data"]

Format = Literal["text", "github"]

DAY_MS = 86_400_000

_PLACE = re.compile(r"(?P<file>[^\n]+?\.py):(?P<line>\d+):? (?P<message>.+)", re.DOTALL)
"""How errors in a project's Python files begin."""

_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github"]),
    default="text",
    help="github: annotations for GitHub Actions.",
)


@click.command
@_FORMAT
@prints_one
@click.pass_obj
def check(folder: Path, form: Format, output: Output) -> None:
    """Check the policy against the tools; with an error in it nothing runs.

    Exits with 1 when there is an error, with 0 when there are only warnings.

    \b
    Example:
      agentrt policy check
      agentrt policy check --format github
    """
    _tell_problems(Project.find(folder), form, output)


@click.command
@click.option("--stale", is_flag=True, help="Rules without care: review overdue, owner, use.")
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=90,
    show_default=True,
    help="With --stale: a rule that matched nothing for so long.",
)
@_FORMAT
@prints_one
@click.pass_obj
def lint(folder: Path, stale: bool, days: int, form: Format, output: Output) -> None:
    """What the check says. With --stale, the rules that somebody should look after.

    Stale is a rule whose `review_by` is past (then it exits with 1), that has no owner or no
    such day, or that matched no recorded call for --days.

    \b
    Example:
      agentrt policy lint
      agentrt policy lint --stale --days 30
    """
    project = Project.find(folder)
    if stale:
        _tell(_stale(project, days), project, form, output)
    else:
        _tell_problems(project, form, output)


def _tell_problems(project: Project, form: Format, output: Output) -> None:
    try:
        found = _problems(project)
    except (FactDefinitionError, ProjectError, ToolDefinitionError) as error:
        _tell_broken(error, form, output)
    _tell(found, project, form, output)


def _tell_broken(error: AgentrtError, form: Format, output: Output) -> NoReturn:
    """A Python file of the project that cannot be read, told as a problem at its place."""
    place = _PLACE.match(str(error))
    if place is None:
        raise error
    file = shown_path(Path(place["file"]))
    problem = PolicyProblem(file, int(place["line"]), 1, place["message"])
    if form == "github" and not output.json:
        click.echo(_annotation(problem))
    else:
        output.one({"ok": False, "problems": [problem_data(problem)]}, _lines([problem]))
    narrate("1 error; the rules were not checked")
    sys.exit(Exit.FAILED)


def _problems(project: Project) -> list[PolicyProblem]:
    texts, tools = texts_in(project.policies), project.tools.values()
    return list(find_problems(texts, tools, facts=project.facts, today=_today()))


def _stale(project: Project, days: int) -> list[PolicyProblem]:
    from agentrt.cli.policy_history import matched
    from agentrt.policy.stale import stale

    since = int(time.time() * 1000) - days * DAY_MS
    counts = matched(project, since) if project.has_store else None
    unmatched = [rule for rule, count in (counts or {}).items() if count == 0]
    return list(stale(project.policy, today=_today(), unmatched=unmatched, days=days))


def _today() -> date:
    return datetime.now(tz=UTC).date()


def _tell(found: Sequence[PolicyProblem], project: Project, form: Format, output: Output) -> None:
    place = shown_path(project.policies)
    placed = [replace(problem, file=f"{place}/{problem.file}") for problem in found]
    errors = sum(problem.level == "error" for problem in placed)
    verdict = _verdict(project, errors, len(placed) - errors)
    if form == "github" and not output.json:
        for problem in placed:
            click.echo(_annotation(problem))
        narrate(verdict)
    else:
        data = {"ok": not errors, "problems": [problem_data(problem) for problem in placed]}
        output.one(data, [*_lines(placed), verdict])
    sys.exit(Exit.FAILED if errors else Exit.OK)


def _lines(problems: Sequence[PolicyProblem]) -> Iterator[str]:
    for problem in problems:
        yield visible(problem.shown(), lines=True)


def problem_data(problem: PolicyProblem) -> dict[str, Any]:
    """The problem as JSON."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "level": problem.level,
        "message": problem.message,
    }


def _verdict(project: Project, errors: int, warnings: int) -> str:
    said = ", ".join(_counted(count, word) for count, word in _counts(errors, warnings))
    if errors:
        return said
    loaded = project.policy
    people = len(loaded.reviewers.people)
    ok = f"ok: {len(loaded.rules)} rules, {people} reviewers, policy {loaded.bundle[:12]}"
    return f"{ok}; {said}" if said else ok


def _counts(errors: int, warnings: int) -> list[tuple[int, str]]:
    return [(count, word) for count, word in ((errors, "error"), (warnings, "warning")) if count]


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


# https://docs.github.com/actions/reference/workflow-commands-for-github-actions; the characters
# that end a property or a command are escaped as the runner's own toolkit does.
def _annotation(problem: PolicyProblem) -> str:
    places = f"line={problem.line},col={problem.column}"
    file = _escaped(problem.file).replace(":", "%3A").replace(",", "%2C")
    return f"::{problem.level} file={file},{places}::{_escaped(problem.message)}"


def _escaped(text: str) -> str:
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return visible(escaped)
