"""The ready policies that come with agentrt: folders of data, to be copied and adapted."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

__all__ = ["about", "policy_files", "ready_policies"]

_RULES = "rules.yaml"
_COPIED = (".yaml", ".md")


def ready_policies() -> tuple[str, ...]:
    """Their names."""
    folders = files("agentrt_policies").iterdir()
    return tuple(sorted(folder.name for folder in folders if (folder / _RULES).is_file()))


def about(name: str) -> str:
    """What the policy does: the first line of its rules."""
    first = (files("agentrt_policies") / name / _RULES).read_text("utf-8").partition("\n")[0]
    return first.removeprefix("# ")


def policy_files(name: str) -> dict[str, str]:
    """Its texts by path below the folder of a policy: rules, cases, and its page."""
    return dict(sorted(_texts(files("agentrt_policies") / name, "")))


def _texts(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _texts(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(_COPIED):
            yield f"{path}{entry.name}", entry.read_text("utf-8")
