"""Which run follows which: does a follow-up go on with what its parent really came to?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentrt.audit.records import record_hash
from agentrt.events import Record, RunStarted
from agentrt.run import Run, evolve
from agentrt.run.follow_up import messages_of
from agentrt.run.state import Trail

__all__ = ["Lineage"]


class Lineage:
    """The ends of runs that a walk over records came by, for those that follow them."""

    def __init__(self) -> None:
        self._ends: dict[str, dict[str, Trail[bytes]]] = {}
        """Per run, the conversation at each of its ends, by the hash of the record there."""
        self._partial: set[str] = set()
        """Runs of which content is gone: what was said there cannot be compared."""

    def note(self, run: Run, record: Record) -> None:
        """Remember `run` as it stands with `record`, if it is over there."""
        if record.forgotten:
            self._partial.add(run.id)
        if run.over:
            ends = self._ends.setdefault(run.id, {})
            ends[record_hash(record.header).hex()] = run.messages

    def learn(self, records: Iterable[Record]) -> None:
        """Come by all records of a run."""
        run: Run | None = None
        for record in records:
            run = evolve(run or Run(record.run), record)
            self.note(run, record)

    def wrong_with(self, record: Record) -> Iterator[str]:
        """What a record says of a run before it, and no runtime can have written."""
        event = record.event
        if not isinstance(event, RunStarted) or not _follows(record, event):
            return
        said = self._ends.get(event.parent or "", {}).get(event.parent_head or "")
        if said is None:
            yield f"the record of {event.parent} that it follows is not there, or is no end of it"
        elif event.parent in self._partial or "history" in record.forgotten:
            return
        elif list(said) != messages_of(event.history or b"[]"):
            yield f"its history is not what was said in {event.parent}, which it follows"


def _follows(record: Record, event: RunStarted) -> bool:
    said = (event.parent, event.parent_head, event.history)
    return any(value is not None for value in said) or "history" in record.forgotten
