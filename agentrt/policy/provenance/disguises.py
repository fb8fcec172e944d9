"""What a text may be written in so that it is not found: undone, to be looked at as well."""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

__all__ = ["undisguised"]

_MARKS = {
    "at": "@",
    "dot": ".",
    "punkt": ".",
    "point": ".",
    "slash": "/",
    "colon": ":",
    "dash": "-",
    "hyphen": "-",
    "minus": "-",
    "underscore": "_",
}
_SPELLED = "|".join(_MARKS)
_SAID = "|".join(word for word in _MARKS if word not in ("at", "point"))
_BRACKETED = re.compile(
    rf"(?<!\s)\s*+[\[({{<]\s*+({_SPELLED}|[@./:_-])\s*+[\])}}>]\s*+", re.IGNORECASE
)
_BETWEEN = re.compile(rf"(?<=\w)\s++({_SAID})\s++(?=\w)", re.IGNORECASE)
# "at" is in any text: it is a mark only where what follows looks like the rest of an address.
_AT = re.compile(r"(?<=\w)\s++(at)\s++(?=[\w-]++\.\w)", re.IGNORECASE)
_APART = re.compile(r"(?<=\w)[ \t]++([@.])[ \t]*+(?=\w)")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([nrtbf]))")
_MARKUP = re.compile(r"<(?:!--[^<>]*--|/?[a-zA-Z][^<>]{0,300})>")
# An alphabet without a shape, in which text goes unseen by people and is read by models.
_TAGS = re.compile("[\U000e0020-\U000e007e]+")


def undisguised(text: str) -> list[str]:
    """The text, its form with spelled, escaped and encoded marks undone, and its unseen text."""
    tags = "".join(_TAGS.findall(text))
    unseen = "".join(chr(ord(tag) - 0xE0000) for tag in tags)
    return list(dict.fromkeys([text, _undone(text), *([unseen] if unseen else [])]))


def _undone(text: str) -> str:
    text = _ESCAPE.sub(_unescaped, html.unescape(unquote(_MARKUP.sub("", text))))
    for spelled in (_BRACKETED, _BETWEEN, _AT, _APART):
        text = spelled.sub(_mark, text)
    return text


def _mark(found: re.Match[str]) -> str:
    said = found[1].lower()
    return _MARKS.get(said, said)


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else "\n"
