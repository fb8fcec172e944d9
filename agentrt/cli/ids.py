"""Ids as people type them: any unique prefix, `@last`, `@next`."""

from __future__ import annotations

import click

from agentrt.audit import AuditStore, CallRow
from agentrt.errors import NotFound

__all__ = ["call_row", "is_call", "run_id"]


def run_id(store: AuditStore, text: str) -> str:
    """The run that is meant; `@last` is the newest. Raises NotFound."""
    if text == "@last":
        newest = store.runs(limit=1)
        if not newest:
            raise NotFound("There is no run yet.")
        return newest[0].id
    return store.find_run(_prefix(text))


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
