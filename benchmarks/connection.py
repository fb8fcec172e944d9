"""The SDK's client as every contender uses it, and a note of each request it sends."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

__all__ = ["Sent", "connect"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that is about to leave."""

    cpu_s: float
    """What the process had used until then."""
    body: bytes


def connect(url: str, sent: list[Sent]) -> Any:
    """An `AsyncAnthropic` that speaks to the stand-in, past any proxy of the environment."""
    import httpx2
    from anthropic import AsyncAnthropic

    async def note(request: Any) -> None:
        sent.append(Sent(time.process_time(), request.content))

    http = httpx2.AsyncClient(trust_env=False, event_hooks={"request": [note]})
    return AsyncAnthropic(api_key="simulated-key", base_url=url, http_client=http)
