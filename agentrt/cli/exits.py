"""Exit codes: what a script can tell from how a command ended."""

from __future__ import annotations

from enum import IntEnum

from agentrt import errors

__all__ = ["MEANINGS", "Exit", "exit_code"]


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TRY_AGAIN = 3
    NOT_ALLOWED = 4
    NOT_FOUND = 5
    STALE = 6
    REJECTED = 7
    WAITING = 8
    EXPIRED = 9
    LIMIT = 10
    VERIFICATION = 11
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "failed",
    Exit.USAGE: "the command was written wrongly, or arguments do not fit a tool",
    Exit.TRY_AGAIN: "try again: the store, Claude or another process was in the way",
    Exit.NOT_ALLOWED: "no key for Claude, or this reviewer may not do it",
    Exit.NOT_FOUND: "there is nothing with this id",
    Exit.STALE: "it has changed since it was shown, or was decided already",
    Exit.REJECTED: "a call was rejected by `--on-hold reject`, or its run was cancelled",
    Exit.WAITING: "the run waits for a person",
    Exit.EXPIRED: "the time to decide is over",
    Exit.LIMIT: "a limit of the run was reached: turns, time or tokens",
    Exit.VERIFICATION: "verification failed: records, policy or tools are not in order",
    Exit.INTERRUPTED: "interrupted",
}

# The first that fits counts, so the particular stand before the general.
_BY_ERROR: tuple[tuple[type[errors.AgentrtError], Exit], ...] = (
    (errors.NotFound, Exit.NOT_FOUND),
    (errors.Expired, Exit.EXPIRED),
    (errors.Stale, Exit.STALE),
    (errors.NotHeld, Exit.STALE),
    (errors.RunOver, Exit.STALE),
    (errors.NotAllowed, Exit.NOT_ALLOWED),
    (errors.SignatureInvalid, Exit.NOT_ALLOWED),
    (errors.CredentialsMissing, Exit.NOT_ALLOWED),
    (errors.StoreUnavailable, Exit.TRY_AGAIN),
    (errors.Conflict, Exit.TRY_AGAIN),
    (errors.CarriedElsewhere, Exit.TRY_AGAIN),
    (errors.Overloaded, Exit.TRY_AGAIN),
    (errors.StoreCorrupt, Exit.VERIFICATION),
    (errors.ProofError, Exit.VERIFICATION),
    (errors.PolicyError, Exit.VERIFICATION),
    (errors.ArgumentsInvalid, Exit.USAGE),
    (errors.QueryInvalid, Exit.USAGE),
)


def exit_code(error: errors.AgentrtError) -> Exit:
    """The code for what agentrt refused."""
    fitting = (code for kind, code in _BY_ERROR if isinstance(error, kind))
    return next(fitting, Exit.FAILED)
