"""Finds tools: in a project's `tools/` folder and in installed packages."""

from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from agentrt.errors import AgentrtError, ProjectError
from agentrt.tools.loading import load, private_package, said
from agentrt.tools.tool import Tool
from agentrt.tools.toolset import Tools

__all__ = ["ENTRY_POINT_GROUP", "discover"]

ENTRY_POINT_GROUP = "agentrt.tools"


def discover(folder: Path | None, *, entry_points: bool = False) -> Tools:
    """The tools of a folder's `*.py` files, and on request those of installed packages.

    Files whose name starts with `_` are not looked at; the others may import them with
    `from . import _name`. A module that has `TOOLS` offers just these; any other offers the
    tools it defines. Raises ProjectError with file and line when one cannot be loaded, and
    DuplicateTool.
    """
    found = list(_in_folder(folder)) if folder is not None else []
    if entry_points:
        found += _in_packages()
    return Tools(found)


def _in_folder(folder: Path) -> Iterator[Tool]:
    folder = folder.resolve()
    if not folder.is_dir():
        raise ProjectError(f"There is no folder {folder}. Make it, or name the one with tools.")
    package = private_package(folder)
    for file in sorted(folder.glob("*.py")):
        if not file.name.startswith("_"):
            yield from _offered_by(load(file, package), str(file))


def _in_packages() -> Iterator[Tool]:
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.value):
        yield from _of_entry_point(point)


def _of_entry_point(point: EntryPoint) -> Iterable[Tool]:
    place = f"Entry point {point.name} = {point.value}"
    try:
        value = point.load()
    except AgentrtError:
        raise
    except (Exception, SystemExit) as error:
        raise ProjectError(f"{place} cannot be loaded: {said(error)}") from error
    match value:
        case ModuleType():
            return _offered_by(value, place)
        case Tool():
            return [value]
    return _checked(value, place)


def _offered_by(module: ModuleType, place: str) -> Iterable[Tool]:
    if "TOOLS" in vars(module):
        return _checked(vars(module)["TOOLS"], f"TOOLS of {place}")
    return [value for value in vars(module).values() if _defined_in(module, value)]


def _defined_in(module: ModuleType, value: object) -> bool:
    return isinstance(value, Tool) and value.function.__module__ == module.__name__


def _checked(value: object, place: str) -> list[Tool]:
    listed = list(value) if isinstance(value, Iterable) else [value]
    return [_as_tool(item, place) for item in listed]


def _as_tool(value: object, place: str) -> Tool:
    if not isinstance(value, Tool):
        advice = "Put @tool on the function"
        raise ProjectError(f"{place} should be a list of tools, but has {value!r}. {advice}.")
    return value
