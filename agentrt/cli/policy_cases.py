"""`agentrt policy test`: the policy's cases run, and what is otherwise than expected told."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from agentrt.cli.exits import Exit
from agentrt.cli.output import Output, print_json, prints_one, shown_path
from agentrt.cli.policy_problems import problem_data
from agentrt.cli.policy_telling import rule_lines
from agentrt.cli.project import Project
from agentrt.errors import ProjectError
from agentrt.policy import Policy, PolicyProblem, Rule
from agentrt.policy.cases import Outcome, case_schema, read_cases, run_case, unreached
from agentrt.policy.explanation import rules_said
from agentrt.tools import Tools
from agentrt.visible import visible

__all__ = ["test"]


@dataclass(frozen=True)
class _Tested:
    """All that was run, and what could not be."""

    outcomes: tuple[Outcome, ...]
    problems: tuple[PolicyProblem, ...]
    unreached: tuple[Rule, ...]
    seconds: float

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if not outcome.passed)

    @property
    def ok(self) -> bool:
        return not (self.failed or self.problems or self.unreached)


@click.command
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--policy",
    "bundle",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Test the policy of this folder, not the project's.",
)
@click.option("--coverage", is_flag=True, help="Fail when there is a rule that no case reaches.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the format, for editors.")
@prints_one
@click.pass_obj
def test(
    folder: Path,
    files: tuple[Path, ...],
    bundle: Path | None,
    coverage: bool,
    schema: bool,
    output: Output,
) -> None:
    """Run the policy's cases: a call, what is known, and what the policy should say.

    FILES are YAML files or folders of them, without any `tests/*.yaml` in the policy's folder.
    Exits with 1 when a case fails or cannot be run.

    \b
    Example:
      agentrt policy test --coverage
      agentrt policy test policies/tests/refunds.yaml
    """
    if schema:
        print_json(case_schema())
        return
    project = Project.find(folder)
    policy = project.policy_in(bundle) if bundle else project.policy
    found = _files(files or ((bundle or project.policies) / "tests",))
    tested = _run(found, policy, project.tools, coverage=coverage)
    output.one(_data(tested), (visible(line) for line in _lines(tested, policy)))
    sys.exit(Exit.OK if tested.ok else Exit.FAILED)


def _files(places: Sequence[Path]) -> list[Path]:
    """The files to read. Raises ProjectError when there is none: nothing tested is no success."""
    found = [
        file
        for place in places
        for file in (sorted(place.glob("*.yaml")) if place.is_dir() else [place])
        if file.is_file()
    ]
    if not found:
        where = shown_path(places[0])
        raise ProjectError(
            f"There are no cases: write {where}/NAME.yaml; docs/policy-tests.md has the format."
        )
    return found


def _run(files: Sequence[Path], policy: Policy, tools: Tools, *, coverage: bool) -> _Tested:
    started = time.perf_counter()
    read = [read_cases(shown_path(file), _text(file), policy, tools) for file in files]
    outcomes = tuple(run_case(case, policy, tools) for cases, _ in read for case in cases)
    return _Tested(
        outcomes,
        tuple(problem for _, problems in read for problem in problems),
        unreached(policy, outcomes) if coverage else (),
        time.perf_counter() - started,
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file} cannot be read: {error}.") from error


# --- what is told -----------------------------------------------------------------------


def _lines(tested: _Tested, policy: Policy) -> Iterator[str]:
    for problem in tested.problems:
        yield from problem.shown().splitlines()
        yield ""
    for outcome in tested.failed:
        yield from _failure_lines(outcome, policy)
        yield ""
    for rule in tested.unreached:
        yield f"{rule.file}:{rule.line}: no case reaches {rule.id}"
    yield _summary(tested)


def _failure_lines(outcome: Outcome, policy: Policy) -> Iterator[str]:
    yield f"{outcome.case.file}:{outcome.case.line}: {outcome.case.name}"
    for difference in outcome.differences:
        yield f"    {difference}"
    yield f"    because: {outcome.decision.reason}"
    for said in rules_said(outcome.decision, outcome.facts, policy.files):
        yield from (f"    {line}" for line in rule_lines(said))


def _summary(tested: _Tested) -> str:
    passed = len(tested.outcomes) - len(tested.failed)
    counts = {
        "failed": len(tested.failed),
        "passed": passed,
        "errors": len(tested.problems),
        "rules without a case": len(tested.unreached),
    }
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"{said or 'no cases'} in {tested.seconds:.2f}s"


def _data(tested: _Tested) -> dict[str, Any]:
    return {
        "ok": tested.ok,
        "passed": len(tested.outcomes) - len(tested.failed),
        "failed": len(tested.failed),
        "problems": [problem_data(problem) for problem in tested.problems],
        "cases": [_outcome_data(outcome) for outcome in tested.outcomes],
        "unreached": [
            {"id": rule.id, "file": rule.file, "line": rule.line} for rule in tested.unreached
        ],
    }


def _outcome_data(outcome: Outcome) -> dict[str, Any]:
    case, decision = outcome.case, outcome.decision
    return {
        "name": case.name,
        "file": case.file,
        "line": case.line,
        "passed": outcome.passed,
        "decide": decision.verdict,
        "rules": [rule.id for rule in decision.rules],
        "reason": decision.reason,
        "differences": [
            {"what": each.what, "expected": each.expected, "got": each.got}
            for each in outcome.differences
        ],
    }
