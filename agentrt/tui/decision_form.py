"""The form that a decision is committed in: its reason, and for a critical call what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input

from agentrt.approvals import Shown, group_digest
from agentrt.tui.arming import (
    CONFIRMED_DIGITS,
    VIEW_S,
    Arming,
    Key,
    confirmation,
    reason_min,
    severest,
)
from agentrt.tui.lines import Line, Span, line, ruled
from agentrt.tui.theme import risk
from agentrt.tui.widgets import Bar
from agentrt.visible import visible

__all__ = ["DecisionForm"]

LABEL = 34


class Field(Input):
    """A line of the form. The key that opened the form does not write into it while held."""

    def __init__(self, *, id: str, pasteable: bool) -> None:
        super().__init__(id=id, compact=True, select_on_focus=False)
        self.cursor_blink = False
        self._pasteable = pasteable

    def on_key(self, event: events.Key) -> None:
        """Enter commits, here and not later, so that it is judged by its own moment."""
        form = self.query_ancestor(DecisionForm)
        if not form.takes(event.key):
            event.prevent_default()
            event.stop()
        elif event.key == "enter":
            event.prevent_default()
            event.stop()
            form.commit()

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted is a reason at most, and starts the form's time anew."""
        self.query_ancestor(DecisionForm).pasted()
        if not self._pasteable:
            event.prevent_default()
            event.stop()


class DecisionForm(Vertical):
    """Asks for what a decision needs. `esc` leaves it; only `enter` in it commits."""

    DEFAULT_CSS = """
    DecisionForm { height: auto; display: none; }
    DecisionForm Horizontal { height: 1; }
    DecisionForm Input { width: 1fr; height: 1; border: none; padding: 0 1; }
    DecisionForm #reason-label, DecisionForm #confirm-label { width: 34; height: 1; }
    """

    class Committed(Message):
        """The form was filled in and committed, on all calls that were shown for it."""

        def __init__(self, shown: tuple[Shown, ...], verdict: str, reason: str) -> None:
            super().__init__()
            self.shown = shown
            self.verdict = verdict
            self.reason = reason

    class Refused(Message):
        """`enter` did not commit, and why."""

        def __init__(self, why: str) -> None:
            super().__init__()
            self.why = why

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(id="form")
        self._now = now
        self._key = Key()
        self._opener: str | None = None
        self._arming = Arming()
        self.shown: tuple[Shown, ...] = ()
        """The call that the decision is on, or the calls that belong together."""
        self.verdict = ""

    def compose(self) -> ComposeResult:
        """A title and two fields."""
        yield Bar(id="form-title")
        with Horizontal(id="reason-row"):
            yield Bar(id="reason-label")
            yield Field(id="reason", pasteable=True)
        with Horizontal(id="confirm-row"):
            yield Bar(id="confirm-label")
            yield Field(id="confirm", pasteable=False)

    @property
    def is_open(self) -> bool:
        """Whether a decision is being written."""
        return bool(self.shown)

    def open(self, shown: Sequence[Shown], verdict: str, *, key: Key) -> None:
        """Ask for what `verdict` needs on the calls shown; `key` is the one that opened it."""
        self.shown, self.verdict = tuple(shown), verdict
        self._key, self._opener = key, key.name
        self._arming = Arming().seeing(shown[0].call.id, at=self._now())
        for field in self.query(Field):
            field.value = ""
        self.query_one("#reason-label", Bar).show(_reason_label(reason_min(shown, verdict)))
        self.query_one("#confirm-label", Bar).show(
            line(Span(" end of the digest, retyped  ", "label"))
        )
        self.query_one("#confirm-row").display = bool(confirmation(shown, verdict))
        self.display = True
        self.draw()
        self.query_one("#reason", Input).focus()

    def close(self) -> None:
        """Leave without a decision."""
        self.shown = ()
        self.display = False

    def draw(self) -> None:
        """Draw the title at the present width."""
        if self.shown:
            title = _title(self.shown, self.verdict, self.app.size.width)
            self.query_one("#form-title", Bar).show(title)

    def takes(self, name: str) -> bool:
        """Whether a key is meant for the form, not a repeat of the one that opened it."""
        self._key = self._key.then(name, at=self._now())
        if name == self._opener and self._key.repeated:
            return False
        self._opener = None
        return True

    def pasted(self) -> None:
        """A paste is no typing: `enter` waits again."""
        self._arming = self._arming.pasted(at=self._now())

    def commit(self) -> None:
        """Send the decision if it is complete and `enter` was meant."""
        if not self.shown:
            return
        why = self._key.why_not or self._why_not()
        if why is not None:
            self.post_message(self.Refused(why))
            return
        reason = self.query_one("#reason", Input).value.strip()
        self.post_message(self.Committed(self.shown, self.verdict, reason))

    def _why_not(self) -> str | None:
        if self._arming.why_not(at=self._now()) is not None:
            return f"the form takes enter after {VIEW_S} s: read once more, press it again"
        least = reason_min(self.shown, self.verdict)
        if len(self.query_one("#reason", Input).value.strip()) < least:
            self.query_one("#reason", Input).focus()
            return f"a reason of at least {least} characters is needed"
        typed = self.query_one("#confirm", Input).value.strip()
        if typed != confirmation(self.shown, self.verdict):
            self.query_one("#confirm", Input).focus()
            return "the last 6 characters of the digest, as shown, must be typed"
        return None


def _reason_label(least: int) -> Line:
    need = "optional" if not least else "needed" if least == 1 else f"needed, at least {least}"
    return line(Span(" reason ", "label"), Span(f"({need})", "dim"))


def _title(shown: Sequence[Shown], verdict: str, width: int) -> Line:
    mark = risk(severest(shown))
    style = "ok" if verdict == "approve" else "bad"
    title = (
        Span(verdict.upper(), style),
        Span(f" {_what(shown)}  ", "strong"),
        Span(" ".join(mark.text.split()), mark.style),
        Span(f"   digest ...{group_digest(shown)[-CONFIRMED_DIGITS:]}", "dim"),
    )
    return ruled(title, width)


def _what(shown: Sequence[Shown]) -> str:
    first = shown[0].call
    if len(shown) == 1:
        return f"{first.id}  {visible(first.tool)}"
    return f"ALL {len(shown)} CALLS that belong together with {first.id}"
