"""The secrets that a command knows by their value: keys and passwords of its environment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, urlsplit

from agentrt.errors import ProjectError

__all__ = ["known_secrets"]

_NAMES = re.compile(
    r"(?i)(?:.*_)?(?:api_?key|access_?key|secret_?key|secret|token|pass(?:word|wd|phrase)?|pwd|"
    r"credentials?|private_?key|auth)(?:_.*)?"
)
"""Names of variables whose values are secrets."""

_PATHS = re.compile(r"(?:.*_)?(?:FILE|PATH|DIR|SOCK|SOCKET|URL|ID|NAME|HOST)")
"""Names of variables that say where a secret is, and hold none."""

CHARACTERS_MIN = 8


def known_secrets(
    environment: Mapping[str, str], *, named: Iterable[str] = (), locations: Iterable[str] = ()
) -> frozenset[str]:
    """Values of variables that are called like secrets, or `named`, and passwords in URLs.

    Raises ProjectError for a `named` variable that is not set: what should be masked is unknown.
    """
    found = {value for name, value in environment.items() if _is_secret(name, value)}
    for name in named:
        if not environment.get(name):
            raise ProjectError(
                f"[privacy] secrets names {name}, which is not set in the environment: its value "
                "could not be masked. Set it, or take the name out."
            )
        found.add(environment[name])
    for value in (*environment.values(), *locations):
        found.update(_passwords(value))
    return frozenset(found)


def _is_secret(name: str, value: str) -> bool:
    if len(value) < CHARACTERS_MIN or value.startswith(("/", "~", "./")):
        return False
    return _NAMES.fullmatch(name) is not None and _PATHS.fullmatch(name.upper()) is None


def _passwords(value: str) -> Iterator[str]:
    if "://" not in value or "@" not in value:
        return
    try:
        password = urlsplit(value).password
    except ValueError:
        return
    if password:
        yield from {password, unquote(password)}
