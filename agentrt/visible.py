"""Untrusted text made visible: what a terminal would obey, or an eye would miss, is spelt out.

Everything that came from Claude, a tool or a user goes through here before it is shown.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["hidden", "visible"]

HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls, format characters (bidirectional, zero-width, tags), line separators, the unknown."""

INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""Characters of other categories that take no room or look like a space. A hidden text can be
written in variation selectors (U+FE00 to U+FE0F, U+E0100 to U+E01EF) behind one letter."""

# Most text has nothing of the sort, and this finds that out without looking at each character.
PLAIN = re.compile(r"[ -~\n¡-¬®-ɏ]*")


def visible(text: str, *, lines: bool = False) -> str:
    """`text` with every hidden character written as its escape, such as `\\x1b` or `\\u202e`.

    With `lines`, line feeds stay; otherwise they are escaped like any other control.
    """
    if PLAIN.fullmatch(text) and (lines or "\n" not in text):
        return text
    return "".join(
        character if (lines and character == "\n") else _spelt(character) for character in text
    )


def hidden(text: str) -> int:
    """How many characters of `text`, line feeds aside, `visible` has to spell out."""
    if PLAIN.fullmatch(text):
        return 0
    return sum(_is_hidden(character) for character in text if character != "\n")


def _spelt(character: str) -> str:
    if not _is_hidden(character):
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_hidden(character: str) -> bool:
    return bool(INVISIBLE.match(character)) or unicodedata.category(character) in HIDDEN_CATEGORIES
