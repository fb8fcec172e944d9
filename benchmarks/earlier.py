"""Earlier calls as the runtime records them: decided, started, finished."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from agentrt.events import AnyEvent, CallDecided, CallFinished, CallStarted

__all__ = ["events_of_call"]

DIGEST = hashlib.sha256(b"").hexdigest()


def events_of_call(
    call: str, tool: str, *, arguments: bytes = b"{}", result: str = ""
) -> Iterator[AnyEvent]:
    """A call that policy allowed and that ran."""
    digest = hashlib.sha256(arguments).hexdigest()
    yield CallDecided(
        call=call,
        revision=1,
        tool=tool,
        verdict="allow",
        basis="rules",
        rules_digest=DIGEST,
        bundle=DIGEST,
        effect="write",
        repeatable=False,
        tool_digest=DIGEST,
        arguments_digest=digest,
        arguments=arguments,
        reason="A rule says so.",
    )
    yield CallStarted(
        call=call,
        revision=1,
        attempt=1,
        key=call,
        process="p_earlier",
        deadline_at=0,
        arguments_digest=digest,
        tool_digest=DIGEST,
        bundle=DIGEST,
    )
    yield CallFinished(call=call, attempt=1, outcome="ok", duration_ms=1, result=result)
