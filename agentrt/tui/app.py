"""The app: screens, keys, and the one place where a decision is sent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from textual import events, on, work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.theme import Theme
from textual.widgets import ContentSwitcher, Input

from agentrt.approvals import ApprovalQueue, Shown, Signer
from agentrt.audit import AuditStore, Watch
from agentrt.errors import AgentrtError, NotFound, StoreError
from agentrt.run import explain
from agentrt.tui.approvals_pane import ApprovalsPane
from agentrt.tui.arming import Arming, Key
from agentrt.tui.decision_form import DecisionForm
from agentrt.tui.frame_lines import (
    DECIDE,
    FORM,
    LOOK,
    READ,
    ROOM,
    TOGETHER,
    Standing,
    foot,
    head,
    help_lines,
    no_room,
)
from agentrt.tui.lines import Line, Span, line, ruled, wrap
from agentrt.tui.run_lines import why_lines
from agentrt.tui.runs_pane import RunsPane
from agentrt.tui.signing import Signing
from agentrt.tui.theme import DARK_BACKGROUND, LIGHT_BACKGROUND
from agentrt.tui.widgets import Bar, LineList, LineText
from agentrt.visible import visible

__all__ = ["ReviewApp", "run_app"]

POLL_S = 0.075
"""How often the store is looked at; a look costs microseconds."""

THEMES = (
    Theme("agentrt-dark", primary="#56b4e9", foreground="#e0e0e0", background=DARK_BACKGROUND),
    Theme(
        "agentrt-light",
        primary="#0b5a8a",
        foreground="#1a1a1a",
        background=LIGHT_BACKGROUND,
        dark=False,
    ),
)


def run_app(
    store: AuditStore,
    queue: ApprovalQueue,
    signer: Signer | None,
    *,
    read_only: bool = False,
    at: str | None = None,
    environment: str = "development",
    warning: str | None = None,
) -> None:
    """Show the screens until they are left. `at` is the beginning of a call's or a run's id.

    A `warning` of the store stands above everything. Without a signer, or with `read_only`,
    nothing can be decided. Raises NotFound for `at`, and AgentrtError without a terminal.
    """
    if not (
        sys.__stdin__ and sys.__stdin__.isatty() and sys.__stderr__ and sys.__stderr__.isatty()
    ):
        raise AgentrtError(
            "The review screens need a terminal: they are drawn on standard error and read keys "
            "from standard input. Do not redirect these; `agentrt approvals list` needs none."
        )
    app = ReviewApp(
        store,
        queue,
        signer,
        read_only=read_only,
        at=at,
        environment=environment,
        warning=warning,
    )
    app.run()


class ReviewApp(App[None]):
    """Approvals and runs, live from the store.

    `now` counts seconds for the arming of keys; times of day come from the store's clock.
    """

    TITLE = "agentrt"
    ENABLE_COMMAND_PALETTE = True
    CSS = """
    Screen { background: $background; }
    #panes { height: 1fr; }
    #approvals, #runs, #reading { height: 1fr; }
    #call, #read, #facts, #run-rows { height: 1fr; }
    #run-list, #run-open { height: 1fr; }
    #run-open { width: 1fr; }
    #filter { height: 1; border: none; padding: 0 1; display: none; }
    #too-small { display: none; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "go('approvals')", "Approvals"),
        Binding("2", "go('runs')", "Runs"),
        Binding("a", "decide('approve')", "Approve"),
        Binding("d", "decide('reject')", "Reject"),
        Binding("A", "decide('approve', True)", "Approve all that belong together"),
        Binding("D", "decide('reject', True)", "Reject all that belong together"),
        Binding("w", "why", "Why"),
        Binding("y", "copy", "Copy id"),
        Binding("slash", "filter", "Filter"),
        Binding("full_stop", "merge", "Merge"),
        Binding("escape", "back", "Back"),
        Binding("question_mark", "help", "Help"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(
        self,
        store: AuditStore,
        queue: ApprovalQueue,
        signer: Signer | None,
        *,
        read_only: bool = False,
        at: str | None = None,
        environment: str = "development",
        warning: str | None = None,
        now: Callable[[], float] = time.monotonic,
        poll_s: float = POLL_S,
    ) -> None:
        super().__init__()
        self._store = store
        self._environment = environment
        self._warning = warning
        self._now = now
        self._poll_s = poll_s
        self._signing = Signing.of(queue, signer, read_only=read_only)
        self._at = _place(store, at)
        self._watch: Watch | None = None
        self._unread = True
        self._fresh_at = now()
        self._trouble: str | None = None
        self._arming = Arming()
        self._key = Key()
        self._notice: tuple[str, str] | None = None
        self._sending = False
        self._second = -1
        self._before_reading = "approvals"
        self._from_approvals = False
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name

    def compose(self) -> ComposeResult:
        """Warning, head, panes, form, message, foot."""
        yield Bar(id="warning")
        yield Bar(id="head")
        with ContentSwitcher(id="panes", initial="approvals"):
            yield ApprovalsPane(self._store, self._signing)
            yield RunsPane(self._store)
            with Vertical(id="reading"):
                yield Bar(id="read-title")
                yield LineText(id="read")
        yield Bar(id="too-small")
        yield DecisionForm(self._now)
        yield Input(id="filter", placeholder="words that must all occur", compact=True)
        yield Bar(id="status")
        yield Bar(id="foot")

    def on_mount(self) -> None:
        """Read the store, go where `at` says, and begin to look for changes."""
        self._fit()
        self.poll()
        self.query_one("#queue", LineList).focus()
        if self._at is not None:
            self._open_place(*self._at)
        self.set_interval(self._poll_s, self.poll)

    def on_unmount(self) -> None:
        """Let the store go."""
        if self._watch is not None:
            self._watch.close()

    # --- parts ----------------------------------------------------------------------------

    @property
    def approvals(self) -> ApprovalsPane:
        """The screen of held calls."""
        return self.query_one(ApprovalsPane)

    @property
    def runs(self) -> RunsPane:
        """The screen of runs."""
        return self.query_one(RunsPane)

    @property
    def form(self) -> DecisionForm:
        """The form of a decision."""
        return self.query_one(DecisionForm)

    @property
    def pane(self) -> str:
        """Which screen is shown: `approvals`, `runs` or `reading`."""
        return self.query_one("#panes", ContentSwitcher).current or "approvals"

    # --- live -----------------------------------------------------------------------------

    def poll(self) -> None:
        """Look at the store and the clock once, and draw what has changed."""
        if not self.is_running:  # the screens are being taken down
            return
        with self._asking():
            if self._watch is None:
                self._watch = self._store.watch()
            if self._watch.changed() or self._unread:
                self._read()
            self._count_down()
            self._fresh_at, self._trouble = self._now(), None
        self._see()
        self._close_overtaken_form()
        self._draw_frame()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask the store; when it does not answer, that is said and keys are off."""
        try:
            yield
        except (StoreError, NotFound) as error:
            self._lose(str(error))

    def _read(self) -> None:
        """Read everything again; what fails is read again at the next look."""
        self._unread = True
        self.approvals.read()
        self.runs.read()
        self._unread = False

    def _lose(self, why: str) -> None:
        self._trouble = why
        self._unread = True
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _count_down(self) -> None:
        """Draw what time alone changes, once a second."""
        second = self._store.clock() // 1000
        if second != self._second:
            self._second = second
            self.approvals.draw_queue()
            self.runs.draw_list()
        self.approvals.draw_title()

    def _see(self) -> None:
        """Note what is in view now, as far as decisions depend on it."""
        in_view = self.pane == "approvals" and len(self.screen_stack) == 1 and self._has_room
        subject = (self.approvals.subject, self.size) if in_view else None
        self._arming = self._arming.seeing(subject, at=self._now())

    def _close_overtaken_form(self) -> None:
        """A form speaks of the call as it was when it was opened, or it goes."""
        written = self.form.shown
        if not written or self._sending:
            return
        why = self.approvals.why_not(self._store.clock(), all_together=len(written) > 1)
        if _as_shown(self._to_decide(all_together=len(written) > 1)) != _as_shown(written):
            why = f"{written[0].call.id} has changed since it was shown: look at it again."
        if why is not None:
            self._close_form()
            self._say(f"Nothing was sent. {why}", "bad")

    # --- draw -----------------------------------------------------------------------------

    @property
    def _has_room(self) -> bool:
        return self.size.width >= ROOM[0] and self.size.height >= ROOM[1]

    def _fit(self) -> None:
        """Give every part the room that this terminal has for it."""
        room = self._has_room
        self.query_one("#panes").display = room
        small = self.query_one("#too-small", Bar)
        small.display = not room
        small.show(*no_room(*self.size))
        self.query_one("#queue").styles.height = max(3, (self.size.height - 8) // 3)

    def on_resize(self, _event: events.Resize) -> None:
        """Draw anew for another size."""
        self._fit()
        with self._asking():
            self.approvals.draw()
            self.runs.draw()
        self.form.draw()
        self._see()
        self._draw_frame()

    def _draw_frame(self) -> None:
        width = self.size.width
        warned = wrap(self._warning, width) if self._warning else []
        self.query_one("#warning", Bar).show(*(line(Span(text, "alarm")) for text in warned))
        self.query_one("#head", Bar).show(head(self._standing(), width))
        self.query_one("#status", Bar).show(*self._status(width))
        self.query_one("#foot", Bar).show(foot(self._keys(), width))

    def _standing(self) -> Standing:
        stale_s = None if self._trouble is None else self._now() - self._fresh_at
        return Standing(
            screen=self.pane if self.pane != "reading" else self._before_reading,
            held=self.approvals.held,
            runs=self.runs.active,
            environment=self._environment,
            reviewer=self._signing.name,
            stale_s=stale_s,
            now=self._store.clock(),
        )

    def _keys(self) -> tuple[tuple[str, str], ...]:
        if self.form.is_open:
            return FORM
        if not self._has_room:
            return READ[-1:]
        if self.pane == "reading":
            return READ
        if self.pane == "runs":
            return (LOOK[0], READ[0], *LOOK[1:])
        if not self._signing.reviewer:
            return LOOK
        return (*DECIDE, *(TOGETHER if len(self.approvals.group) > 1 else ()), *LOOK)

    def _status(self, width: int) -> list[Line]:
        """The message line: trouble, then what was just said, then whether keys are armed."""
        if self._trouble is not None:
            return _said(f"{self._trouble} Keys are off.", "alarm", width)
        if self._notice is not None:
            return _said(*self._notice, width)
        if self.pane != "approvals" or self.approvals.shown is None:
            return [line()]
        why = self._why_not()
        text = "armed    in view, in focus, unchanged" if why is None else f"not armed: {why}"
        return _said(text, "ok" if why is None else "dim", width)

    def _say(self, text: str, style: str = "text") -> None:
        self._notice = (text, style)
        self._draw_frame()

    # --- keys -----------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Note every key and paste before anything acts on it."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            self._key = self._key.then(event.key, at=self._now())
            # Some terminals tell that they lost the focus and not that it came back: a key shows
            # it did, and counts for nothing itself.
            if self._arming.is_blurred:
                self._arming = self._arming.focused(at=self._now())
            self._notice = None
        elif isinstance(event, events.Paste) and not event.is_forwarded:
            self._arming = self._arming.pasted(at=self._now())
        await super().on_event(event)

    def on_app_focus(self, _event: events.AppFocus) -> None:
        """The terminal came back."""
        self._arming = self._arming.focused(at=self._now())

    def on_app_blur(self, _event: events.AppBlur) -> None:
        """The terminal was left: nothing typed there is meant for here."""
        self._arming = self._arming.blurred()

    def action_go(self, pane: str) -> None:
        """Show a screen."""
        self._close_form()
        self._from_approvals = False
        self._show(pane)

    async def action_back(self) -> None:
        """One step back. It never decides."""
        if self.form.is_open:
            self._close_form()
        elif self.query_one("#filter").display:
            self._close_filter(keep=False)
        elif self.pane == "reading":
            self._show(self._before_reading)
        elif self.pane == "runs" and self._from_approvals:
            self.action_go("approvals")
        elif self.pane == "runs" and self.runs.opened:
            self.runs.close()

    def action_help(self) -> None:
        """All keys."""
        self._read_out(line(Span("keys", "strong")), help_lines(self.size.width))

    def action_why(self) -> None:
        """The recorded facts behind the call in view."""
        shown = self.approvals.shown if self.pane == "approvals" else None
        call = shown.call.id if shown else self.runs.call if self.pane == "runs" else None
        if call is None:
            self._say("There is no call here to ask about: move to one.")
            return
        run = shown.run.id if shown else self.runs.id_in_view or ""
        with self._asking():
            told = explain(self._store.records(run), call)
            lines = list(why_lines(told, width=self.size.width - 1))
            self._read_out(line(Span(f"why {call}", "strong")), lines)

    def action_copy(self) -> None:
        """Copy the id of what is under the cursor."""
        copied = self._id_under_cursor()
        if copied is not None:
            self.copy_to_clipboard(copied)
            self._say(f"copied {copied}")

    def _id_under_cursor(self) -> str | None:
        if self.pane == "approvals":
            return self.approvals.shown.call.id if self.approvals.shown else None
        call = self.runs.call if self.runs.opened else None
        return call or self.runs.id_in_view

    def action_merge(self) -> None:
        """Let in what waits above."""
        with self._asking():
            if self.pane == "approvals":
                self.approvals.merge()
            elif self.pane == "runs":
                self.runs.merge()

    def action_filter(self) -> None:
        """Filter the list as it is typed."""
        if self.pane in ("approvals", "runs"):
            field = self.query_one("#filter", Input)
            field.display = True
            field.value = self.approvals.words if self.pane == "approvals" else self.runs.words
            field.focus()

    def action_decide(self, verdict: str, all_together: bool = False) -> None:
        """Open the form, if the key is armed. Nothing is decided by it."""
        if self.pane != "approvals" or self.approvals.shown is None:
            self._say("Decisions are taken on the approvals screen: 1.")
            return
        if all_together and len(self.approvals.group) == 1:
            self._say("This call belongs together with no other that is held: a, d.")
            return
        why = self._key.why_not or self._why_not(all_together=all_together)
        if why is not None:
            self._say(f"Not armed: {why}", "medium")
            return
        self.form.open(self._to_decide(all_together=all_together), verdict, key=self._key)
        self._draw_frame()

    def _to_decide(self, *, all_together: bool) -> tuple[Shown, ...]:
        shown = self.approvals.shown
        return self.approvals.group if all_together or shown is None else (shown,)

    def _why_not(self, *, all_together: bool = False) -> str | None:
        """Why no decision key counts now."""
        if not self._has_room:
            return "there is too little room"
        if self._trouble is not None:
            return "the store does not answer"
        if self._sending:
            return "a decision is being signed"
        self._see()
        obstacle = self.approvals.why_not(self._store.clock(), all_together=all_together)
        return obstacle or self._arming.why_not(at=self._now())

    # --- decide ---------------------------------------------------------------------------

    @on(DecisionForm.Refused)
    def _form_refused(self, message: DecisionForm.Refused) -> None:
        self._say(f"Not sent: {message.why}", "medium")

    @on(DecisionForm.Committed)
    def _form_committed(self, message: DecisionForm.Committed) -> None:
        why = self._why_not(all_together=len(message.shown) > 1)
        if why is not None:
            self._say(f"Not sent: {why}", "medium")
            return
        self._send(message.shown, message.verdict, message.reason)

    @work(group="decision")
    async def _send(self, shown: tuple[Shown, ...], verdict: str, reason: str) -> None:
        """Sign and append, away from the screen: a key may have to be unlocked or touched."""
        self._sending = True
        self._say("signing ...", "dim")
        try:
            await self._signing.send(shown, verdict, reason=reason, aside=self.suspend)
        except AgentrtError as error:
            self._say(f"Nothing was decided. {error}", "bad")
        else:
            word = "approved" if verdict == "approve" else "rejected"
            what = shown[0].call.id if len(shown) == 1 else f"{len(shown)} calls"
            self._say(f"{what} {word}: recorded with your signature.", "ok")
        finally:
            self._sending = False
            self._close_form()
        self._unread = True

    # --- move -----------------------------------------------------------------------------

    @on(LineList.Moved)
    def _moved(self, message: LineList.Moved) -> None:
        with self._asking():
            match message.list.id:
                case "queue":
                    self.approvals.select(message.key)
                case "run-rows":
                    self.runs.select(message.key)
                case "facts":
                    self.runs.select_fact(message.key)
        self._see()
        self._draw_frame()

    @on(LineList.Opened)
    def _opened(self, message: LineList.Opened) -> None:
        match message.list.id:
            case "queue":
                self._open_run_of_call()
            case "run-rows":
                self.runs.open()
            case "facts":
                self.action_why()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, message: Input.Changed) -> None:
        if self.query_one("#filter").display:
            self._filter(message.value)

    @on(Input.Submitted, "#filter")
    def _filter_done(self, _message: Input.Submitted) -> None:
        self._close_filter(keep=True)

    def _close_filter(self, *, keep: bool) -> None:
        self.query_one("#filter").display = False
        if not keep:
            self._filter("")
        self._show(self.pane)

    def _filter(self, words: str) -> None:
        with self._asking():
            (self.approvals if self.pane == "approvals" else self.runs).filter(words)

    def _open_run_of_call(self) -> None:
        shown = self.approvals.shown
        if shown is not None:
            self._show("runs")
            self._from_approvals = True
            with self._asking():
                self.runs.open(shown.run.id, call=shown.call.id)

    def _open_place(self, run: str, call: str | None) -> None:
        if call is None or not self.approvals.go_to(call):
            self._show("runs")
            with self._asking():
                self.runs.open(run, call=call)

    def _show(self, pane: str) -> None:
        self.query_one("#panes", ContentSwitcher).current = pane
        focus = {"approvals": "#queue", "runs": "#run-rows", "reading": "#read"}[pane]
        if pane == "runs" and self.runs.opened:
            focus = "#facts"
        self.query_one(focus).focus()
        self._see()
        self._draw_frame()

    def _read_out(self, title: Line, lines: list[Line]) -> None:
        self._close_form()
        if self.pane != "reading":
            self._before_reading = self.pane
        self.query_one("#read-title", Bar).show(ruled(title, self.size.width))
        self.query_one("#read", LineText).show(lines, anew=True)
        self._show("reading")

    def _close_form(self) -> None:
        if self.form.is_open:
            self.form.close()
            self._show(self.pane)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: never a decision."""
        yield SystemCommand(
            "Approvals: show", "The calls that wait", lambda: self.action_go("approvals")
        )
        yield SystemCommand("Runs: show", "Every run", lambda: self.action_go("runs"))
        yield SystemCommand("Help: keys", "All keys", self.action_help)
        yield from super().get_system_commands(screen)


def _place(store: AuditStore, at: str | None) -> tuple[str, str | None] | None:
    """The run and call that an id begins. Raises NotFound."""
    if at is None:
        return None
    try:
        call = store.find_call(at)
    except NotFound:
        return store.find_run(at), None
    return call.run, call.id


def _as_shown(decided: Iterable[Shown]) -> list[tuple[str, int]]:
    """What tells whether these are still the calls that were shown."""
    return [(shown.call.id, shown.call.revision) for shown in decided]


def _said(text: str, style: str, width: int) -> list[Line]:
    return [line(Span(f" {row}", style)) for row in wrap(visible(text), width - 2)]
