"""Lines on the screen: a bar, a text that scrolls, a list with a cursor.

They draw lines as they are (Textual's line API): nothing in them is read as markup, and a
change costs what is in view, however much there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from agentrt.tui.lines import Line, Span, plain
from agentrt.tui.theme import style_of

__all__ = ["Bar", "LineList", "LineText"]


def drawn(widget: Widget, of: Line, *, reverse: bool = False) -> Strip:
    """The line as the terminal gets it, padded to the widget's width."""
    dark = widget.app.current_theme.dark
    base = widget.rich_style
    segments = [
        Segment(span.text, base + style_of("here" if reverse else span.style, dark=dark))
        for span in of
    ]
    return Strip(segments).adjust_cell_length(widget.size.width, base)


class Bar(Widget):
    """A few lines that do not scroll; as high as they are many."""

    DEFAULT_CSS = "Bar { height: auto; }"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()

    @property
    def text(self) -> str:
        """What it says."""
        return "\n".join(plain(of).rstrip() for of in self._lines)

    def show(self, *lines: Line) -> None:
        """Draw these lines."""
        if lines == self._lines:
            return
        layout = len(lines) != len(self._lines)
        self._lines = lines
        self.refresh(layout=layout)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as there are lines."""
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        """A row."""
        return drawn(self, self._lines[y] if y < len(self._lines) else ())


def _key(keys: str, action: str) -> Binding:
    return Binding(keys, action, show=False)


class LineText(ScrollView, can_focus=True, inherit_bindings=False):
    """A text of any length. It remembers how far it has been on the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        _key("down,j", "by(1)"),
        _key("up,k", "by(-1)"),
        _key("pagedown", "page(1)"),
        _key("pageup", "page(-1)"),
        _key("home,g", "to_start"),
        _key("end,G", "to_end"),
    ]

    DEFAULT_CSS = "LineText { overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._lines: Sequence[Line] = ()
        self.seen = -1
        """The number of the last line that has been drawn."""

    @property
    def text(self) -> str:
        """What it says, in view or not."""
        return "\n".join(plain(of).rstrip() for of in self._lines)

    @property
    def unread(self) -> bool:
        """Whether there are lines below what is in view."""
        return self.scroll_offset.y + self.size.height < len(self._lines)

    def show(self, lines: Sequence[Line], *, anew: bool) -> None:
        """Draw these lines; `anew` from the first, none of them seen."""
        self._lines = lines
        if anew:
            self.seen = -1
            self.scroll_to(y=0, animate=False)
        self.virtual_size = Size(self.size.width, len(lines))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """A row."""
        at = y + self.scroll_offset.y
        if at >= len(self._lines):
            return drawn(self, ())
        self.seen = max(self.seen, at)
        return drawn(self, self._lines[at])

    def action_by(self, rows: int) -> None:
        """Scroll by so many rows."""
        self.scroll_relative(y=rows, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self.scroll_relative(y=pages * max(self.size.height - 1, 1), animate=False)

    def action_to_start(self) -> None:
        """Scroll to the first line."""
        self.scroll_to(y=0, animate=False)

    def action_to_end(self) -> None:
        """Scroll to the last line."""
        self.scroll_to(y=len(self._lines), animate=False)


Item = tuple[str, tuple[Line, ...]]
"""A key and the lines that are drawn for it."""


class LineList(ScrollView, can_focus=True, inherit_bindings=False):
    """Items with a cursor that is bound to a key, never to a place."""

    BINDINGS: ClassVar[list[BindingType]] = [
        _key("down,j", "by(1)"),
        _key("up,k", "by(-1)"),
        _key("pagedown", "page(1)"),
        _key("pageup", "page(-1)"),
        _key("home,g", "by(-1000000000)"),
        _key("end,G", "by(1000000000)"),
        _key("enter", "open"),
    ]

    DEFAULT_CSS = "LineList { overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }"

    class Moved(Message):
        """The cursor was moved to another item."""

        def __init__(self, sender: LineList, key: str) -> None:
            super().__init__()
            self.list = sender
            self.key = key

    class Opened(Message):
        """`enter` was pressed on an item."""

        def __init__(self, sender: LineList, key: str) -> None:
            super().__init__()
            self.list = sender
            self.key = key

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._keys: list[str] = []
        self._starts: list[int] = []
        self._rows: list[tuple[str | None, Line]] = []
        """Every line with the key of its item; None: it belongs to none."""
        self.selected: str | None = None

    @property
    def text(self) -> str:
        """What it says, in view or not."""
        return "\n".join(plain(of).rstrip() for _key, of in self._rows)

    def show(
        self, items: Sequence[Item], *, selected: str | None, empty: Sequence[Line] = ()
    ) -> None:
        """Draw these items, or `empty` when there are none."""
        self._keys = [key for key, _lines in items]
        self._starts, self._rows = [], []
        for key, lines in items:
            self._starts.append(len(self._rows))
            self._rows += [(key, of) for of in lines]
        if not items:
            self._rows = [(None, of) for of in empty]
        moved = selected != self.selected
        self.selected = selected
        self.virtual_size = Size(self.size.width, len(self._rows))
        if moved:
            self.call_after_refresh(self._into_view)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """A row; the item under the cursor has a mark and is reversed."""
        at = y + self.scroll_offset.y
        if at >= len(self._rows):
            return drawn(self, ())
        key, of = self._rows[at]
        if key is None or key != self.selected:
            return drawn(self, of)
        first = at == 0 or self._rows[at - 1][0] != key
        return drawn(self, _marked(of) if first else of, reverse=True)

    def action_by(self, items: int) -> None:
        """Move the cursor by so many items."""
        if not self._keys:
            return
        known = self.selected in self._keys
        place = self._keys.index(self.selected) if known and self.selected else 0
        self._move(min(max(place + items, 0), len(self._keys) - 1))

    def action_page(self, pages: int) -> None:
        """Move the cursor by about as many items as are in view."""
        rows = len(self._rows) / max(len(self._keys), 1)
        self.action_by(pages * max(int(self.size.height / max(rows, 1)), 1))

    def action_open(self) -> None:
        """Say that the item under the cursor is to be opened."""
        if self.selected is not None:
            self.post_message(self.Opened(self, self.selected))

    def on_click(self, event: events.Click) -> None:
        """A click selects, and nothing else."""
        at = event.y + self.scroll_offset.y
        key = self._rows[at][0] if at < len(self._rows) else None
        if key is not None:
            self._move(self._keys.index(key))

    def _move(self, place: int) -> None:
        key = self._keys[place]
        if key != self.selected:
            self.selected = key
            self._into_view()
            self.refresh()
            self.post_message(self.Moved(self, key))

    def _into_view(self) -> None:
        """Scroll so that the item under the cursor can be seen, its beginning at least."""
        if self.selected not in self._keys:
            return
        place = self._keys.index(self.selected)
        top = self._starts[place]
        end = self._starts[place + 1] if place + 1 < len(self._keys) else len(self._rows)
        offset, height = self.scroll_offset.y, self.size.height
        if end > offset + height:
            offset = end - height
        self.scroll_to(y=min(offset, top), animate=False)


def _marked(of: Line) -> Line:
    """The line with the cursor's mark in its first cells, which lists keep free."""
    text = plain(of)
    return (Span(" > " + text[3:] if text.startswith("   ") else text, "here"),)
