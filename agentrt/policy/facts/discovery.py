"""Finds a project's own facts: those that `policies/facts.py` defines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from agentrt.errors import FactDefinitionError
from agentrt.policy.facts.fact import Fact
from agentrt.tools.loading import load, place_of, private_package

__all__ = ["FACTS_FILE", "discover_facts"]

FACTS_FILE = "facts.py"


def discover_facts(folder: Path) -> tuple[Fact, ...]:
    """The facts in `folder/facts.py`; none when there is no such file.

    A module that has `FACTS` offers just these; any other every Fact in it. Raises
    FactDefinitionError or ProjectError with file and line.
    """
    file = folder.resolve() / FACTS_FILE
    if not file.is_file():
        return ()
    return tuple(_with_source(fact, file) for fact in _offered_by(_module(file), file))


def _module(file: Path) -> ModuleType:
    try:
        return load(file, private_package(file.parent))
    except FactDefinitionError as error:
        raise FactDefinitionError(f"{place_of(error, file)}: {error}") from error


def _offered_by(module: ModuleType, file: Path) -> list[Fact]:
    if "FACTS" not in vars(module):
        return [value for value in vars(module).values() if isinstance(value, Fact)]
    listed = vars(module)["FACTS"]
    return [
        _as_fact(value, file) for value in (listed if isinstance(listed, Iterable) else [listed])
    ]


def _as_fact(value: object, file: Path) -> Fact:
    if not isinstance(value, Fact):
        raise FactDefinitionError(f"{file}: FACTS should be a list of facts, but has {value!r}.")
    return value


def _with_source(fact: Fact, file: Path) -> Fact:
    """A fold of the project's own is part of the bundle: all of the file where it says no more."""
    if fact.source or fact.refuses is not None:
        return fact
    return replace(fact, source=file.read_text(encoding="utf-8"))
