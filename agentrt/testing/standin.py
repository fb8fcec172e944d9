"""The scripted Claude: a server on this machine that speaks the Messages API.

It answers over real HTTP what a script says, and can be told to fail in every way the API
does. It listens on loopback only and refuses real keys.
"""

import asyncio
import ipaddress
import json
import logging
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain, count, repeat
from types import FrameType, MappingProxyType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agentrt.errors import StandInError
from agentrt.testing.conversation import Conversation
from agentrt.testing.models import find_model, list_models
from agentrt.testing.prompt import PromptCache
from agentrt.testing.reply import (
    Answer,
    answer_json,
    answer_stream,
    raise_status,
    refuse,
    write_message,
)
from agentrt.testing.request import API_VERSION, ApiError, check_count, check_message
from agentrt.testing.script import Fault, Script

__all__ = ["SIMULATED_KEY", "RequestRecord", "ScriptedClaude", "serve"]

SIMULATED_KEY = "simulated-key"
"""A key that is no key: the scripted Claude takes it, the real one does not."""

_BODY_MAX = 32 * 1024 * 1024
_CREDENTIALS = ("authorization", "x-api-key", "proxy-authorization", "cookie")


@dataclass(frozen=True)
class RequestRecord:
    """A request that arrived, without its credentials, and the status it was answered with."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    status: int
    request_id: str

    @cached_property
    def body(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.raw)
        except ValueError:
            return None


class RequestLog:
    """The requests so far; written by the server's thread, read by any."""

    def __init__(self, *, kept: bool) -> None:
        self._kept = kept
        self._records: list[RequestRecord] = []
        self._counts: Counter[tuple[str, int]] = Counter()
        self._changed = threading.Condition()

    def add(self, record: RequestRecord) -> None:
        """Add a request that is about to be answered."""
        with self._changed:
            self._counts[record.path, record.status] += 1
            if self._kept:
                self._records.append(record)
            self._changed.notify_all()

    def records(self) -> tuple[RequestRecord, ...]:
        """Give the requests in the order in which they were answered."""
        with self._changed:
            return tuple(self._records)

    def wait_for(self, wanted: int, timeout_s: float) -> bool:
        """Wait until so many requests have arrived; False when they have not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._counts.total() >= wanted, timeout_s)

    def counts(self) -> dict[str, Any]:
        """Count the requests: all of them, by path and by status."""
        by_path: Counter[str] = Counter()
        by_status: Counter[str] = Counter()
        with self._changed:
            for (path, status), number in self._counts.items():
                by_path[path] += number
                by_status[str(status)] += number
        return {"total": by_path.total(), "by_path": by_path, "by_status": by_status}


class ConnectionCut(Exception):
    """Raised inside a response to make uvicorn drop the connection; it never leaves the server."""


class _NoCuts(logging.Filter):
    """Keeps cuts out of uvicorn's log of errors: ours are meant, the client's are its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, ConnectionCut | ClientDisconnect)


_NO_CUTS = _NoCuts()


class _Played(Response):
    """An answer being sent: bytes, pauses, and the cut at its end."""

    def __init__(self, answer: Answer, headers: Mapping[str, str], closing: asyncio.Event) -> None:
        super().__init__(status_code=answer.status)
        described = {**headers, **answer.headers}
        self.raw_headers = [
            (k.encode("latin-1"), v.encode("latin-1")) for k, v in described.items()
        ]
        self._answer = answer
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._answer.delay_s:
            await self._pause(self._answer.delay_s, receive)
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        for piece in self._answer.pieces:
            if isinstance(piece, bytes):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            else:
                # Headers leave with the first bytes of a body, and the client must see them.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
                await self._pause(piece, receive)
        if self._answer.cut:
            raise ConnectionCut
        await send({"type": "http.response.body", "body": b""})

    async def _pause(self, seconds: float, receive: Receive) -> None:
        """Let time pass, but no longer than both sides are there.

        Raises:
            ConnectionCut: The client has gone, or the server is closing.
        """
        ends: list[Coroutine[Any, Any, Any]] = [_disconnect(receive), self._closing.wait()]
        tasks = [asyncio.create_task(end) for end in ends]
        done, pending = await asyncio.wait(
            tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
        if done:
            raise ConnectionCut


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Faults:
    """Faults still to come, first the script's, then each turn's, in order."""

    def __init__(self, script: Script) -> None:
        self._of_script = _one_by_one(script.faults)
        self._of_turns = [_one_by_one(turn.faults) for turn in script.turns]

    def take(self, turn: int) -> Fault | None:
        return next(chain(self._of_script, self._of_turns[turn]), None)


def _one_by_one(faults: Iterable[Fault]) -> "chain[Fault]":
    return chain.from_iterable(repeat(fault, fault.times) for fault in faults)


Decide = Callable[[Request, bytes, str], Answer]


class _Api:
    """The endpoints. What an answer holds is decided at once; only playing it takes time."""

    def __init__(self, script: Script, log: RequestLog) -> None:
        self.closing = asyncio.Event()
        self._script = script
        self._log = log
        self._faults = _Faults(script)
        self._cache = PromptCache()
        self._numbers = count(1)
        self._server = secrets.token_hex(4)
        self.app = Starlette(
            routes=[
                self._route("/v1/messages", "POST", self._messages),
                self._route("/v1/messages/count_tokens", "POST", self._count_tokens),
                self._route("/v1/models", "GET", self._models),
                self._route("/v1/models/{model_id}", "GET", self._model),
                Route("/_standin/requests", self._requests, methods=["GET"]),
            ],
            exception_handlers={HTTPException: self._no_such_path},
        )

    def _route(self, path: str, method: str, decide: Decide) -> Route:
        async def endpoint(request: Request) -> Response:
            return await self._exchange(request, decide)

        return Route(path, endpoint, methods=[method])

    async def _exchange(self, request: Request, decide: Decide) -> Response:
        """Answer one request, and log it before the answer is sent."""
        request_id = f"req_sim_{self._server}{next(self._numbers):016x}"
        body = b""
        try:
            _refuse_size(request.headers)
            body = await request.body()
            _refuse_strangers(request.headers)
            answer = decide(request, body, request_id)
        except ApiError as error:
            answer = refuse(error, request_id)
        except StandInError as error:
            answer = refuse(ApiError(str(error)), request_id)
        self._log.add(_record(request, body, answer.status, request_id))
        return _Played(answer, _headers(request_id), self.closing)

    def _messages(self, _: Request, body: bytes, request_id: str) -> Answer:
        asked, model, prompt = check_message(body)
        conversation = Conversation(asked)
        index = self._script.turn_for(conversation)
        turn = self._script.turns[index]
        blocks = turn.blocks(conversation)
        fault = self._faults.take(index)
        if fault is not None:
            raise_status(fault)
        cache = self._cache.use(prompt, model.id)
        message = write_message(
            turn, blocks, request=asked, model=model, prompt=prompt, cache=cache
        )
        if asked.get("stream"):
            return answer_stream(
                message, fault, request_id=request_id, delay_s=turn.delay_s, pace_s=turn.pace_s
            )
        return answer_json(message, fault, delay_s=turn.delay_s)

    def _count_tokens(self, _: Request, body: bytes, __: str) -> Answer:
        return answer_json({"input_tokens": check_count(body).tokens})

    def _models(self, request: Request, _: bytes, __: str) -> Answer:
        query = request.query_params
        limit = query.get("limit", "20")
        if not limit.isdecimal() or not 1 <= int(limit) <= 1000:
            raise ApiError("limit: Input should be between 1 and 1000")
        page = list_models(
            limit=int(limit),
            after_id=query.get("after_id"),
            before_id=query.get("before_id"),
            lifecycle=query.getlist("lifecycle[]"),
        )
        return answer_json(page)

    def _model(self, request: Request, _: bytes, __: str) -> Answer:
        model_id = request.path_params["model_id"]
        model = find_model(model_id)
        if model is None:
            raise ApiError(f"model: {model_id}", status=404)
        return answer_json(model.to_wire())

    async def _requests(self, _: Request) -> Response:
        return JSONResponse(self._log.counts())

    async def _no_such_path(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404

        def decide(_: Request, __: bytes, ___: str) -> Answer:
            raise ApiError(
                f"The stand-in has no {request.method} {request.url.path}.",
                status=status,
                error_type="not_found_error" if status == 404 else "invalid_request_error",
            )

        return await self._exchange(request, decide)


def _refuse_size(headers: Mapping[str, str]) -> None:
    if int(headers.get("content-length") or 0) > _BODY_MAX:
        raise ApiError("Request exceeds the maximum size of 32 MB.", status=413)


def _refuse_strangers(headers: Mapping[str, str]) -> None:
    bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
    keys = [key for key in (bearer, headers.get("x-api-key", "").strip()) if key]
    if not keys:
        raise ApiError(f"No key was sent. The stand-in takes {SIMULATED_KEY!r}.", status=401)
    if any(key.startswith("sk-ant-") for key in keys):
        raise ApiError(
            "This is a stand-in for tests, and the key looks like a real one: do not send real"
            f" keys here. Use {SIMULATED_KEY!r}.",
            status=401,
        )
    if "anthropic-version" not in headers:
        raise ApiError("anthropic-version: header is required")
    if headers["anthropic-version"] != API_VERSION:
        raise ApiError(f"anthropic-version: the stand-in speaks {API_VERSION} only")


def _record(request: Request, body: bytes, status: int, request_id: str) -> RequestRecord:
    headers = {k: v for k, v in request.headers.items() if k not in _CREDENTIALS}
    return RequestRecord(
        request.method, request.url.path, MappingProxyType(headers), body, status, request_id
    )


_LIMITS = {
    "requests": 4_000,
    "tokens": 2_400_000,
    "input-tokens": 2_000_000,
    "output-tokens": 400_000,
}


def _headers(request_id: str) -> dict[str, str]:
    """Describe the answer; the rate limits are those of an account that nobody else uses."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers = {
        "request-id": request_id,
        "agentrt-simulated": "true",
        "anthropic-organization-id": "org_sim",
        "anthropic-workspace-id": "wrkspc_sim",
    }
    for name, limit in _LIMITS.items():
        prefix = f"anthropic-ratelimit-{name}"
        headers[f"{prefix}-limit"] = headers[f"{prefix}-remaining"] = str(limit)
        headers[f"{prefix}-reset"] = now
    return headers


class _Server(uvicorn.Server):
    """A uvicorn that starts and stops without its waits of a tenth of a second."""

    def __init__(self, api: _Api, *, on_ready: Callable[[], object]) -> None:
        super().__init__(
            uvicorn.Config(
                api.app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=60,
            )
        )
        self._api = api
        self._on_ready = on_ready
        self._running: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Stop as soon as the loop gets to it; from any thread or a signal handler."""
        self.should_exit = True
        if self._running is not None:
            self._running.call_soon_threadsafe(self._api.closing.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.stop()

    async def main_loop(self) -> None:
        self._running = asyncio.get_running_loop()
        self._on_ready()
        if not self.should_exit:
            await self._api.closing.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # asyncio loses a connection that it accepted just before its server was closed. So it
        # stops accepting first, what it accepted becomes a connection, and that is aborted.
        for listening in sockets or []:
            asyncio.get_running_loop().remove_reader(listening)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            self._abort_connections()
            await asyncio.wait(tasks)
        self._abort_connections()
        # The loop must turn once more for the aborted transports to close their sockets.
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket at once, so that the address is known before anything runs.

    Raises:
        StandInError: The address is not on loopback, or is taken.
    """
    address = _loopback(host)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # asyncio switches Nagle's delay off only for sockets that say they are TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
    except OSError as error:
        listening.close()
        raise StandInError(f"The stand-in cannot listen on {host}:{port}: {error}.") from error
    listening.listen(512)
    return listening


def _loopback(host: str) -> str:
    name = "127.0.0.1" if host == "localhost" else host
    try:
        if ipaddress.ip_address(name).is_loopback:
            return name
    except ValueError:
        pass
    raise StandInError(
        f"The stand-in listens on loopback only, and {host!r} is not: use 127.0.0.1."
    )


def _url(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class ScriptedClaude:
    """A scripted Claude in a thread of this process, for as long as the block lasts.

    ```python
    with ScriptedClaude(script) as claude:
        client = AsyncAnthropic(base_url=claude.url, api_key=SIMULATED_KEY, ...)
    ```

    Raises:
        StandInError: The address is not on loopback, or is taken.
    """

    def __init__(self, script: Script, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._script = script
        self._address = (host, port)
        self._log = RequestLog(kept=True)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Where it listens; the `base_url` of a client."""
        return self._url

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request that has arrived, oldest first."""
        return self._log.records()

    def wait_for_requests(self, wanted: int, *, timeout_s: float = 10) -> None:
        """Wait until so many requests have arrived.

        Raises:
            StandInError: They have not in time.
        """
        if not self._log.wait_for(wanted, timeout_s):
            raise StandInError(
                f"{len(self.requests)} of {wanted} requests arrived in {timeout_s} s."
            )

    def start(self) -> None:
        """Listen; returns when it answers."""
        listening = _listen(*self._address)
        self._url = _url(listening)
        ready = threading.Event()
        server = _Server(_Api(self._script, self._log), on_ready=ready.set)
        self._server = server
        self._thread = threading.Thread(
            target=_run, args=(server, listening), name="scripted-claude", daemon=True
        )
        self._thread.start()
        ready.wait(timeout=10)

    def stop(self) -> None:
        """Stop at once; whatever is still being answered is cut."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)


def _run(server: _Server, listening: socket.socket) -> None:
    logging.getLogger("uvicorn.error").addFilter(_NO_CUTS)
    with listening:
        server.run(sockets=[listening])


def serve(
    script: Script,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    announce: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; `announce` gets the URL once it answers.

    Requests are counted, not kept.

    Raises:
        StandInError: The address is not on loopback, or is taken.
    """
    listening = _listen(host, port)
    api = _Api(script, RequestLog(kept=False))
    _run(_Server(api, on_ready=lambda: announce(_url(listening))), listening)
