"""Ids as people type them: any unique prefix, `@last`, `@next`."""

from __future__ import annotations

from pathlib import Path

import click

from agentrt.audit import AuditStore, CallRow
from agentrt.errors import NotFound

__all__ = ["call_row", "is_call", "run_id", "run_to_go_on"]


def run_id(store: AuditStore, text: str) -> str:
    """The run that is meant; `@last` is the newest. Raises NotFound."""
    if text == "@last":
        newest = store.runs(limit=1)
        if not newest:
            raise NotFound("There is no run yet.")
        return newest[0].id
    return store.find_run(_prefix(text))


def run_to_go_on(store: AuditStore, text: str, script: Path | None) -> str:
    """The run that is meant, to be carried on or followed by this kind of Claude.

    Raises NotFound, or UsageError when it is a run of the other kind.
    """
    found = run_id(store, text)
    simulated = found.startswith("sim_")
    if simulated and script is None:
        raise click.UsageError(f"{found} is a simulated run: go on with --simulated SCRIPT.")
    if script is not None and not simulated:
        raise click.UsageError(f"{found} is a real run: go on without --simulated.")
    return found


def call_row(store: AuditStore, text: str) -> CallRow:
    """The call that is meant; `@next` is the first of the approval queue. Raises NotFound."""
    match text:
        case "@last":
            found = store.calls(limit=1)
            nothing = "There is no call yet."
        case "@next":
            from agentrt.approvals import ApprovalQueue
            from agentrt.policy import Reviewers

            found = ApprovalQueue(store, Reviewers()).held()
            nothing = "No call is held."
        case _:
            return store.find_call(_prefix(text))
    if not found:
        raise NotFound(nothing)
    return found[0]


def is_call(text: str) -> bool:
    """Whether the text means a call and not a run."""
    return text in ("@next", "@last") or text.startswith(("c_", "sim_c_"))


def _prefix(text: str) -> str:
    if not text.strip():
        raise click.UsageError("An id must not be empty.")
    if text.startswith("@"):
        raise click.UsageError(f"'{text}' is not known here: there are @last and @next.")
    return text
