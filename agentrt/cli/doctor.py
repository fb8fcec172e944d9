"""`agentrt doctor`: whether everything is in order, and what to do where it is not."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import click

from agentrt.cli.exits import Exit
from agentrt.cli.output import Output, prints_one
from agentrt.cli.project import Project, key_path
from agentrt.errors import AgentrtError, ModelRefused
from agentrt.visible import visible

__all__ = ["Finding", "doctor"]

Verdict = Literal["ok", "warn", "fail"]

CLOCK_EARLIEST = date(2026, 1, 1)
"""Before this agentrt there was none: a clock that says so is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    what: str
    said: str


@click.command
@prints_one
@click.pass_obj
def doctor(folder: Path, output: Output) -> None:
    """Say whether everything is in order: Python, store, policy, tools, keys, clock, models.

    Exits with 1 when something fails. Keys are looked for and never printed.

    \b
    Example:
      agentrt doctor
    """
    found = list(_findings(folder))
    ok = not any(finding.verdict == "fail" for finding in found)
    data = [{"verdict": each.verdict, "what": each.what, "said": each.said} for each in found]
    output.one({"ok": ok, "findings": data}, map(_line, found))
    if not ok:
        sys.exit(Exit.FAILED)


def _line(finding: Finding) -> str:
    said = visible(finding.said, lines=True).replace("\n", f"\n{'':<21}")
    return f"{finding.verdict:<5} {finding.what:<14} {said}"


def _findings(folder: Path) -> Iterator[Finding]:
    yield _python()
    yield _try("SQLite", _sqlite)
    yield _clock()
    yield from _environment()
    try:
        project = Project.find(folder)
    except AgentrtError as error:
        yield Finding("fail", "project", str(error))
        return
    yield Finding("ok", "project", str(project.file))
    yield _try("store", lambda: _store(project))
    yield _try("tools", lambda: _tools(project))
    yield _try("policy", lambda: _policy(project))
    yield _try("reviewer", lambda: _reviewer(project))
    for name in project.agent_tables:
        yield _try(f"agent {name}", lambda name=name: _agent(project, name))  # type: ignore[misc]


def _try(what: str, look: Callable[[], tuple[Verdict, str]]) -> Finding:
    try:
        verdict, said = look()
    except AgentrtError as error:
        return Finding("fail", what, str(error))
    return Finding(verdict, what, said)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 14):
        return Finding("ok", "Python", version)
    return Finding("fail", "Python", f"{version}: agentrt needs 3.11, 3.12 or 3.13")


def _sqlite() -> tuple[Verdict, str]:
    from agentrt.audit.sqlite import sqlite_module

    return "ok", str(sqlite_module().sqlite_version)


def _clock() -> Finding:
    today = date.fromtimestamp(time.time())
    if today < CLOCK_EARLIEST:
        return Finding("fail", "clock", f"it says {today}: set it right")
    return Finding("ok", "clock", time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime()))


def _environment() -> Iterator[Finding]:
    names = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
    if any(os.environ.get(name) for name in names):
        yield Finding("ok", "Claude's key", "there is one")
    else:
        said = "none in the environment: set ANTHROPIC_API_KEY, or use --simulated SCRIPT"
        yield Finding("warn", "Claude's key", said)
    if os.environ.get("ANTHROPIC_LOG") == "debug":
        yield Finding("fail", "ANTHROPIC_LOG", "debug writes whole prompts to the log: unset it")


def _store(project: Project) -> tuple[Verdict, str]:
    if not project.has_store:
        return "ok", f"{project.store_told}: not there yet, the first run makes it"
    with project.open_store() as store:
        newest = store.runs(limit=1)
        if newest and newest[0].head_at > store.clock():
            return "fail", "its newest record is in the future: set the clock right"
        found = store.verify()
    if not found.ok:
        return "fail", f"{len(found.findings)} findings: agentrt audit verify"
    return "ok", f"{project.store_told}: {found.records:,} records verified"


def _tools(project: Project) -> tuple[Verdict, str]:
    from agentrt.tools import lint

    count = f"{len(project.tools)} tools"
    errors = [
        finding
        for tool in project.tools.values()
        for finding in lint(tool)
        if finding.severity == "error"
    ]
    if errors:
        return "warn", f"{count}, {len(errors)} errors: agentrt tools check"
    return "ok", count


def _policy(project: Project) -> tuple[Verdict, str]:
    return "ok", f"{len(project.policy.rules)} rules, policy {project.policy.bundle[:12]}"


def _reviewer(project: Project) -> tuple[Verdict, str]:
    from agentrt.approvals import KeyFile
    from agentrt.policy import PublicKey

    path = key_path()
    if not path.exists():
        return "warn", f"no key at {path}: `agentrt init` or your first decision makes one"
    if not project.reviewers_file.is_file():
        return "warn", f"{project.reviewers_file} is missing: `agentrt init` makes it"
    key = PublicKey.parse(KeyFile(path).public_key)
    reviewer = project.reviewers.by_key(key.blob)
    if reviewer is None:
        return "warn", f"the key {path} ({key.fingerprint}) is no reviewer's here"
    return "ok", f"{reviewer.name} ({', '.join(reviewer.roles) or 'no role'})"


def _agent(project: Project, name: str) -> tuple[Verdict, str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            agent = project.agent(name)
        except ModelRefused as error:
            return "fail", str(error)
    if told:
        return "warn", str(told[0].message)
    return "ok", f"{agent.model}, {len(agent.toolset)} tools"
