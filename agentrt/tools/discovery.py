"""Finds tools: in a project's `tools/` folder and in installed packages."""

import hashlib
import importlib
import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from agentrt.errors import AgentrtError, ProjectError
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
    package = _private_package(folder)
    for file in sorted(folder.glob("*.py")):
        if not file.name.startswith("_"):
            yield from _offered_by(_load(file, package), str(file))


def _private_package(folder: Path) -> str:
    """A package over the folder under a name nobody else has.

    `sys.path` stays as it is, so a file `email.py` here shadows nothing.
    """
    name = f"_agentrt_tools_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    for loaded in [known for known in sys.modules if known.partition(".")[0] == name]:
        del sys.modules[loaded]
    package = ModuleType(name, "The tools of one project.")
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    importlib.invalidate_caches()
    return name


def _load(file: Path, package: str) -> ModuleType:
    try:
        return importlib.import_module(f"{package}.{file.stem}")
    except AgentrtError:
        raise
    except (Exception, SystemExit) as error:
        place = _place(error, file)
        raise ProjectError(f"{place} cannot be imported: {_said(error)}") from error


def _place(error: BaseException, file: Path) -> str:
    """`file:line` where the import went wrong: the last line of this folder on the way."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f for f in frames if Path(f.filename).parent == file.parent]
    return f"{lines[-1].filename}:{lines[-1].lineno}" if lines else f"{file}:1"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


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
        raise ProjectError(f"{place} cannot be loaded: {_said(error)}") from error
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
