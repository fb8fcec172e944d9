"""Secrets found and masked: those that are known by their value, and those by their looks."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote

from agentrt.privacy.patterns import PATTERNS, Pattern, is_card

__all__ = ["Counts", "Mask", "Secrets"]

Counts = Counter[str]
"""How often each rule masked something."""

KNOWN = "known_secret"
"""The rule of what is known by its value."""

FIELD = "secret_field"
"""The rule of what stands in a field that is called so."""

KNOWN_CHARACTERS_MIN = 6
"""A shorter value stands in too many texts by chance."""

_DIGITS_MIN = 12
"""Whole numbers with so many digits may be card numbers."""

_SECRET_NAME = re.compile(
    r"(?i)(?:.*[_-])?(?:pass(?:word|wd|phrase)|pwd|secret|(?:client|api|shared)_?secret|api_?key|"
    r"secret_?(?:access_?)?key|(?:access|auth|refresh|bearer)_?token|private_?key)"
)
_NO_SECRET = frozenset({"", "none", "null", "true", "false", "yes", "no", "unset", "required"})

_MEMORY_BYTES = 64 << 20
"""For RE2's automaton: with less it falls back to a slower one."""


class Secrets:
    """Values that must never be read again, each in the forms in which it may turn up."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values = frozenset(v for v in values if len(v) >= KNOWN_CHARACTERS_MIN)

    def plus(self, values: Iterable[str]) -> Secrets:
        """These and more."""
        return Secrets([*self.values, *values])

    def forms(self) -> list[str]:
        """The values as they are, in URLs, in base64 and in escaped text; the longest first."""
        found = {form for value in self.values for form in _forms(value)}
        return sorted(found, key=lambda form: (-len(form), form))

    def __repr__(self) -> str:
        return f"<{len(self.values)} secrets>"


def _forms(value: str) -> Iterator[str]:
    yield value
    yield quote(value, safe="")
    yield value.encode("unicode_escape").decode()
    encoded = base64.b64encode(value.encode()).decode().rstrip("=")
    if len(encoded) >= KNOWN_CHARACTERS_MIN * 2:
        yield encoded


class Mask:
    """Masks texts and JSON data. Holds no text; one serves all threads."""

    def __init__(self, secrets: Secrets | None = None, *, optional: Collection[str] = ()) -> None:
        """`optional` are the rules to look for besides the usual ones, such as `iban`."""
        chosen = tuple(one for one in PATTERNS if not one.optional or one.rule in optional)
        forms = (secrets or Secrets()).forms()
        known = "|".join(re.escape(form) for form in forms)
        own = (Pattern(KNOWN, "secret", f"({known})"),) if forms else ()
        self._patterns = (*own, *chosen)

    def text(self, text: str, counts: Counts | None = None) -> str:
        """The text with a mark in place of each secret; `counts` hears how many there were."""
        if not text.isascii():
            text.encode()  # half a surrogate pair cannot be searched, nor written
        data = text.encode()
        search = self._search
        if (found := search(data)) is None:
            return text
        pieces: list[bytes] = []
        begin = position = 0
        while found is not None:
            hit = self._hit(found)
            if hit is None:
                position = found.start() + 1
            else:
                pattern, start, end = hit
                pieces += [data[begin:start], f"[masked: {pattern.mark}]".encode()]
                begin = position = end
                if counts is not None:
                    counts[pattern.rule] += 1
            found = search(data, position)
        pieces.append(data[begin:])
        return b"".join(pieces).decode(errors="replace")

    def value(self, value: Any, counts: Counts | None = None) -> Any:
        """JSON data with every text in it masked, names of fields included."""
        match value:
            case str():
                return self.text(value, counts)
            case bool() | None | float():
                return value
            case int():
                return self._number(value, counts)
            case list():
                return [self.value(item, counts) for item in value]
            case dict():
                return {
                    self.text(str(key), counts): self._field(str(key), item, counts)
                    for key, item in value.items()
                }
            case _:
                return value

    def _field(self, name: str, value: Any, counts: Counts | None) -> Any:
        masked = self.value(value, counts)
        if masked is not value and masked != value:
            return masked
        if isinstance(value, str) and _is_secret(name, value):
            if counts is not None:
                counts[FIELD] += 1
            return "[masked: password]"
        return masked

    def _number(self, value: int, counts: Counts | None) -> Any:
        text = str(value)
        if len(text) < _DIGITS_MIN or not is_card(text):
            return value
        if counts is not None:
            counts["card_number"] += 1
        return "[masked: card number]"

    @cached_property
    def _search(self) -> Any:
        return _compiled(self._patterns).search

    def _hit(self, found: Any) -> tuple[Pattern, int, int] | None:
        """What was found, unless its check says that it only looks so."""
        number = next(n for n in range(1, len(self._patterns) + 1) if found.start(n) >= 0)
        pattern = self._patterns[number - 1]
        start, end = found.span(number)
        text = found.group(number).decode(errors="replace")
        fits = pattern.check is None or pattern.check(text)
        return (pattern, start, end) if fits and not text.startswith("[masked") else None


def _is_secret(name: str, value: str) -> bool:
    if value.lower() in _NO_SECRET or value.startswith(("[masked", "[hash", "[dropped")):
        return False
    return _SECRET_NAME.fullmatch(name) is not None


@lru_cache(maxsize=16)
def _compiled(patterns: tuple[Pattern, ...]) -> Any:
    """All patterns as one automaton: a text without a secret is passed over once."""
    import re2  # type: ignore[import-untyped]

    options = re2.Options()
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile("|".join(one.regex for one in patterns).encode(), options)


def counted(counts: Mapping[str, int]) -> dict[str, int] | None:
    """Counts for a header: None when nothing was masked."""
    return dict(sorted(counts.items())) or None
