"""The screen of held calls: the queue above, the call under the cursor in full below."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from textual.app import ComposeResult
from textual.containers import Vertical

from agentrt.approvals import Shown, together
from agentrt.approvals.verdicts import check_may_decide, standing
from agentrt.audit import AuditStore, CallRow
from agentrt.errors import ApprovalError
from agentrt.policy import Reviewer
from agentrt.tui.arming import reason_min
from agentrt.tui.call_lines import CallText, call_text, call_title
from agentrt.tui.lines import line
from agentrt.tui.queue_lines import (
    call_row,
    column_heads,
    empty_queue,
    matches,
    outcome,
    queue_summary,
)
from agentrt.tui.signing import Signing
from agentrt.tui.steady import Steady
from agentrt.tui.widgets import Bar, LineList, LineText

__all__ = ["ApprovalsPane"]


class ApprovalsPane(Vertical):
    """What waits for a person, and whether this person may decide it now."""

    def __init__(self, store: AuditStore, signing: Signing) -> None:
        super().__init__(id="approvals")
        self._store = store
        self._queue = signing.queue
        self._reviewer = signing.reviewer
        self._nobody = signing.nobody
        self._held: list[CallRow] = []
        self._steady: Steady[CallRow] = Steady()
        self._text = CallText()
        self._drawn: tuple[Hashable, int, int] | None = None
        self._policies: dict[str, Mapping[str, str] | None] = {}
        self.shown: Shown | None = None
        self.words = ""

    def compose(self) -> ComposeResult:
        """Summary, heads, list, and the call."""
        yield Bar(id="queue-summary")
        yield Bar(id="queue-heads")
        yield LineList(id="queue")
        yield Bar(id="call-title")
        yield LineText(id="call")

    # --- what it holds --------------------------------------------------------------------

    @property
    def held(self) -> int:
        """How many calls are held, shown or not."""
        return len(self._held)

    @property
    def group(self) -> tuple[Shown, ...]:
        """The call under the cursor and the held ones that belong together with it."""
        return together(self.shown) if self.shown else ()

    @property
    def subject(self) -> Hashable:
        """What is in view, as far as a decision depends on it."""
        calls = [shown.call for shown in self.group]
        return tuple((each.id, each.revision, each.status, len(each.approvals)) for each in calls)

    def read(self) -> None:
        """Read the queue, and what has become of the call under the cursor."""
        self._held = self._queue.held()
        self._steady = self._steady.updated(self._matching())
        self._show_selected()

    def merge(self) -> None:
        """Let in what waits above, and drop what was decided."""
        self._steady = self._steady.merged(self._matching())
        self._show_selected()

    def filter(self, words: str) -> None:
        """Keep the calls in which every word occurs."""
        self.words = words
        self.merge()

    def select(self, call: str) -> None:
        """Move the cursor to a call of the queue."""
        if call != self._steady.selected:
            self._steady = self._steady.moved(call)
            self._show_selected()

    def go_to(self, call: str) -> bool:
        """Move the cursor to a call, if it is held."""
        if all(row.id != call for row in self._steady.rows):
            return False
        self.select(call)
        return True

    def why_not(self, now: int, *, all_together: bool = False) -> str | None:
        """Why the call under the cursor cannot be decided from here, whatever is pressed.

        Or not `all_together` with those that belong to it.
        """
        if self.shown is None:
            return "there is no call to decide"
        if self._reviewer is None:
            return self._nobody
        decided = self.group if all_together else (self.shown,)
        obstacles = (self._forbidden(shown, self._reviewer, now) for shown in decided)
        return next((why for why in obstacles if why), None) or self._unread(decided)

    def _matching(self) -> list[CallRow]:
        return [row for row in self._held if matches(row, self.words)]

    def _show_selected(self) -> None:
        selected = self._steady.selected
        if selected is None:
            self.shown = None
        elif self.shown is None or self.shown.call.id != selected:
            self.shown = self._queue.view(selected)
        else:
            run = self._store.catch_up(self.shown.run)
            self.shown = replace(self.shown, run=run, call=run.call(selected) or self.shown.call)
        self.draw()

    def _forbidden(self, shown: Shown, reviewer: Reviewer, now: int) -> str | None:
        if shown.call.status != "held":
            return standing(shown.run, shown.call)
        try:
            # Whether there is a reason is asked in the form.
            check_may_decide(shown.run, shown.call, reviewer, reason="later", at=now)
        except ApprovalError as error:
            return str(error)
        return None

    def _unread(self, decided: Sequence[Shown]) -> str | None:
        seen = self.query_one("#call", LineText).seen
        if len(decided) > 1 and seen < self._text.group_end:
            return "not all of the calls have been shown: tab, then page down"
        if reason_min(decided, "approve") > 1 and seen < self._text.arguments_end:
            return "the last line of the arguments has not been shown: tab, then page down"
        return None

    # --- draw -----------------------------------------------------------------------------

    def draw(self) -> None:
        """Draw everything as it is now."""
        self.draw_queue()
        self._draw_call()
        self.draw_title()

    def draw_queue(self) -> None:
        """Draw the list with its countdowns."""
        now, width = self._store.clock(), self.app.size.width
        view = self._steady
        items = [
            (row.id, (call_row(row, now=now, width=width - 1, outcome=self._outcome(row)),))
            for row in view.rows
        ]
        summary = queue_summary(
            self._held, newer=len(view.newer), now=now, width=width, filtered=self.words
        )
        self.query_one("#queue-summary", Bar).show(summary)
        self.query_one("#queue-heads", Bar).show(column_heads(width))
        empty = () if items else empty_queue(filtered=self.words, last=self._last(), now=now)
        self.query_one("#queue", LineList).show(items, selected=view.selected, empty=empty)

    def draw_title(self) -> None:
        """Draw the title of the call with its countdown."""
        width = self.app.size.width
        more = self.query_one("#call", LineText).unread
        title = (
            call_title(self.shown, now=self._store.clock(), width=width, more=more)
            if self.shown
            else line()
        )
        self.query_one("#call-title", Bar).show(title)

    def _draw_call(self) -> None:
        width = self.app.size.width
        text = self.query_one("#call", LineText)
        if self.shown is None:
            self._text, self._drawn = CallText(), None
            text.show((), anew=True)
            return
        before, self._drawn = self._drawn, (self.subject, width, self.shown.run.seq)
        if self._drawn == before:
            return
        same = before is not None and before[:2] == self._drawn[:2]
        self._text = call_text(
            self.shown, policy=self._policy(self.shown.call.bundle), may=self._may(), width=width
        )
        text.show(self._text.lines, anew=not same)

    def _may(self) -> str | None:
        if self.shown is None or self._reviewer is None:
            return self._nobody
        return self._forbidden(self.shown, self._reviewer, self._store.clock())

    def _policy(self, bundle: str) -> Mapping[str, str] | None:
        if bundle not in self._policies:
            self._policies[bundle] = self._store.bundle(bundle)
        return self._policies[bundle]

    def _outcome(self, row: CallRow) -> str | None:
        if row.id not in self._steady.gone:
            return None
        return outcome(self._store.find_call(row.id), self._store.approvals(row.id))

    def _last(self) -> tuple[int, str] | None:
        """When the last decision of a person was taken, and what it was."""
        said = self._store.last_approval()
        words = {"approve": "was approved by", "reject": "was rejected by"}
        return None if said is None else (said.at, f"{words[said.verdict]} {said.by}")
