"""What a running function may know of the call it serves."""

from dataclasses import dataclass, field
from datetime import datetime
from threading import Event

__all__ = ["Call"]


@dataclass(frozen=True)
class Call:
    """One attempt of one tool call.

    A tool that names a parameter of this type gets it; Claude never sees that parameter.
    """

    id: str
    key: str
    """The idempotency key, `run id:call id`: the same on all attempts."""
    run: str
    user: str | None
    """On whose behalf the run works."""
    attempt: int
    """1 for the first."""
    deadline: datetime
    """When the runtime stops waiting; aware of its time zone."""
    cancel: Event = field(default_factory=Event, repr=False, compare=False)
    """Set by the runtime, seen by the function as `cancelled`."""

    def __post_init__(self) -> None:
        if self.deadline.utcoffset() is None:
            raise ValueError("deadline must be aware of its time zone: give it a tzinfo")

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more: a long function looks here and stops."""
        return self.cancel.is_set()
