"""Files of keys: written whole or not at all, and never over another."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

__all__ = ["put_whole"]


def put_whole(path: Path, data: bytes, *, mode: int) -> bool:
    """Put a file there; False when the name is taken, and then nothing changes. Raises OSError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        os.link(draft, path)  # which refuses a name that is taken
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            draft.unlink()
    return True
