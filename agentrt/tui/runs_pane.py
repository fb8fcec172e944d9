"""The screen of runs: the list, and the run under the cursor as the facts it is made of."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from agentrt.audit import AuditStore, RunRow
from agentrt.events import Record
from agentrt.run import Run, evolve
from agentrt.tui.lines import Span, line
from agentrt.tui.run_lines import (
    call_of,
    empty_runs,
    matches,
    run_facts,
    run_heads,
    run_row,
    run_title,
)
from agentrt.tui.steady import Steady
from agentrt.tui.widgets import Bar, LineList

__all__ = ["RunsPane"]

RUNS_MAX = 500
"""The list holds so many of the newest runs; it says so when there are more."""

BOTH = (110, 30)
"""From so many columns and rows on, the run stands below the list."""


class RunsPane(Vertical):
    """Runs, newest first, and one of them, live. Narrow terminals show one or the other."""

    def __init__(self, store: AuditStore) -> None:
        super().__init__(id="runs")
        self._store = store
        self._rows: list[RunRow] = []
        self._steady: Steady[RunRow] = Steady()
        self._records: list[Record] = []
        self._run: Run | None = None
        self._fact: str | None = None
        self.words = ""
        self.opened = False
        """Whether the keys are in the run, not in the list."""

    def compose(self) -> ComposeResult:
        """The list, and the run."""
        with Vertical(id="run-list"):
            yield Bar(id="run-heads")
            yield LineList(id="run-rows")
        with Vertical(id="run-open"):
            yield Bar(id="run-title")
            yield LineList(id="facts")

    # --- what it holds --------------------------------------------------------------------

    @property
    def active(self) -> int:
        """How many of the runs are not over."""
        return sum(row.status in ("running", "waiting") for row in self._rows)

    @property
    def id_in_view(self) -> str | None:
        """The run that is shown."""
        return self._steady.selected

    @property
    def call(self) -> str | None:
        """The call that the fact under the cursor speaks of."""
        record = next((record for record in self._records if str(record.seq) == self._fact), None)
        return call_of(record) if record is not None else None

    @property
    def records(self) -> list[Record]:
        """The records of the run that is shown."""
        return self._records

    def read(self) -> None:
        """Read the runs, and what is new of the one that is shown."""
        self._rows = self._store.runs(limit=RUNS_MAX)
        self._steady = self._steady.updated(self._matching())
        self._show_selected()

    def merge(self) -> None:
        """Let in the runs that wait above."""
        self._steady = self._steady.merged(self._matching())
        self._show_selected()

    def filter(self, words: str) -> None:
        """Keep the runs in which every word occurs."""
        self.words = words
        self.merge()

    def select(self, run: str) -> None:
        """Move the cursor to a run."""
        if run != self._steady.selected:
            self._steady = self._steady.moved(run)
            self._show_selected()

    def open(self, run: str | None = None, *, call: str | None = None) -> None:
        """Put the keys into the run; with `call`, at the newest fact about that call."""
        if run is not None:
            self._add_missing(run)
            self.select(run)
        self.opened = True
        about = [record for record in self._records if getattr(record.event, "call", None) == call]
        if call is not None and about:
            self._fact = str(about[-1].seq)
        self.draw()
        self.query_one("#facts", LineList).focus()

    def close(self) -> None:
        """Back to the list."""
        self.opened = False
        self.draw()
        self.query_one("#run-rows", LineList).focus()

    def select_fact(self, key: str) -> None:
        """Move the cursor in the run."""
        self._fact = key

    def _matching(self) -> list[RunRow]:
        return [row for row in self._rows if matches(row, self.words)]

    def _add_missing(self, run: str) -> None:
        """A run that is asked for by its id is shown though the list does not hold it."""
        if all(row.id != run for row in self._steady.rows):
            self.words = ""
            extra = [] if any(row.id == run for row in self._rows) else self._store.runs(ids=(run,))
            self._rows = [*self._rows, *extra]
            self._steady = self._steady.merged(self._rows)

    def _show_selected(self) -> None:
        selected = self._steady.selected
        if selected is None:
            self._run, self._records, self._fact = None, [], None
        elif self._run is None or self._run.id != selected:
            self._run, self._records, self._fact = Run(selected), [], None
        if self._run is not None:
            self._catch_up(self._run)
        self.draw()

    def _catch_up(self, run: Run) -> None:
        newer = self._store.records(run.id, after=run.seq)
        for record in newer:
            run = evolve(run, record)
        self._run = run
        self._records = [*self._records, *newer]
        if self._fact is None and self._records:
            self._fact = str(self._records[0].seq)

    # --- draw -----------------------------------------------------------------------------

    @property
    def _both(self) -> bool:
        columns, rows = BOTH
        return self.app.size.width >= columns and self.app.size.height >= rows

    def draw(self) -> None:
        """Draw everything as it is now."""
        self.query_one("#run-list").display = self._both or not self.opened
        self.query_one("#run-open").display = self._both or self.opened
        self.query_one("#run-list").styles.height = "1fr" if not self._both else "35%"
        self.draw_list()
        self._draw_run()

    def draw_list(self) -> None:
        """Draw the list with the ages of the runs."""
        now = self._store.clock()
        width = self.app.size.width
        view = self._steady
        items = [(row.id, (run_row(row, now=now, width=width - 1),)) for row in view.rows]
        heads = [run_heads(width)]
        if view.newer:
            heads.append(line(Span(f"   {len(view.newer)} newer above   . merge", "key")))
        elif len(self._rows) >= RUNS_MAX:
            heads.append(line(Span(f"   the newest {RUNS_MAX}; agentrt runs has all", "dim")))
        self.query_one("#run-heads", Bar).show(*heads)
        empty = () if items else empty_runs(self.words)
        self.query_one("#run-rows", LineList).show(items, selected=view.selected, empty=empty)

    def _draw_run(self) -> None:
        width = self.app.size.width
        title = run_title(self._run, width=width) if self._run else line()
        self.query_one("#run-title", Bar).show(title)
        items = list(run_facts(self._records, width=width - 1))
        self.query_one("#facts", LineList).show(items, selected=self._fact)
