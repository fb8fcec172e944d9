"""Claude, spoken to over HTTP: one request in, one reply or failure out.

Retries, connections and credentials are the SDK's. Ours are the cap on `retry-after`, the
total deadline, and that a cut stream is never taken for a reply.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic_core import from_json

from agentrt.claude.failures import SPEND_LIMITS, TooLongToWait, classify
from agentrt.claude.reply import (
    Assembly,
    Broken,
    Failure,
    Reply,
    TextDelta,
    ThinkingDelta,
    blocks_of,
    usage_of,
)
from agentrt.errors import ClaudeError, CredentialsMissing
from agentrt.events import Attempt
from agentrt.models import price

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["Claude"]

Show = Callable[[TextDelta | ThinkingDelta], None]

PATH = "/v1/messages"
RETRIES_MAX = 4
SIMULATED_HEADER = "agentrt-simulated"

_attempts: ContextVar[list[Attempt]] = ContextVar("attempts")
_wait_until: ContextVar[float] = ContextVar("wait_until")


class Claude:
    """A client of the Messages API.

    Without `client` it is the SDK's own, which takes its key from the environment or the
    SDK's credential chain. Any client of the SDK can be given (Bedrock, Vertex, a gateway).
    `simulated` says that a scripted Claude answers: its runs are labelled and kept out of
    reports, and a reply of a stand-in is refused when it was not expected.
    """

    def __init__(
        self,
        client: AsyncAnthropic | None = None,
        *,
        simulated: bool = False,
        silence_s: float = 120,
        retry_after_max_s: float = 60,
    ) -> None:
        self.simulated = simulated
        self._retry_after_max_s = retry_after_max_s
        self._client = (
            (client or _from_environment())
            .with_options(max_retries=RETRIES_MAX, timeout=_timeout(silence_s))
            .with_middleware(self._each_attempt)
        )

    @property
    def key(self) -> str | None:
        """The secret that its requests carry, so that it can be masked wherever it turns up."""
        found = getattr(self._client, "api_key", None) or getattr(self._client, "auth_token", None)
        return found if isinstance(found, str) else None

    @classmethod
    def scripted(cls, url: str, **options: Any) -> Self:
        """A client of a scripted Claude at `url`; it sends no real key."""
        import httpx2
        from anthropic import AsyncAnthropic

        client = AsyncAnthropic(
            api_key="simulated-key",
            base_url=url,
            # A proxy of the environment would be asked even for 127.0.0.1.
            http_client=httpx2.AsyncClient(trust_env=False),
        )
        return cls(client, simulated=True, **options)

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.close()

    async def ask(
        self, body: bytes, *, deadline_s: float, show: Show | None = None
    ) -> Reply | Failure:
        """Send one request and wait for the whole reply, `deadline_s` seconds at most.

        With `show` the body must say `"stream":true`, and pieces are shown as they arrive.
        Raises only what is not about this request: a missing key, a stand-in nobody expected.
        """
        began = time.monotonic()
        attempts: list[Attempt] = []
        _attempts.set(attempts)
        _wait_until.set(began + deadline_s)
        try:
            async with asyncio.timeout(deadline_s):
                message, first_token_s = await self._send(body, show)
            return _reply(message, began, first_token_s, tuple(attempts))
        except ClaudeError:
            raise
        except Exception as error:  # noqa: BLE001 - classify raises what is not about a request
            return self._failure(error, began, tuple(attempts))

    async def _send(self, body: bytes, show: Show | None) -> tuple[dict[str, Any], float | None]:
        if show is not None:
            return await self._stream(body, show)
        # `object` is plain JSON data. (For a bare HTTP response the SDK, with a middleware,
        # neither raises nor retries.)
        answer: Any = await self._client.post(PATH, cast_to=object, content=body, options=_JSON)
        if not isinstance(answer, dict) or answer.get("stop_reason") is None:
            raise Broken("The reply has no stop reason.")
        return answer, None

    async def _stream(self, body: bytes, show: Show) -> tuple[dict[str, Any], float | None]:
        from anthropic import AsyncStream

        stream = await self._client.post(
            PATH,
            cast_to=object,
            content=body,
            options=_JSON,
            stream=True,
            stream_cls=AsyncStream[object],
        )
        async with stream:
            assembly = Assembly()
            first_token_s = None
            async for event in stream:
                delta = assembly.add(_as_dict(event))
                if delta is not None:
                    first_token_s = first_token_s or time.monotonic()
                    show(delta)
        return assembly.finished(), first_token_s

    async def _each_attempt(self, request: Any, call_next: Any) -> Any:
        """Note every HTTP attempt, and refuse a wait that is too long."""
        began = time.monotonic()
        attempts = _attempts.get()
        try:
            response = await call_next(request)
        except Exception:
            attempts.append(Attempt(status=None, duration_ms=_ms_since(began)))
            raise
        http = response.http_response
        self._check_simulated(http.headers)
        attempts.append(
            Attempt(
                status=http.status_code,
                duration_ms=_ms_since(began),
                request_id=http.headers.get("request-id"),
            )
        )
        if http.status_code >= 400:
            await self._check_wait(http)
        return response

    async def _check_wait(self, http: Any) -> None:
        await http.aread()
        error = _error_of(http.content)
        wait_s = _retry_after_s(http.headers)
        room_s = min(self._retry_after_max_s, _wait_until.get() - time.monotonic())
        code = (error.get("details") or {}).get("error_code")
        if wait_s > room_s or code in SPEND_LIMITS:
            raise TooLongToWait(wait_s, http.status_code, error)

    def _check_simulated(self, headers: Mapping[str, str]) -> None:
        if not self.simulated and SIMULATED_HEADER in headers:
            raise ClaudeError(
                "A scripted Claude answered a run that is not labelled simulated. "
                "Use Claude.scripted(url), or take ANTHROPIC_BASE_URL away."
            )

    def _failure(self, error: Exception, began: float, attempts: tuple[Attempt, ...]) -> Failure:
        kind = classify(error)
        message = " ".join(part for part in (kind.advice, kind.said) if part)
        return Failure(
            kind=kind.name,
            message=self._without_key(message),
            again=kind.again,
            outage=kind.outage,
            latency_ms=_ms_since(began),
            attempts=attempts,
            status=kind.status,
            request_id=kind.request_id,
        )

    def _without_key(self, text: str) -> str:
        secrets = (self._client.api_key, getattr(self._client, "auth_token", None))
        for secret in secrets:
            text = text.replace(secret, "[key]") if secret else text
        return text


_JSON: Any = {"headers": {"content-type": "application/json"}}


def _from_environment() -> AsyncAnthropic:
    from anthropic import AsyncAnthropic

    if os.environ.get("ANTHROPIC_LOG") == "debug":
        raise ClaudeError(
            "ANTHROPIC_LOG=debug writes whole prompts to the log. Take it away: "
            "`agentrt runs view RUN` shows what was sent."
        )
    client = AsyncAnthropic()
    if not (client.api_key or client.auth_token or client.credentials):
        raise CredentialsMissing(
            "There is no key for the Claude API. Set ANTHROPIC_API_KEY, or try without one: "
            "agentrt run --simulated SCRIPT"
        )
    return client


def _timeout(silence_s: float) -> Any:
    import httpx2

    return httpx2.Timeout(silence_s, connect=5)


def _reply(
    message: dict[str, Any],
    began: float,
    first_token_s: float | None,
    attempts: tuple[Attempt, ...],
) -> Reply:
    details = message.get("stop_details") or {}
    return Reply(
        message_id=message["id"],
        request_id=attempts[-1].request_id if attempts else None,
        model=message["model"],
        stop_reason=message["stop_reason"],
        refusal=details.get("category") if message["stop_reason"] == "refusal" else None,
        usage=usage_of(message),
        price=price(message),
        blocks=blocks_of(message),
        latency_ms=_ms_since(began),
        first_token_ms=int((first_token_s - began) * 1000) if first_token_s else None,
        attempts=attempts,
    )


def _as_dict(event: Any) -> Mapping[str, Any]:
    data: Mapping[str, Any] = event if isinstance(event, dict) else event.to_dict()
    return data


def _error_of(content: bytes) -> dict[str, Any]:
    try:
        error: dict[str, Any] = from_json(content)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds to wait as the SDK reads them: `retry-after-ms`, seconds, or an HTTP date."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return float(milliseconds) / 1000
        return float(headers.get("retry-after", 0))
    except ValueError:
        return _seconds_until(headers["retry-after"])


def _seconds_until(date: str) -> float:
    try:
        return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0


def _ms_since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)
