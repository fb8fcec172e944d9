"""A doorbell: it says that a run can go on, and nothing else."""

from __future__ import annotations

from typing import ClassVar, Protocol

from sqlalchemy import Connection

__all__ = ["Bell"]


class Bell(Protocol):
    """Rung by the store when an append leaves a run that could go on and that nobody carries.

    It may be lost, late or doubled: whoever hears it looks at the store, which knows.
    """

    in_transaction: ClassVar[bool]
    """Whether it is rung on the append's own connection, and so heard only if that commits."""

    def wake(self, run: str, connection: Connection | None = None) -> None:
        """Say that the run can go on: in the transaction of `connection`, else at once.

        Called from any thread; it must not wait for anything but the database.
        """
