"""The Python files of a project, imported under names that nobody else has."""

import hashlib
import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from agentrt.errors import AgentrtError, ProjectError

__all__ = ["load", "place_of", "private_package", "said"]


def private_package(folder: Path) -> str:
    """A package over the folder under a name nobody else has.

    `sys.path` stays as it is, so a file `email.py` here shadows nothing.
    """
    name = f"_agentrt_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    for loaded in [known for known in sys.modules if known.partition(".")[0] == name]:
        del sys.modules[loaded]
    package = ModuleType(name, "The Python files of one folder of a project.")
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    importlib.invalidate_caches()
    return name


def load(file: Path, package: str) -> ModuleType:
    """The module of the file. Raises ProjectError with file and line, and what agentrt refuses."""
    try:
        return importlib.import_module(f"{package}.{file.stem}")
    except AgentrtError:
        raise
    except (Exception, SystemExit) as error:
        raise ProjectError(f"{place_of(error, file)} cannot be imported: {said(error)}") from error


def place_of(error: BaseException, file: Path) -> str:
    """`file:line` where the import went wrong: the last line of this folder on the way."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f for f in frames if Path(f.filename).parent == file.parent]
    return f"{lines[-1].filename}:{lines[-1].lineno}" if lines else f"{file}:1"


def said(error: BaseException) -> str:
    """The kind of the error and what it says."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
