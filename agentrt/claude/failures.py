"""Errors classified once: by what the API said and where the transport broke, not by class.

An `event: error` in a stream arrives as an APIStatusError with status 200, and a connection
lost in mid-stream as an error of the HTTP library, so classes alone say too little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Kind", "TooLongToWait", "classify"]

SPEND_LIMITS = frozenset(
    {
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
    }
)


class TooLongToWait(Exception):
    """The API asked for a wait that the run has no time for.

    Raised inside the SDK's retry loop without a cause, since the SDK retries by causes.
    """

    def __init__(self, wait_s: float, status: int, error: dict[str, Any]) -> None:
        super().__init__(f"asked to wait {wait_s:.0f} s")
        self.wait_s = wait_s
        self.status = status
        self.error = error


@dataclass(frozen=True, slots=True)
class Kind:
    """What sort of failure it was, and what can be done."""

    name: str
    advice: str
    again: bool = False
    outage: bool = False
    status: int | None = None
    request_id: str | None = None
    said: str = ""


_BY_TYPE = {
    "overloaded_error": Kind("overloaded", "Claude is overloaded. Resume later.", outage=True),
    "rate_limit_error": Kind("rate_limited", "Too many requests. Resume later.", outage=True),
    "api_error": Kind("server_error", "The API has a fault. Resume later.", outage=True),
    "timeout_error": Kind("timeout", "The API took too long. Resume later.", outage=True),
    "authentication_error": Kind(
        "authentication", "Check ANTHROPIC_API_KEY, then resume.", outage=True
    ),
    "billing_error": Kind("billing", "Check the billing of the account, then resume.", outage=True),
    "permission_error": Kind("permission", "This key may not do this."),
    "not_found_error": Kind("not_found", "Check the model id of the agent."),
    "request_too_large": Kind("too_large", "The conversation is too large for the API."),
    "invalid_request_error": Kind("invalid_request", "The API does not take this request."),
}

_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

SPEND_LIMIT = Kind("spend_limit", "A spend limit of the account was reached.", outage=True)
CUT = Kind("cut", "The connection was lost before the reply was complete.", again=True, outage=True)
SILENT = Kind("timeout", "Claude sent nothing for too long.", again=True, outage=True)
DEADLINE = Kind("deadline", "The run's time was over before the reply came.", outage=True)
MALFORMED = Kind("malformed", "The answer is not a reply of the Messages API.", outage=True)
UNREACHABLE = Kind("connection", "The API cannot be reached. Resume later.", outage=True)


def classify(error: BaseException) -> Kind:
    """What a failed request came to. Raises `error` itself when it is not one of a request."""
    import anthropic
    import httpx2

    from agentrt.claude.reply import Broken

    match error:
        case TooLongToWait():
            return _status(error.status, error.error, None, f"It {error}.")
        case anthropic.APIStatusError():
            body = error.body if isinstance(error.body, dict) else {}
            return _status(error.status_code, body.get("error", body), error.request_id, "")
        case anthropic.APITimeoutError() | httpx2.TimeoutException():
            return SILENT if isinstance(error, httpx2.TimeoutException) else UNREACHABLE
        case anthropic.APIConnectionError():
            return UNREACHABLE
        case httpx2.TransportError():
            return CUT
        case Broken():
            return _said(CUT, str(error))
        case TimeoutError():
            return DEADLINE
        case ValueError() | LookupError() | TypeError() | AttributeError() | RecursionError():
            return MALFORMED
        case _:
            raise error


def _status(status: int, error: dict[str, Any], request_id: str | None, more: str) -> Kind:
    details = error.get("details") or {}
    kind = _of_type(status, error.get("type"), details.get("error_code"))
    said = " ".join(part for part in (str(error.get("message", "")), more) if part)
    mid_stream = status == 200  # the SDK has no retry for it
    return Kind(
        kind.name,
        kind.advice,
        again=mid_stream and kind.outage,
        outage=kind.outage,
        status=status,
        request_id=request_id,
        said=said,
    )


def _of_type(status: int, type: str | None, code: str | None) -> Kind:
    if code in SPEND_LIMITS:
        return SPEND_LIMIT
    by_type = _BY_TYPE.get(type or "") or _BY_TYPE.get(_BY_STATUS.get(status, ""))
    return by_type or _BY_TYPE["api_error" if status >= 500 else "invalid_request_error"]


def _said(kind: Kind, text: str) -> Kind:
    return Kind(kind.name, kind.advice, kind.again, kind.outage, said=text)
