"""What the parser did not expect, told to a person.

Imports lark, as building.py does.
"""

from __future__ import annotations

import re

from lark import Token, UnexpectedInput, UnexpectedToken

from agentrt.policy.cel.errors import Malformed

__all__ = ["misreading"]

_OTHER_LANGUAGES = {
    "and": "&&",
    "or": "||",
    "not": "!",
    "AND": "&&",
    "OR": "||",
    "NOT": "!",
    "IN": "in",
    "is": "==",
    "=": "==",
    "===": "==",
    "!==": "!=",
    "<>": "!=",
    "=>": ">=",
    "=<": "<=",
    "&": "&&",
    "|": "||",
    "~": "!",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}
"""What people write who think of SQL or Python, or whose editor changes quotes."""

_OPERATOR = re.compile(r"[=<>!&|~]+")
_CLOSING = {"CLOSE": ")", "CLOSE_LIST": "]", "CLOSE_MAP": "}"}


def misreading(text: str, error: UnexpectedInput) -> Malformed:
    """The parser's error with a message that says what to write."""
    if isinstance(error, UnexpectedToken):
        return _unexpected_token(text, error)
    start = error.pos_in_stream or 0
    message = _foreign(_operator_at(text, start) or text[start]) or _no_token(text[start])
    return Malformed(message, start, start + 1)


def _no_token(sign: str) -> str:
    if sign in "\"'":
        return f"the text that begins with {sign} does not end"
    if sign == "`":
        return "the name that begins with ` does not end"
    return f"{sign!r} means nothing here"


def _unexpected_token(text: str, error: UnexpectedToken) -> Malformed:
    token: Token = error.token
    if token.type == "$END":
        end = len(text.rstrip())
        return Malformed(_cut_short(text, error), end, end)
    start = token.start_pos or 0
    before = "".join(text[:start].split()[-1:])
    message = (
        _foreign(str(token))
        or _foreign(before)
        or _foreign(_operator_at(text, start))
        or _misplaced(text[:start], token, error)
    )
    return Malformed(message, start, token.end_pos or start + 1)


def _operator_at(text: str, place: int) -> str:
    """All the signs that stand together there, which may be one operator elsewhere."""
    runs = (run for run in _OPERATOR.finditer(text) if run.start() <= place < run.end())
    return next((run[0] for run in runs), "")


def _foreign(word: str) -> str:
    ours = _OTHER_LANGUAGES.get(word)
    return f"write {ours} in place of {word}" if ours else ""


def _cut_short(text: str, error: UnexpectedToken) -> str:
    if text.rstrip().endswith("."):
        return "a name is missing at the end"
    if "NAME" in error.accepts and not _closing(error):
        return "a value is missing at the end"
    missing = _closing(error) or (":" if "COLON" in error.accepts else "")
    return f"{missing!r} is missing at the end" if missing else "something is missing at the end"


def _closing(error: UnexpectedToken) -> str:
    """The bracket that could close here, if it is clear which."""
    signs = [sign for name, sign in _CLOSING.items() if name in error.accepts]
    return signs[0] if len(signs) == 1 else ""


def _misplaced(before: str, token: Token, error: UnexpectedToken) -> str:
    if before.rstrip().endswith("."):
        return f"a name is missing before {str(token)!r}"
    if "NAME" in error.accepts:
        return f"a value is missing before {str(token)!r}"
    if token.type == "COMMA":
        return 'a comma does not belong here: a list is written ["a", "b"]'
    if token.type == "OPEN_MAP":
        return 'messages cannot be made here: a map is written alone, {"a": 1}'
    wanted = f": an operator or {_closing(error)!r} is missing" if _closing(error) else ""
    return f"{str(token)!r} does not belong here{wanted}"
