"""`agentrt tools`: list the tools and check them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from agentrt.cli.exits import Exit
from agentrt.cli.output import Output, narrate, prints_one, prints_rows
from agentrt.cli.project import Project
from agentrt.errors import NotFound
from agentrt.tools import Finding, Tool, lint
from agentrt.visible import visible

__all__ = ["tools"]

FIELDS = ("name", "effect", "labels", "source", "description", "digest")
FINDING_FIELDS = ("tool", "code", "severity", "message", "hint", "source")


@click.group
def tools() -> None:
    """List the tools of the project and check them.

    \b
    Example:
      agentrt tools list
    """


@tools.command("list")
@prints_rows
@click.pass_obj
def list_(folder: Path, output: Output) -> None:
    """List the tools that agents can be given.

    \b
    Example:
      agentrt tools list --json name,effect
    """
    rows = [
        {**_data(tool), "what": tool.description.partition("\n")[0]}
        for tool in Project.find(folder).tools.values()
    ]
    output.rows(
        rows,
        columns=("name", "effect", "labels", "what"),
        fields=FIELDS,
        empty="No tools: put a file with a @tool function into tools/.",
        total=len(rows),
    )


def _data(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "effect": tool.effect,
        "labels": sorted(tool.labels),
        "source": tool.source,
        "description": tool.description,
        "digest": tool.digest,
    }


@tools.command
@click.argument("name")
@prints_one
@click.pass_obj
def view(folder: Path, name: str, output: Output) -> None:
    """Show a tool as Claude and the policy know it.

    \b
    Example:
      agentrt tools view get_time
    """
    known = Project.find(folder).tools
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else " `agentrt tools list` shows them."
        raise NotFound(f"There is no tool {name!r}.{hint}")
    tool = known[name]
    data = {
        **_data(tool),
        "timeout_s": tool.timeout_s,
        "repeatable": tool.repeatable,
        "check": tool.check is not None,
        "preview": tool.preview is not None,
        "input_schema": tool.input_schema,
    }
    output.one(data, _lines(data))


def _lines(data: dict[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2)
        first, *others = visible(text, lines=True).splitlines() or [""]
        yield f"{name:<13} {first}"
        yield from (f"{'':<13} {line}" for line in others)


@tools.command
@click.argument("names", nargs=-1)
@prints_rows
@click.pass_obj
def check(folder: Path, names: tuple[str, ...], output: Output) -> None:
    """Check the project's own tools, or those named: one clear job, a strong schema.

    Exits with 11 when one has an error; warnings and notes are for you to weigh.

    \b
    Example:
      agentrt tools check
    """
    project = Project.find(folder)
    chosen = [tool for tool in project.tools.values() if _is_asked_for(tool, names, project)]
    findings = [finding for tool in chosen for finding in lint(tool)]
    output.rows(
        [_finding_data(finding) for finding in findings],
        columns=("source", "code", "severity", "tool", "message", "hint"),
        fields=FINDING_FIELDS,
        empty=f"{len(chosen)} tools, nothing to say against them.",
        total=len(findings),
    )
    errors = sum(finding.severity == "error" for finding in findings)
    if findings:
        narrate(f"{len(chosen)} tools, {len(findings)} findings, {errors} errors")
    if errors:
        sys.exit(Exit.VERIFICATION)


def _is_asked_for(tool: Tool, names: tuple[str, ...], project: Project) -> bool:
    own = Path(tool.source.rpartition(":")[0]).is_relative_to(project.tools_folder.resolve())
    return tool.name in names if names else own


def _finding_data(finding: Finding) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in FINDING_FIELDS}
