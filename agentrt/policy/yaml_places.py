"""The characters of a YAML text value, each with the place in the file that it came from."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["LINE_BREAK", "origins"]

# The line breaks of YAML 1.1, which PyYAML and libyaml count by.
_BREAK = "\r\n|[\n\r\x85\u2028\u2029]"
LINE_BREAK = re.compile(_BREAK)

_FOLD = rf"[ \t]*(?:{_BREAK})(?:[ \t]*(?:{_BREAK}))*[ \t]*"
_HEX = "[0-9a-fA-F]"
_ESCAPE = rf"\\(?:x{_HEX}{{2}}|u{_HEX}{{4}}|U{_HEX}{{8}}|.)"
_PIECES = {
    "": re.compile(rf"(?P<fold>{_FOLD})|.", re.DOTALL),
    "'": re.compile(rf"(?P<fold>{_FOLD})|''|.", re.DOTALL),
    '"': re.compile(rf"(?P<joined>\\(?:{_BREAK})[ \t]*)|(?P<fold>{_FOLD})|{_ESCAPE}|.", re.DOTALL),
}
_LINE = re.compile(rf"([^\n\r\x85\u2028\u2029]*)({_BREAK}|\Z)")

_Character = tuple[str, int]
"""A character of the value, and its origin."""


def origins(raw: str, style: str, value: str) -> list[int] | None:
    """For each character of `value`, where in `raw` it begins; None where they do not agree.

    `raw` is the scalar as it is written, marks included; `style` is `|`, `>`, `'`, `"` or, for
    a plain one, nothing. A blank that a folded line break became has the place of the break.
    """
    match style:
        case "|" | ">":
            return _of_block(raw, value, folded=style == ">")
        case "'" | '"':
            found = [at + 1 for at in _of_flow(raw[1:-1], style)]
        case _:
            found = list(_of_flow(raw, style))
    return found if len(found) == len(value) else None


def _of_flow(raw: str, style: str) -> Iterator[int]:
    joined = False
    for piece in _PIECES[style].finditer(raw):
        kind, start = piece.lastgroup, piece.start()
        if kind == "fold":
            breaks = [at.start() + start for at in LINE_BREAK.finditer(piece[0])]
            yield from breaks if joined else _kept(breaks, raw[breaks[0]])
        elif kind is None:
            yield start
        joined = kind == "joined"


def _kept(breaks: list[int], first: str) -> list[int]:
    """Which of the line breaks between two lines leave a character: one a blank, more the others.

    The separators of Unicode are never folded.
    """
    return breaks if len(breaks) == 1 or first in "\u2028\u2029" else breaks[1:]


def _of_block(raw: str, value: str, *, folded: bool) -> list[int] | None:
    header = LINE_BREAK.search(raw)
    if header is None:
        return [] if not value else None
    lines = [(line[1], line.start(), line[2]) for line in _LINE.finditer(raw, header.end())]
    # The indentation depends on what is around the scalar: take the one that gives the value.
    for indent in range(max(len(text) - len(text.lstrip(" ")) for text, _, _ in lines) + 1):
        found = list(_block_characters(lines, indent, folded=folded))
        text = "".join(character for character, _ in found)
        if text.startswith(value) and not text[len(value) :].strip("\n\u2028\u2029"):
            return [at for _, at in found[: len(value)]]
    return None


def _block_characters(
    lines: list[tuple[str, int, str]], indent: int, *, folded: bool
) -> Iterator[_Character]:
    """The scalar with all line breaks at its end, which its header may cut off."""
    breaks: list[_Character] = []
    text_before = False
    for line, start, end in lines:
        text = line[indent:]
        if text:
            folds = folded and text_before and text[0] not in " \t"
            yield from _between(breaks) if folds else breaks
            yield from zip(text, range(start + indent, start + len(line)), strict=True)
            breaks, text_before = [], text[0] not in " \t"
        if end:
            breaks.append((end if end in "\u2028\u2029" else "\n", start + len(line)))
    yield from breaks


def _between(breaks: list[_Character]) -> list[_Character]:
    if not breaks or breaks[0][0] != "\n":
        return breaks
    return breaks[1:] or [(" ", breaks[0][1])]
