"""Texts with a mistake in them, or one mistake less: generated ones with a few tokens changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from .contexts import Context
from .generator import generated

__all__ = ["mutated", "shorter"]

_TOKEN = re.compile(
    r"""[rRbB]{0,2}(?:\"""[\s\S]*?\"""|'''[\s\S]*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|0x[0-9a-fA-F]+|[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?|\w+|&&|\|\||[=!<>]=|\s+|[\s\S]"""
)
_TOKENS = (
    "&&", "||", "!", "-", "+", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", " in ", "in", "?",
    ":", ",", ".", "(", ")", "[", "]", "{", "}", "()", "[]", "{}", "=", "&", "|", "~", "^", "@",
    "#", "$", ";", "true", "false", "null", "as", "if", "for", "var", "x", "args", "_", "__a",
    "é", "\u00a0", "\x00", "0", "1", "-1", "1.", ".5", "1.5", "1e3", "1E+3", "1e", "0x", "0x1F",
    "0X1", "00", "01", "1u", "0xFU", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "1e308", "1e-400", "1_0", '"a"', "'a'", '""', "''", '"""a"""', "'''",
    '"', "'", 'r"\\"', "r'a'", "R'''\\'''", "b'a'", 'rb"a"', "`a`", "`", "\\", "\\n", '"\\q"',
    "'\\x4'", "'\\u00e9'", "'\\ud800'", "'\\777'", "'\\101'", "'\\U00110000'", " ", "\n", "\r",
    "\t", "\f", "\v", "//", "// c\n", "/*", " // c", "\u2028", "has(", "has(x.y)", "has(x)",
    ".all(x, ", ".map(x, ", ".map(x, y, ", ".exists(x.y, ", ".size()", "size(", ".f(", "f(",
    ".`a`", ".in", ".true", ".as", ".map", "x.all", "dyn(", "type(", ".?", "[?",
)  # fmt: skip


def mutated(seed: int | str, number: int) -> tuple[str, Context]:
    """Text `number` of the seed, with what it may speak of."""
    random = Random(f"{seed} mutated {number}")
    made = generated(f"{seed} before", number)
    tokens = _TOKEN.findall(made.text)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        tokens = _changed(random, tokens)
    return "".join(tokens), made.context


def _changed(random: Random, tokens: list[str]) -> list[str]:
    at = random.randrange(len(tokens)) if tokens else 0
    before, found, after = tokens[:at], tokens[at : at + 1], tokens[at + 1 :]
    match random.randrange(7):
        case 0:
            return before + after
        case 1:
            return before + found * 2 + after
        case 2:
            return before + after[:1] + found + after[1:]
        case 3:
            return [*before, random.choice(_TOKENS), *after]
        case 4:
            return [*before, random.choice(_TOKENS), *found, *after]
        case 5 if tokens:
            return [*before, _with_other_sign(random, found[0]), *after]
    other = random.choice(tokens or [""])
    return [*before, other, *after]


def _with_other_sign(random: Random, token: str) -> str:
    at = random.randrange(len(token) + 1)
    sign = random.choice(("", "", "a", "0", "x", "_", "\\", '"', "'", ".", " ", "\n", "e", "u"))
    return token[:at] + sign + token[at + random.randint(0, 1) :]


def shorter(text: str) -> Iterator[str]:
    """The text without some of its tokens, then without single signs, and with plainer tokens."""
    tokens = _TOKEN.findall(text)
    for size in (len(tokens) // 2, len(tokens) // 4, 3, 2, 1):
        for at in range(0, len(tokens), max(1, size // 2)) if size else ():
            yield "".join(tokens[:at] + tokens[at + size :])
    for at, token in enumerate(tokens):
        if len(token) > 1:
            yield "".join([*tokens[:at], "1" if token[0].isdigit() else "x", *tokens[at + 1 :]])
    for at in range(len(text) if len(text) < 60 else 0):
        yield text[:at] + text[at + 1 :]
