"""An endpoint: traces sent over OTLP/HTTP in JSON, to a collector or whoever takes its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from agentrt.errors import ExportRefused
from agentrt.exports.lines import Line
from agentrt.exports.sink import Sink

__all__ = ["EndpointSink", "headers_of"]

TRIES = 5
TIMEOUT_S = 30
AGAIN = frozenset({429, 502, 503, 504})
"""What OTLP says to send again."""


class EndpointSink:
    """Sends lines of the format otel, then hands them on; ids are the same when it must repeat."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        then: Sink | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ExportRefused(f"'{url}' is no endpoint: write http://127.0.0.1:4318.")
        self._url = url if parts.path.strip("/") else f"{url.rstrip('/')}/v1/traces"
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._then = then
        self._sleep = sleep
        # A redirect would carry the headers, and the key in them, to somebody else.
        self._opener = build_opener(_NoRedirect)

    def write(self, lines: Sequence[Line]) -> None:
        """Send each trace. Raises ExportRefused when the endpoint does not take it."""
        for line in lines:
            self._send(line.text.encode())
            if self._then is not None:
                self._then.write([line])

    def _send(self, body: bytes) -> None:
        for number in range(1, TRIES + 1):
            said, again = self._tried(body)
            if said is None:
                return
            if not again or number == TRIES:
                raise ExportRefused(f"{self._url} does not take the trace: {said}.")
            self._sleep(0.2 * 2**number)

    def _tried(self, body: bytes) -> tuple[str | None, bool]:
        """What went wrong, and whether it may go well the next time."""
        request = Request(self._url, body, self._headers, method="POST")  # noqa: S310
        try:
            with self._opener.open(request, timeout=TIMEOUT_S):
                return None, False
        except HTTPError as error:
            return f"HTTP {error.code}", error.code in AGAIN
        except (URLError, OSError) as error:
            return str(getattr(error, "reason", error)), True


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        """Follow none."""
        return


def headers_of(text: str) -> Mapping[str, str]:
    """Headers as `OTEL_EXPORTER_OTLP_HEADERS` has them: `name=value,name=value`."""
    from urllib.parse import unquote

    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}
