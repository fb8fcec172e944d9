"""The parts of a value that lead somewhere: addresses, hosts and files by name, account numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Name", "codes_in", "names_in"]

_NAME = re.compile(r"(?<![\w-])[\w-]++(?:\.[\w-]++)++")
_MAILBOX = re.compile(r"[\w.+%-]+@\Z")
_MAILBOX_MAX = 65
_IP_ADDRESS = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_CODE = re.compile(r"(?=[a-z]*[0-9])[a-z0-9]{6,}")
_PARTS_MAX = 8


@dataclass(frozen=True)
class Name:
    """A name of parts with dots between, such as a host or a file."""

    text: str
    mailbox: str
    """What stands before it with an @ between; often nothing."""

    @property
    def address(self) -> str:
        """The name with its mailbox."""
        return self.mailbox + self.text

    @property
    def tails(self) -> Iterator[str]:
        """The name, and what it belongs to: `a.b.c` is in `b.c`."""
        yield self.text
        parts = self.text.split(".")
        if not _IP_ADDRESS.fullmatch(self.text):
            yield from (".".join(parts[-count:]) for count in range(2, min(len(parts), _PARTS_MAX)))


def names_in(spelling: str) -> Iterator[Name]:
    """The names in a text; what ends in less than two letters is an abbreviation or a number."""
    for found in _NAME.finditer(spelling):
        text, start, end = found[0], found.start(), found.end()
        if spelling[end : end + 1] == "@":
            continue  # a mailbox with a dot in it
        if _ends_in_letters(text) or _IP_ADDRESS.fullmatch(text):
            mailbox = _MAILBOX.search(spelling[max(start - _MAILBOX_MAX, 0) : start])
            yield Name(text, mailbox[0] if mailbox else "")


def _ends_in_letters(name: str) -> bool:
    last = name.rpartition(".")[2]
    return len(last) > 1 and any(map(str.isalpha, last))


def codes_in(words: list[str]) -> Iterator[str]:
    """Words of six or more letters and digits with a digit in them: accounts, orders, keys."""
    return (word for word in words if _CODE.fullmatch(word))
